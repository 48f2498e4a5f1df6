//! Batches in pieces of few rows, for networks whose rows are large, on a CPU.
//!
//! What a layer writes the next one reads. Of two pictures that still lies in a core's own cache, of eight it comes from further away:
//! a row of the landmark network takes 4.7 ms in a batch of two and 6.2 in one of eight (`docs/performance.md`). Of small rows, like those
//! of the body network, a large batch is the cheaper one.

use crate::{Model, NnError, Ports, Tensor, rows};

/// Bytes of a row of all inputs from which on batches are run in pieces: a picture of 105 x 105 pixels.
const LARGE_ROW: usize = 128 << 10;
/// Rows of a piece for each thread.
const ROWS: usize = 2;

/// A model that meets small batches.
pub(crate) struct Pieces {
    model: Box<dyn Model>,
    /// Rows of a piece.
    most: usize,
    /// An output of it does not follow the batch, so that what pieces give cannot be put together.
    stubborn: bool,
}

impl Pieces {
    /// For a session of so many threads.
    pub(crate) fn new(model: Box<dyn Model>, threads: usize) -> Self {
        Self { model, most: ROWS * threads.max(1), stubborn: false }
    }
}

impl Model for Pieces {
    fn ports(&self) -> &Ports {
        self.model.ports()
    }

    fn notes(&self) -> &[String] {
        self.model.notes()
    }

    fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, NnError> {
        let bytes: usize = inputs.iter().map(|(_, tensor)| tensor.as_bytes().len()).sum();
        let large = |rows: &usize| *rows > self.most && bytes / rows >= LARGE_ROW && !self.stubborn;
        let Some(all) = rows::splittable(self.ports(), inputs).filter(large) else { return self.model.run(inputs) };
        let mut parts = Vec::with_capacity(all.div_ceil(self.most));
        for start in (0..all).step_by(self.most) {
            let rows = self.most.min(all - start);
            parts.push((self.model.run(&rows::part(inputs, start, rows))?, rows));
        }
        match rows::join(&parts) {
            Some(outputs) => Ok(outputs),
            None => {
                self.stubborn = true;
                self.model.run(inputs)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeEngine, FakeLog};
    use crate::{Engine as _, Port, TensorType};

    /// Largest values of rows of so many; `whole` gives that of the batch instead, in a dimension that is called free.
    fn engine(row: usize, whole: bool) -> (Pieces, FakeLog) {
        let port = |name: &str, dims: &[usize]| Port { name: name.into(), ty: TensorType::F32, dims: dims.to_vec() };
        let ports = Ports { inputs: vec![port("x", &[0, row])], outputs: vec![port("y", &[0])] };
        let engine = FakeEngine::default().with_model("largest", ports, move |inputs| {
            let values = inputs[0].1.as_f32().unwrap();
            let largest = |row: &[f32]| row.iter().copied().fold(0.0, f32::max);
            let largest: Vec<f32> = if whole { vec![largest(values)] } else { values.chunks(row).map(largest).collect() };
            Ok(vec![Tensor::from_vec(vec![largest.len()], largest).unwrap()])
        });
        let log = engine.log();
        (Pieces::new(engine.load("largest").unwrap(), 1), log)
    }

    /// What comes of as many rows, row i of which is filled with i + 1.
    fn largest(model: &mut Pieces, row: usize, rows: usize) -> Vec<f32> {
        let values = (0..rows * row).map(|i| (i / row + 1) as f32).collect();
        model.run(&[("x".to_owned(), Tensor::from_vec(vec![rows, row], values).unwrap())]).unwrap()[0].as_f32().unwrap().to_vec()
    }

    const LARGE: usize = LARGE_ROW / 4;

    #[test]
    fn large_rows_meet_in_twos_and_come_out_in_order() {
        let (mut model, log) = engine(LARGE, false);
        for rows in [1, 2, 5] {
            assert_eq!(largest(&mut model, LARGE, rows), (1..=rows).map(|i| i as f32).collect::<Vec<_>>());
        }
        let met: Vec<String> = log.calls().split_off(1);
        assert_eq!(met, ["run largest 1", "run largest 2", "run largest 2", "run largest 2", "run largest 1"]);
    }

    #[test]
    fn small_rows_stay_together() {
        let (mut model, log) = engine(LARGE - 1, false);
        assert_eq!(largest(&mut model, LARGE - 1, 5), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(log.calls(), ["load largest", "run largest 5"]);
    }

    #[test]
    fn an_output_that_does_not_follow_the_batch_is_computed_whole() {
        let (mut model, log) = engine(LARGE, true);
        assert_eq!((largest(&mut model, LARGE, 3), largest(&mut model, LARGE, 3)), (vec![3.0], vec![3.0]));
        assert_eq!(log.calls(), ["load largest", "run largest 2", "run largest 1", "run largest 3", "run largest 3"], "tried once");
    }
}
