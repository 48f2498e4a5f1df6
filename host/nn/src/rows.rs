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

/// Outputs of parts of a batch, each with its number of rows, as those of the whole; none where an output does not follow the batch.
pub(crate) fn join(parts: &[(Vec<Tensor>, usize)]) -> Option<Vec<Tensor>> {
    let outputs = parts.iter().map(|(outputs, _)| outputs.len()).min()?;
    let of_rows = |(tensors, rows): &(Vec<Tensor>, usize)| tensors.iter().all(|tensor| tensor.dims().first() == Some(rows));
    let one = |i| Tensor::stacked(&parts.iter().map(|(tensors, _)| &tensors[i]).collect::<Vec<_>>());
    parts.iter().all(of_rows).then(|| (0..outputs).map(one).collect())?
}
