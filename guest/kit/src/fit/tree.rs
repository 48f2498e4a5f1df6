//! Least squares on a kinematic tree: normal equations that keep the tree's zeros, and their sparse Cholesky solution.
//!
//! A joint's rotation moves only what hangs on it, so two joints of different limbs never appear in one residual and their
//! block of the normal matrix is zero. Eliminating leaves before their parents keeps it zero (Featherstone 2005,
//! "Efficient factorization of the joint-space inertia matrix for branched kinematic trees"): some 200 products of 3x3
//! blocks in place of a dense 57x57 factorisation.

use nalgebra::{SMatrix, SVector};

use crate::rotation::{Mat3, Vec3};
use crate::skeleton::{joint as j, moves};

/// Joints whose rotation the fit may change, parents before children. The others (spine2, head, feet, hands) keep what
/// the closed form gave them: no landmark tells them from their parents.
pub(super) const FREE: [usize; 18] = [
    j::PELVIS,
    j::LEFT_HIP,
    j::RIGHT_HIP,
    j::SPINE1,
    j::LEFT_KNEE,
    j::RIGHT_KNEE,
    j::LEFT_ANKLE,
    j::RIGHT_ANKLE,
    j::SPINE3,
    j::NECK,
    j::LEFT_COLLAR,
    j::RIGHT_COLLAR,
    j::LEFT_SHOULDER,
    j::RIGHT_SHOULDER,
    j::LEFT_ELBOW,
    j::RIGHT_ELBOW,
    j::LEFT_WRIST,
    j::RIGHT_WRIST,
];
/// Nodes of three unknowns each: the translation, above everything, then [`FREE`].
pub(super) const NODES: usize = FREE.len() + 1;
/// Nodes on the longest path: translation, pelvis, spine1, spine3, collar, shoulder, elbow, wrist.
pub(super) const DEPTH: usize = 8;

/// Residuals of one point: two in the image, three in space.
pub(super) type Residual = SVector<f64, 5>;
/// Derivatives of a point's residuals by the three unknowns of one node.
pub(super) type Rows = SMatrix<f64, 5, 3>;

/// The nodes from the translation down to each node, itself included.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    paths: Vec<Vec<usize>>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let path = |node: usize| {
            let above = FREE.iter().enumerate().filter(|(_, f)| node > 0 && moves(**f, FREE[node - 1])).map(|(n, _)| n + 1);
            std::iter::once(0).chain(above).collect()
        };
        Self { paths: (0..NODES).map(path).collect() }
    }

    pub(super) fn path(&self, node: usize) -> &[usize] {
        &self.paths[node]
    }
}

/// `J^T J` and `J^T r`, summed over points. Block `[k][d]` couples node `k` with the node at depth `d` of its path.
#[derive(Debug, Clone)]
pub(super) struct NormalEquations {
    blocks: [[Mat3; DEPTH]; NODES],
    gradient: [Vec3; NODES],
}

impl NormalEquations {
    pub(super) fn new() -> Self {
        Self { blocks: [[Mat3::zeros(); DEPTH]; NODES], gradient: [Vec3::zeros(); NODES] }
    }

    /// Adds a point that moves with the nodes of `path`; `rows` has one entry for each of them.
    pub(super) fn add_point(&mut self, path: &[usize], rows: &[Rows], residual: &Residual) {
        for (depth, &node) in path.iter().enumerate() {
            let transposed = rows[depth].transpose();
            self.gradient[node] += transposed * residual;
            for (block, other) in self.blocks[node].iter_mut().zip(&rows[..=depth]) {
                *block += transposed * other;
            }
        }
    }

    /// Adds the residual `weight * value` of a node's own unknowns.
    pub(super) fn add_prior(&mut self, tree: &Tree, node: usize, weight: f64, value: &Vec3) {
        self.gradient[node] += value * (weight * weight);
        let diagonal = tree.path(node).len() - 1;
        self.blocks[node][diagonal] += Mat3::identity() * (weight * weight);
    }

