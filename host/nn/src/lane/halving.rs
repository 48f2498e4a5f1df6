//! Running out of memory: a batch is tried again in halves, down to single rows, before it fails.

use crate::{Model, NnError, Ports, Tensor};

/// Runs a model; where memory runs out and the batch can be split, runs the halves one after the other. `halved` counts the
/// rows of the batches that were split.
pub(super) fn run(model: &mut dyn Model, name: &str, inputs: &[(String, Tensor)], halved: &mut u64) -> Result<Vec<Tensor>, NnError> {
    let error = match model.run(inputs) {
        Err(error @ NnError::OutOfMemory { .. }) => error,
        result => return result,
    };
    let Some(rows) = batch_rows(model.ports(), inputs) else { return Err(error) };
    tracing::warn!(model = name, rows, %error, "trying again in halves");
    *halved += rows as u64;
    let front = rows / 2;
    let part = |start: usize, count: usize| inputs.iter().map(|(n, t)| (n.clone(), t.rows(start, count))).collect::<Vec<_>>();
    let first = run(model, name, &part(0, front), halved)?;
    let second = run(model, name, &part(front, rows - front), halved)?;
    let rejoin = |(a, b): (&Tensor, &Tensor)| {
        let of_rows = a.dims().first() == Some(&front) && b.dims().first() == Some(&(rows - front));
        if of_rows { a.stack(b) } else { None }
    };
    // outputs that do not follow the batch cannot be put together: then the lack of memory is what there is to say
    let joined: Option<Vec<_>> = first.iter().zip(&second).map(rejoin).collect();
    joined.ok_or(error)
}

/// Rows of the batch, where it can be split: two or more, the same in all inputs, and free in every input and output.
fn batch_rows(ports: &Ports, inputs: &[(String, Tensor)]) -> Option<usize> {
    let free = ports.inputs.iter().chain(&ports.outputs).all(|p| p.dims.first() == Some(&0));
    let rows = *inputs.first()?.1.dims().first()?;
    let same = inputs.iter().all(|(_, t)| t.dims().first() == Some(&rows));
    (free && same && rows >= 2).then_some(rows)
}
