//! Columns of a network's output: what it says of each candidate, whatever the order of its dimensions.

use super::DetectError;

/// An output of a network.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions.
    pub dims: &'a [usize],
    /// Its values, row-major.
    pub values: &'a [f32],
}

impl Output<'_> {
    /// A shape that is not the one wanted.
    pub(super) fn shape(&self, wanted: impl Into<String>) -> DetectError {
        DetectError::Shape { name: self.name.into(), dims: self.dims.into(), wanted: wanted.into() }
    }

    /// Fails unless there are as many values as the dimensions say.
    pub(super) fn check_len(&self) -> Result<(), DetectError> {
        let len = self.dims.iter().try_fold(1usize, |product, d| product.checked_mul(*d));
        if len == Some(self.values.len()) { Ok(()) } else { Err(self.shape(format!("that of {} values", self.values.len()))) }
    }
}

/// Some columns of an output, which is `[n, candidates, columns]`. The first dimension may be missing, and the last one of an output with
/// a single column; dimensions of 1 may stand before the three.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// The output.
    pub output: Output<'a>,
    /// The first column that counts, from 0.
    pub first: usize,
    /// `[n, columns, candidates]` instead.
    pub candidates_last: bool,
}

impl<'a> Columns<'a> {
    /// All columns of an output.
    #[must_use]
    pub const fn all(output: Output<'a>) -> Self {
        Self { output, first: 0, candidates_last: false }
    }

    /// The columns as a table, of which there must be `width` at least. `rank` is the number of the boxes' dimensions: an output with one
    /// less has a single column.
    pub(super) fn table(&self, rank: usize, width: usize) -> Result<Table<'a>, DetectError> {
        let output = self.output;
        output.check_len()?;
        let one_column = output.dims.len() + 1 == rank;
        if !one_column && output.dims.len() != rank {
            return Err(output.shape(format!("one of {rank} dimensions, or of {} for a single column", rank.saturating_sub(1))));
        }
        let mut dims = output.dims.to_vec();
        if one_column {
            dims.push(1);
        }
        while dims.len() > 3 && dims[0] == 1 {
            dims.remove(0);
        }
        let (frames, a, b) = match dims[..] {
            [frames, a, b] => (frames, a, b),
            [a, b] => (1, a, b),
            _ => return Err(output.shape("[n, candidates, columns]")),
        };
        let last = self.candidates_last && !one_column;
        let (candidates, columns) = if last { (b, a) } else { (a, b) };
        if self.first + width > columns {
            return Err(DetectError::Column { name: output.name.into(), columns, column: self.first + width - 1 });
        }
        Ok(Table {
            values: output.values,
            frames,
            candidates,
            columns: columns - self.first,
            first: self.first,
            // from one frame, candidate and column to the next
            steps: if last { [a * b, 1, b] } else { [a * b, b, 1] },
        })
    }
}

/// Columns whose place has been checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    values: &'a [f32],
    pub frames: usize,
    pub candidates: usize,
    /// Columns from the first that counts.
    pub columns: usize,
    first: usize,
    steps: [usize; 3],
}

impl Table<'_> {
    /// A number; `column` counts from the first that counts.
    pub fn get(&self, frame: usize, candidate: usize, column: usize) -> f32 {
        let [frames, candidates, columns] = self.steps;
        self.values[frame * frames + candidate * candidates + (self.first + column) * columns]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output<'a>(dims: &'a [usize], values: &'a [f32]) -> Output<'a> {
        Output { name: "out", dims, values }
    }

    #[test]
    fn candidates_first_and_last_hold_the_same() {
        // two frames of three candidates with two columns: hundreds by frame, tens by candidate, ones by column
        let value = |f: usize, c: usize, k: usize| (100 * f + 10 * c + k) as f32;
        let mut first = Vec::new();
        let mut last = Vec::new();
        for f in 0..2 {
            first.extend((0..6).map(|i| value(f, i / 2, i % 2)));
            last.extend((0..6).map(|i| value(f, i % 3, i / 3)));
        }
        let tables = [
            Columns::all(output(&[2, 3, 2], &first)).table(3, 2).unwrap(),
            Columns { candidates_last: true, ..Columns::all(output(&[2, 2, 3], &last)) }.table(3, 2).unwrap(),
        ];
        for table in tables {
            assert_eq!((table.frames, table.candidates, table.columns), (2, 3, 2));
            assert_eq!(table.get(1, 2, 1), 121.0);
            assert_eq!(table.get(0, 1, 0), 10.0);
        }
        let second = Columns { first: 1, ..Columns::all(output(&[2, 3, 2], &first)) }.table(3, 1).unwrap();
        assert_eq!((second.columns, second.get(1, 0, 0)), (1, 101.0));
    }

    #[test]
    fn dimensions_may_be_missing_or_one() {
        let values = [1.0, 2.0, 3.0, 4.0];
        let places = |dims: &[usize], rank: usize| {
            let table = Columns::all(output(dims, &values)).table(rank, 1).unwrap();
            (table.frames, table.candidates, table.columns)
        };
        assert_eq!(places(&[1, 1, 2, 2], 4), (1, 2, 2));
        assert_eq!(places(&[2, 2], 2), (1, 2, 2));
        assert_eq!(places(&[2, 2], 3), (2, 2, 1));
        assert_eq!(places(&[4], 2), (1, 4, 1));
        // a single column has no place for candidates last
        let table = Columns { candidates_last: true, ..Columns::all(output(&[1, 4], &values)) }.table(3, 1).unwrap();
        assert_eq!((table.candidates, table.get(0, 3, 0)), (4, 4.0));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let values = [0.0; 4];
        let fault = |dims: &[usize], rank, first| Columns { first, ..Columns::all(output(dims, &values)) }.table(rank, 1).unwrap_err();
        assert!(matches!(fault(&[2, 2], 4, 0), DetectError::Shape { .. }));
        assert!(matches!(fault(&[2, 1, 1, 2], 4, 0), DetectError::Shape { .. }));
        assert!(matches!(fault(&[5], 2, 0), DetectError::Shape { .. }), "as many values as the shape says");
        assert_eq!(fault(&[2, 2], 2, 2), DetectError::Column { name: "out".into(), columns: 2, column: 2 });
        assert_eq!(fault(&[2, 2], 3, 1), DetectError::Column { name: "out".into(), columns: 1, column: 1 });
    }
}
