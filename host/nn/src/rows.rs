//! Batches by rows: what can be cut into parts and put together again.

use crate::{Ports, Tensor};

/// Rows of the batch, where it can be split: two or more, the same in all inputs, and free in every input and output.
pub(crate) fn splittable(ports: &Ports, inputs: &[(String, Tensor)]) -> Option<usize> {
    let free = ports.inputs.iter().chain(&ports.outputs).all(|p| p.dims.first() == Some(&0));
    let rows = *inputs.first()?.1.dims().first()?;
    let same = inputs.iter().all(|(_, t)| t.dims().first() == Some(&rows));
    (free && same && rows >= 2).then_some(rows)
}

/// `count` rows of every input, from row `start` on.
pub(crate) fn part(inputs: &[(String, Tensor)], start: usize, count: usize) -> Vec<(String, Tensor)> {
    inputs.iter().map(|(n, t)| (n.clone(), t.rows(start, count))).collect()
}

/// Outputs of `front` and `back` rows as one batch; none where an output does not follow the batch.
pub(crate) fn join(first: &[Tensor], second: &[Tensor], front: usize, back: usize) -> Option<Vec<Tensor>> {
    let one = |(a, b): (&Tensor, &Tensor)| {
        let of_rows = a.dims().first() == Some(&front) && b.dims().first() == Some(&back);
        if of_rows { a.stack(b) } else { None }
    };
    first.iter().zip(second).map(one).collect()
}