    /// The step `x` with `(J^T J + damping) x = -J^T r`; `None` if the matrix is not positive definite.
    pub(super) fn solve(&self, tree: &Tree, damping: f64) -> Option<[Vec3; NODES]> {
        let mut h = self.blocks;
        let mut b = self.gradient.map(|g| -g);
        let mut inverses = [Mat3::zeros(); NODES];
        for k in (0..NODES).rev() {
            let path = tree.path(k);
            let last = path.len() - 1;
            let inverse = (h[k][last] + Mat3::identity() * damping).cholesky()?.inverse();
            inverses[k] = inverse;
            let row = h[k];
            for (depth, &above) in path[..last].iter().enumerate() {
                let g = row[depth].tr_mul(&inverse);
                let carried = g * b[k];
                b[above] -= carried;
                for (block, other) in h[above].iter_mut().zip(&row[..=depth]) {
                    *block -= g * other;
                }
            }
        }
        let mut x = [Vec3::zeros(); NODES];
        for k in 0..NODES {
            let path = tree.path(k);
            let known = path[..path.len() - 1].iter().enumerate().fold(b[k], |sum, (depth, &above)| sum - h[k][depth] * x[above]);
            x[k] = inverses[k] * known;
        }
        Some(x)
    }

    /// The whole symmetric matrix and the gradient, for comparison with a dense solver.
    #[cfg(test)]
    pub(super) fn dense(&self, tree: &Tree) -> (nalgebra::DMatrix<f64>, nalgebra::DVector<f64>) {
        let mut a = nalgebra::DMatrix::zeros(NODES * 3, NODES * 3);
        let mut g = nalgebra::DVector::zeros(NODES * 3);
        for k in 0..NODES {
            g.fixed_rows_mut::<3>(k * 3).copy_from(&self.gradient[k]);
            for (depth, &above) in tree.path(k).iter().enumerate() {
                a.fixed_view_mut::<3, 3>(k * 3, above * 3).copy_from(&self.blocks[k][depth]);
                a.fixed_view_mut::<3, 3>(above * 3, k * 3).copy_from(&self.blocks[k][depth].transpose());
            }
        }
        (a, g)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_skeleton() {
        let tree = Tree::new();
        let names = |node: usize| tree.path(node)[1..].iter().map(|n| crate::skeleton::JOINT_NAMES[FREE[n - 1]]).collect::<Vec<_>>();
        assert_eq!(tree.path(0), [0]);
        assert_eq!(names(NODES - 1), ["pelvis", "spine1", "spine3", "right_collar", "right_shoulder", "right_elbow", "right_wrist"]);
        assert_eq!(names(7), ["pelvis", "left_hip", "left_knee", "left_ankle"]);
        assert_eq!((1..NODES).map(|n| tree.path(n).len()).max(), Some(DEPTH));
    }

    #[test]
    fn the_sparse_solution_is_the_dense_one() {
        let tree = Tree::new();
        let mut equations = NormalEquations::new();
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        for node in 0..NODES {
            for _ in 0..3 {
                let path = tree.path(node);
                let rows: Vec<Rows> = path.iter().map(|_| Rows::from_fn(|_, _| random())).collect();
                equations.add_point(path, &rows, &Residual::from_fn(|_, _| random()));
            }
            equations.add_prior(&tree, node, 0.3, &Vec3::new(random(), random(), random()));
        }
        let (a, g) = equations.dense(&tree);
        let damped = &a + nalgebra::DMatrix::identity(NODES * 3, NODES * 3) * 1e-4;
        let dense = damped.cholesky().unwrap().solve(&-g);
        let sparse = equations.solve(&tree, 1e-4).unwrap();
        for (k, x) in sparse.iter().enumerate() {
            assert!((dense.fixed_rows::<3>(k * 3) - x).norm() < 1e-9, "node {k}");
        }
        assert!(NormalEquations::new().solve(&tree, 0.0).is_none(), "nothing measured is an error, not a step");
    }
}
