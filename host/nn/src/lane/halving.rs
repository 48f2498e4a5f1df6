//! Running out of memory: a batch is tried again in halves, down to single rows, before it fails.

use crate::{Model, NnError, Tensor, rows};

/// Runs a model; where memory runs out and the batch can be split, runs the halves one after the other. `halved` counts the
/// rows of the batches that were split.
pub(super) fn run(model: &mut dyn Model, name: &str, inputs: &[(String, Tensor)], halved: &mut u64) -> Result<Vec<Tensor>, NnError> {
    let error = match model.run(inputs) {
        Err(error @ NnError::OutOfMemory { .. }) => error,
        result => return result,
    };
    let Some(all) = rows::splittable(model.ports(), inputs) else { return Err(error) };
    tracing::warn!(model = name, rows = all, %error, "trying again in halves");
    *halved += all as u64;
    let (front, back) = (all / 2, all - all / 2);
    let first = run(model, name, &rows::part(inputs, 0, front), halved)?;
    let second = run(model, name, &rows::part(inputs, front, back), halved)?;
    // outputs that do not follow the batch cannot be put together: then the lack of memory is what there is to say
    rows::join(&[(first, front), (second, back)]).ok_or(error)
}
