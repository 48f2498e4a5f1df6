//! The body model: rotations and shape in, vertices that stay on the host out.

use halfpipe_kit::body::PlacedBody;
use halfpipe_kit::poses::OpenPosePoints;
use halfpipe_kit::skeleton::JOINTS;
use halfpipe_kit::skeleton::openpose::OPENPOSE;

use crate::convert;
use crate::host::exports::halfpipe::job::runner::Failure;
use crate::host::failed;
use crate::host::halfpipe::scene::meshes::MeshBatch;
use crate::models::{Named, Network};

/// Runs a body model.
pub struct Solver {
    body: String,
    network: Network,
}

/// Bodies that will be solved.
pub struct Solved {
    outputs: Named,
    body: String,
    count: usize,
}

impl Solver {
    /// Loads it.
    ///
    /// # Errors
    /// A model's fault.
    pub fn new(body: &str) -> Result<Self, Failure> {
        Ok(Self { body: body.to_owned(), network: Network::load(body)? })
    }

    /// Queues the bodies, at least one.
    ///
    /// # Errors
    /// A model's fault.
    pub fn solve(&self, bodies: &[&PlacedBody]) -> Result<Solved, Failure> {
        let n = bodies.len() as u32;
        let mut rotations = Vec::with_capacity(bodies.len() * JOINTS * 9);
        for local in bodies.iter().flat_map(|b| &b.local) {
            convert::push_rows(&mut rotations, local);
        }
        let shape: Vec<f32> = bodies.iter().flat_map(|b| b.betas.iter().map(|v| *v as f32)).collect();
        let width = (shape.len() / bodies.len().max(1)) as u32;
        let inputs = vec![
            ("rotations".to_owned(), convert::tensor(&[n, JOINTS as u32, 3, 3], &rotations)),
            ("shape".to_owned(), convert::tensor(&[n, width], &shape)),
        ];
        let outputs = self.network.compute(inputs)?;
        Ok(Solved { outputs, body: self.body.clone(), count: bodies.len() })
    }
}

impl Solved {
    /// The vertices as a mesh, on the host. They are given once.
    ///
    /// # Errors
    /// A model's fault: it has no such output, or one that is no mesh of this body.
    pub fn mesh(&mut self) -> Result<MeshBatch, Failure> {
        MeshBatch::from_vertices(self.outputs.take("vertices")?, &self.body).map_err(failed)
    }

    /// OpenPose's keypoints of each body, body axes. Waits for them.
    ///
    /// # Errors
    /// A model's fault: the body gives none, or not 25 for each body.
    pub fn openpose(&self) -> Result<Vec<[[f32; 3]; OPENPOSE]>, Failure> {
        let values = self.outputs.floats("openpose")?;
        let points = values.as_chunks::<3>().0.as_chunks::<OPENPOSE>().0.to_vec();
        if points.len() != self.count || values.len() != self.count * OPENPOSE * 3 {
            let (found, count) = (values.len(), self.count);
            return Err(self.outputs.fault(format!("openpose has {found} numbers for {count} bodies, not {} each", OPENPOSE * 3)));
        }
        Ok(points)
    }
}

/// The keypoints of a body as the pose file has them.
#[must_use]
pub fn openpose_entry(points: &[[f32; 3]; OPENPOSE], translation: [f64; 3], camera: &halfpipe_kit::camera::Pinhole) -> OpenPosePoints {
    OpenPosePoints::placed(&points.map(|p| p.map(f64::from)), translation, camera)
}
