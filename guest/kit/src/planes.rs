//! Networks' outputs of which only parts are read: heads over a grid of cells, megabytes a frame.

use std::ops::{Deref, Range};

use crate::movenet::DecodeError;

/// A rectangle of one plane of an output. A plane is one pass through the last two dimensions, its rows and columns: `[2, 17, 56, 96]`
/// has 34 of them, counted in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Which plane.
    pub plane: usize,
    /// Rows.
    pub rows: Range<usize>,
    /// Columns.
    pub columns: Range<usize>,
}

impl Slice {
    /// A single value.
    #[must_use]
    pub fn at(plane: usize, row: usize, column: usize) -> Self {
        Self { plane, rows: row..row + 1, columns: column..column + 1 }
    }

    /// Number of values.
    #[must_use]
    pub fn values(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// Whoever holds the outputs of a run.
pub trait Planes {
    /// Why they cannot be read, or do not fit.
    type Error;
    /// Values that have been read.
    type Values: Deref<Target = [f32]>;

    /// The values of slices of an output: one slice after the other, each row by row.
    ///
    /// # Errors
    /// There is no such output, it cannot be read, or a slice is not within it.
    fn read(&self, output: &'static str, slices: &[Slice]) -> Result<Self::Values, Self::Error>;

    /// The error for outputs that could be read, but do not fit.
    fn misfit(&self, error: DecodeError) -> Self::Error;
}

/// Reads slices, as many values as they ask for.
pub(crate) fn read<P: Planes>(planes: &P, output: &'static str, slices: &[Slice]) -> Result<P::Values, P::Error> {
    let values = planes.read(output, slices)?;
    let expected = slices.iter().map(Slice::values).sum();
    match values.len() {
        found if found == expected => Ok(values),
        found => Err(planes.misfit(DecodeError::Values { name: output, expected, found })),
    }
}

/// Outputs that are all at hand, by name, each with its rows and columns.
#[derive(Debug, Clone)]
pub struct Whole<'a>(pub Vec<(&'static str, &'a [f32], [usize; 2])>);

impl Planes for Whole<'_> {
    type Error = DecodeError;
    type Values = Vec<f32>;

    fn read(&self, output: &'static str, slices: &[Slice]) -> Result<Vec<f32>, DecodeError> {
        let found = self.0.iter().find(|(name, _, _)| *name == output);
        let (_, values, [rows, columns]) = found.ok_or(DecodeError::Values { name: output, expected: 1, found: 0 })?;
        let mut read = Vec::new();
        for slice in slices {
            for row in slice.rows.clone() {
                let start = (slice.plane * rows + row) * columns;
                let range = start + slice.columns.start..start + slice.columns.end;
                let inside = slice.rows.end <= *rows && slice.columns.end <= *columns;
                let row = values.get(range.clone()).filter(|_| inside);
                read.extend(row.ok_or(DecodeError::Values { name: output, expected: range.end, found: values.len() })?);
            }
        }
        Ok(read)
    }

    fn misfit(&self, error: DecodeError) -> DecodeError {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a value too few.
    struct Short;

    impl Planes for Short {
        type Error = DecodeError;
        type Values = Vec<f32>;

        fn read(&self, _: &'static str, slices: &[Slice]) -> Result<Vec<f32>, DecodeError> {
            Ok(vec![0.0; slices.iter().map(Slice::values).sum::<usize>() - 1])
        }

        fn misfit(&self, error: DecodeError) -> DecodeError {
            error
        }
    }

    #[test]
    fn slices_are_rows_of_planes() {
        let values: Vec<f32> = (0..24u8).map(f32::from).collect();
        let whole = Whole(vec![("head", &values, [3, 4])]);
        let slice = Slice { plane: 1, rows: 1..3, columns: 2..4 };
        assert_eq!(whole.read("head", &[slice, Slice::at(0, 0, 3)]).unwrap(), [18.0, 19.0, 22.0, 23.0, 3.0]);
        for outside in [Slice::at(2, 0, 0), Slice::at(0, 3, 0), Slice::at(0, 0, 4)] {
            assert!(whole.read("head", std::slice::from_ref(&outside)).is_err(), "{outside:?}");
        }
        assert!(whole.read("tail", &[]).is_err());
    }

    #[test]
    fn an_answer_of_another_length_is_a_misfit() {
        let error = read(&Short, "heatmap", &[Slice::at(0, 0, 0)]).unwrap_err();
        assert_eq!(error, DecodeError::Values { name: "heatmap", expected: 1, found: 0 });
    }
}
