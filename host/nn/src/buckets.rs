//! Batches of few sizes, for devices that prepare kernels for each shape they meet.
//!
//! cuDNN chooses its algorithms, and TensorRT builds its engines, for every new shape; the number of people changes from frame to
//! frame. So a batch is filled up to the next of seven sizes with rows that are there already, and the rows more are cut off what
//! comes out.

use crate::{Model, NnError, Ports, Tensor, rows};

/// Rows above which batches are filled up to a multiple of it; below, to a power of two.
const LARGEST: usize = 64;

/// A model that meets few batch sizes.
pub(crate) struct Buckets {
    model: Box<dyn Model>,
    /// An output of it does not follow the batch, so that the rows more cannot be cut off.
    stubborn: bool,
}

impl Buckets {
    pub(crate) fn new(model: Box<dyn Model>) -> Self {
        Self { model, stubborn: false }
    }
}

/// Rows that a batch is filled up to; never twice as many.
const fn bucket(rows: usize) -> usize {
    if rows <= LARGEST { rows.next_power_of_two() } else { rows.next_multiple_of(LARGEST) }
}

impl Model for Buckets {
    fn ports(&self) -> &Ports {
        self.model.ports()
    }

    fn notes(&self) -> &[String] {
        self.model.notes()
    }

    fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, NnError> {
        let filled = rows::splittable(self.ports(), inputs).and_then(|rows| {
            let more = bucket(rows) - rows;
            let fill = |(name, tensor): &(String, Tensor)| Some((name.clone(), Tensor::stacked(&[tensor, &tensor.rows(0, more)])?));
            (more > 0 && !self.stubborn).then(|| inputs.iter().map(fill).collect::<Option<Vec<_>>>().map(|inputs| (rows, inputs)))?
        });
        let Some((rows, filled)) = filled else { return self.model.run(inputs) };
        let outputs = self.model.run(&filled)?;
        if outputs.iter().all(|output| output.dims().first() == Some(&bucket(rows))) {
            return Ok(outputs.iter().map(|output| output.rows(0, rows)).collect());
        }
        self.stubborn = true;
        self.model.run(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeEngine, FakeLog};
    use crate::{Engine as _, Port, TensorType};

    fn port(name: &str, dims: &[usize]) -> Port {
        Port { name: name.into(), ty: TensorType::F32, dims: dims.to_vec() }
    }

    /// Sums of pairs; `whole` gives the sum over the batch instead, in a dimension that is called free.
    fn engine(whole: bool) -> (Buckets, FakeLog) {
        let ports = Ports { inputs: vec![port("x", &[0, 2])], outputs: vec![port("y", &[0])] };
        let engine = FakeEngine::default().with_model("sums", ports, move |inputs| {
            let sums: Vec<f32> = inputs[0].1.as_f32().unwrap().chunks(2).map(|pair| pair[0] + pair[1]).collect();
            let sums = if whole { vec![sums.iter().sum()] } else { sums };
            Ok(vec![Tensor::from_vec(vec![sums.len()], sums).unwrap()])
        });
        let log = engine.log();
        (Buckets::new(engine.load("sums").unwrap()), log)
    }

    fn sums(model: &mut Buckets, rows: usize) -> Vec<f32> {
        let values = (0..rows * 2).map(|i| i as f32).collect();
        let inputs = [("x".to_owned(), Tensor::from_vec(vec![rows, 2], values).unwrap())];
        model.run(&inputs).unwrap()[0].as_f32().unwrap().to_vec()
    }

    #[test]
    fn any_number_of_rows_meets_few_sizes_and_comes_out_as_it_is() {
        let (mut model, log) = engine(false);
        for rows in [1, 2, 3, 5, 8, 33, 64, 65, 130] {
            assert_eq!(sums(&mut model, rows), (0..rows).map(|i| (4 * i + 1) as f32).collect::<Vec<_>>());
        }
        let met: Vec<usize> =
            log.calls().iter().filter_map(|call| call.strip_prefix("run sums ").map(|rows| rows.parse().unwrap())).collect();
        assert_eq!(met, [1, 2, 4, 8, 8, 64, 64, 128, 192]);
    }

    #[test]
    fn an_output_that_does_not_follow_the_batch_is_computed_without_filling() {
        let (mut model, log) = engine(true);
        assert_eq!((sums(&mut model, 3), sums(&mut model, 3)), (vec![15.0], vec![15.0]));
        assert_eq!(log.calls(), ["load sums", "run sums 4", "run sums 3", "run sums 3"], "tried once");
    }
}
