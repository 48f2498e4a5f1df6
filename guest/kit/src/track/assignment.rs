//! Optimal assignment (Hungarian method by shortest augmenting paths, O(n²m); Kuhn 1955, Munkres 1957, Jonker and Volgenant 1987).

/// For each of `rows` the column it is paired with, at the lowest total cost. `costs` is row-major, `rows` x `columns`; pairs that cost
/// `unmatched` or more are not made.
#[must_use]
pub fn assign(costs: &[f64], rows: usize, columns: usize, unmatched: f64) -> Vec<Option<usize>> {
    if rows > columns {
        let turned: Vec<f64> = (0..columns).flat_map(|c| (0..rows).map(move |r| costs[r * columns + c])).collect();
        let mut pairs = vec![None; rows];
        for (c, r) in assign(&turned, columns, rows, unmatched).into_iter().enumerate() {
            if let Some(r) = r {
                pairs[r] = Some(c);
            }
        }
        return pairs;
    }
    // Column 0 stands for the row that is being placed; owner 0 is nobody. Rows and columns count from 1.
    let (mut row_price, mut column_price) = (vec![0.0; rows + 1], vec![0.0; columns + 1]);
    let mut owner = vec![0usize; columns + 1];
    for row in 1..=rows {
        owner[0] = row;
        let mut column = 0;
        let (mut slack, mut from, mut done) = (vec![f64::INFINITY; columns + 1], vec![0; columns + 1], vec![false; columns + 1]);
        while owner[column] != 0 {
            done[column] = true;
            let (r, mut step, mut next) = (owner[column], f64::INFINITY, 0);
            for c in (1..=columns).filter(|&c| !done[c]) {
                let reduced = costs[(r - 1) * columns + c - 1].min(unmatched) - row_price[r] - column_price[c];
                if reduced < slack[c] {
                    (slack[c], from[c]) = (reduced, column);
                }
                if slack[c] < step {
                    (step, next) = (slack[c], c);
                }
            }
            for c in 0..=columns {
                if done[c] {
                    row_price[owner[c]] += step;
                    column_price[c] -= step;
                } else {
                    slack[c] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            owner[column] = owner[from[column]];
            column = from[column];
        }
    }
    let mut pairs = vec![None; rows];
    for c in 1..=columns {
        if owner[c] != 0 && costs[(owner[c] - 1) * columns + c - 1] < unmatched {
            pairs[owner[c] - 1] = Some(c - 1);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lowest cost over all ways, an unpaired row costing `unmatched`.
    fn exhaustive(costs: &[f64], rows: usize, columns: usize, row: usize, used: u32, unmatched: f64) -> f64 {
        if row == rows {
            return 0.0;
        }
        let rest = |used| exhaustive(costs, rows, columns, row + 1, used, unmatched);
        let pairs = (0..columns).filter(|c| used & (1 << c) == 0).map(|c| costs[row * columns + c] + rest(used | 1 << c));
        pairs.fold(unmatched + rest(used), f64::min)
    }

    #[test]
    fn is_optimal() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) * 1.5
        };
        for (rows, columns) in [(1, 1), (3, 3), (2, 5), (5, 2), (6, 5), (5, 6), (0, 3), (3, 0)] {
            for _ in 0..50 {
                let costs: Vec<f64> = (0..rows * columns).map(|_| random()).collect();
                let pairs = assign(&costs, rows, columns, 1.0);
                let total: f64 = pairs.iter().enumerate().map(|(r, c)| c.map_or(1.0, |c| costs[r * columns + c])).sum();
                let best = exhaustive(&costs, rows, columns, 0, 0, 1.0);
                assert!((total - best).abs() < 1e-9, "{rows}x{columns}: {total} instead of {best}");
                let mut taken: Vec<usize> = pairs.into_iter().flatten().collect();
                taken.sort_unstable();
                taken.dedup();
                assert!(taken.len() <= rows.min(columns));
            }
        }
    }
}
