//! The states at one tap, as pieces of arrays.

use super::sources::Source;
use crate::foreign::{
    Axes, ForeignProblem, ReadOptions,
    arrays::{Archive, Array, Axis},
    layout::Role,
};

/// The states at one tap. The rows of the pieces follow each other.
#[derive(Clone, Debug)]
pub(in crate::foreign) struct Column {
    pub(in crate::foreign) pieces: Vec<Piece>,
    /// The tensor in words, for people who choose among columns.
    pub(in crate::foreign) origin: String,
}

/// The place of states in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::foreign) struct Piece {
    /// The index of the array.
    pub(in crate::foreign) array: usize,
    /// The offset of the first value, in values.
    pub(in crate::foreign) offset: usize,
    pub(in crate::foreign) batch: Axis,
    pub(in crate::foreign) rows: Axis,
    pub(in crate::foreign) dimensions: Axis,
}

/// The axis of a role that an array has no axis for.
const ONE: Axis = Axis { length: 1, stride: 0 };

impl Column {
    /// The same states with a piece for each prompt of a batch.
    pub(super) fn by_prompt(mut self) -> Self {
        let of_each = |piece: &Piece| {
            let Piece { offset, batch, .. } = *piece;
            let piece = Piece { batch: ONE, ..*piece };
            (0..batch.length).map(move |prompt| Piece { offset: offset + prompt * batch.stride, ..piece })
        };
        self.pieces = self.pieces.iter().flat_map(of_each).collect();
        self
    }
}

/// Returns the width of a state: the model's if it is known, else that of the narrowest array.
pub(super) fn width(
    archive: &Archive,
    sources: &[Source],
    options: &ReadOptions,
) -> Result<usize, ForeignProblem> {
    let widths = sources.iter().flat_map(|source| &source.arrays).map(|&index| {
        let array = &archive.arrays[index];
        (array, array.axes[array.axes.len() - 1].length)
    });
    let widths: Vec<(&Array, usize)> = widths.collect();
    let narrowest = widths.iter().map(|(_, width)| *width).min().unwrap_or(1);
    let d_model = options.model.map_or(narrowest, |model| model.d_model);
    match widths.iter().find(|(_, width)| !width.is_multiple_of(d_model)) {
        Some(&(array, found)) => {
            Err(ForeignProblem::Width { tensor: array.name.clone(), found, expected: d_model })
        }
        None => Ok(d_model),
    }
}

/// Returns the columns of one array.
pub(super) fn columns_of(index: usize, array: &Array, axes: Axes, d_model: usize) -> Vec<Column> {
    let width = array.axes[array.axes.len() - 1];
    let axis = |role| axes.place(role).map_or(ONE, |place| array.axes[place]);
    let taps = match axes.place(Role::Tap) {
        Some(place) => array.axes[place],
        None => Axis { length: width.length / d_model, stride: width.stride * d_model },
    };
    let dimensions = Axis { length: d_model, ..width };
    let columns = (0..taps.length).map(|tap| {
        let offset = tap * taps.stride;
        let (batch, rows) = (axis(Role::Batch), axis(Role::Token));
        let name = &array.name;
        let origin = if taps.length == 1 { format!("`{name}`") } else { format!("`{name}`, tap {tap}") };
        Column { pieces: vec![Piece { array: index, offset, batch, rows, dimensions }], origin }
    });
    columns.collect()
}

/// Lets the rows of further columns follow those of the first.
pub(super) fn append(columns: &mut Vec<Column>, more: Vec<Column>) -> Result<(), ForeignProblem> {
    if columns.is_empty() {
        *columns = more;
        return Ok(());
    }
    let same = columns.len() == more.len()
        && columns
            .iter()
            .zip(&more)
            .all(|(column, more)| column.pieces[0].batch.length == more.pieces[0].batch.length);
    if !same {
        return Err(ForeignProblem::Steps { tensor: more[0].origin.clone() });
    }
    columns.iter_mut().zip(more).for_each(|(column, more)| column.pieces.extend(more.pieces));
    Ok(())
}
