//! The numbers of a column, read piece by piece.

use std::{
    io::{BufReader, Read, Seek, SeekFrom},
    ops::Range,
};

use ndarray::Array2;

use super::{
    StatesFile,
    arrays::Axis,
    error::ForeignProblem,
    reading::{Piece, Prompt},
};
use crate::states::States;

/// The treatment of a NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nan {
    Refused,
    Read,
}

impl StatesFile {
    /// Reads a column of the chosen prompt.
    pub(super) fn read(&mut self, column: usize) -> Result<States<f64>, ForeignProblem> {
        let prompt = self.chosen_prompt().clone();
        let shape = (prompt.rows.len(), self.d_model());
        let values = zeros::<f64>(shape.0.checked_mul(shape.1).ok_or(ForeignProblem::OutOfMemory)?)?;
        let mut states = Array2::from_shape_vec(shape, values).map_err(|_| ForeignProblem::OutOfMemory)?;
        let mut begin = 0;
        for piece in self.reading.columns[column].pieces.clone() {
            let end = begin + piece.rows.length;
            let wanted = prompt.rows.start.max(begin)..prompt.rows.end.min(end);
            if !wanted.is_empty() {
                let into = wanted.start - prompt.rows.start;
                let within = wanted.start - begin..wanted.end - begin;
                self.read_piece(
                    column,
                    piece,
                    prompt.batch,
                    within,
                    Nan::Read,
                    &mut |row, dimension, value| {
                        states[[into + row, dimension]] = value;
                    },
                )?;
            }
            begin = end;
        }
        // A row of nothing but NaN is a state that is missing. A single NaN is a mistake.
        for (row, state) in states.outer_iter().enumerate() {
            let nan = state.iter().position(|value| value.is_nan());
            if let Some(dimension) = nan.filter(|_| !state.iter().all(|value| value.is_nan())) {
                let (tensor, row) = (self.tensor(column).to_owned(), prompt.rows.start + row);
                return Err(ForeignProblem::NotFinite { tensor, column, row, dimension, value: f64::NAN });
            }
        }
        Ok(states.into())
    }

    /// Reads some rows of a piece: one contiguous span of the file per row or, where dimensions lie farther apart, per dimension.
    fn read_piece(
        &mut self,
        column: usize,
        piece: Piece,
        batch: usize,
        wanted: Range<usize>,
        nan: Nan,
        take: &mut dyn FnMut(usize, usize, f64),
    ) -> Result<(), ForeignProblem> {
        let (start, content) = {
            let array = &self.archive.arrays[piece.array];
            (array.start, array.content)
        };
        let encoding = self.encoding(piece);
        let size = encoding.format.bytes();
        let rows = Axis { length: wanted.len(), ..piece.rows };
        let dimensions = piece.dimensions;
        let by_row = dimensions.stride <= rows.stride;
        let (outer, inner) = if by_row { (rows, dimensions) } else { (dimensions, rows) };
        let mut span = zeros::<u8>(((inner.length - 1) * inner.stride + 1) * size)?;
        let first = piece.offset + batch * piece.batch.stride + wanted.start * piece.rows.stride;
        let base = start + (first * size) as u64;
        let mut reader = BufReader::with_capacity(1 << 16, &mut self.archive.contents[content]);
        let mut position = reader.seek(SeekFrom::Start(base))?;
        for i in 0..outer.length {
            let start = base + (i * outer.stride * size) as u64;
            // Unlike `seek`, this keeps what is buffered; both offsets lie inside the file, so the difference
            // fits.
            reader.seek_relative(start as i64 - position as i64)?;
            reader.read_exact(&mut span)?;
            position = start + span.len() as u64;
            for j in 0..inner.length {
                // A stride of 0 repeats one value.
                let bytes = &span[j * inner.stride * size..][..size];
                let value = encoding.format.within_range(encoding.decode(bytes));
                let (row, dimension) = if by_row { (i, j) } else { (j, i) };
                if !(value.is_finite() || nan == Nan::Read && value.is_nan()) {
                    let (tensor, row) = (self.archive.arrays[piece.array].name.clone(), wanted.start + row);
                    return Err(ForeignProblem::NotFinite { tensor, column, row, dimension, value });
                }
                take(row, dimension, value);
            }
        }
        Ok(())
    }

    /// Leaves out the rows of zeros at the end of a prompt, unless all are zeros, and compares the rest with its ids.
    pub(super) fn cut_padding(&mut self, prompt: usize) -> Result<(), ForeignProblem> {
        let Prompt { batch, rows, token_ids, generated, .. } = self.reading.prompts[prompt].clone();
        let mut end = rows.end;
        while end > rows.start && self.is_zero(batch, end - 1)? {
            end -= 1;
        }
        if end > rows.start {
            self.reading.prompts[prompt].rows.end = end;
        }
        let found = self.reading.prompts[prompt].rows.len();
        match token_ids.map(|ids| ids.len()) {
            Some(ids) if found > ids && !generated => Err(ForeignProblem::MoreRows { rows: found, ids }),
            _ => Ok(()),
        }
    }

    /// Whether a row of the first column is zero. NaN is not.
    fn is_zero(&mut self, batch: usize, row: usize) -> Result<bool, ForeignProblem> {
        let mut begin = 0;
        for piece in self.reading.columns[0].pieces.clone() {
            if row < begin + piece.rows.length {
                let mut zero = true;
                let row = row - begin;
                let read =
                    self.read_piece(0, piece, batch, row..row + 1, Nan::Refused, &mut |_, _, value| {
                        zero &= value == 0.0;
                    });
                return match read {
                    Err(ForeignProblem::NotFinite { .. }) => Ok(false),
                    other => other.map(|()| zero),
                };
            }
            begin += piece.rows.length;
        }
        Ok(false)
    }
}

/// Does what `vec![0; length]` does, for a length that a (sparse) file claims.
pub(super) fn zeros<T: Clone + Default>(length: usize) -> Result<Vec<T>, ForeignProblem> {
    let mut values = Vec::new();
    values.try_reserve_exact(length).map_err(|_| ForeignProblem::OutOfMemory)?;
    values.resize(length, T::default());
    Ok(values)
}
