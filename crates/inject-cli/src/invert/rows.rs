//! The rows of one prompt in a file: those that hold states, and the positions that have none.

use inject_sipit::{
    models::Tap,
    ndarray::{Array2, ArrayView1, Axis, s},
    states::foreign::{ColumnChoice, StatesFile},
};

use super::{Arrangement, Input};
use crate::{number::counted, outcome::Failure, output::note};

/// The rows of one prompt.
pub(super) struct Rows {
    /// The states. A row of NaN has none.
    pub(super) states: Array2<f64>,
    /// The position of each row, if the file says it or if the first rows have no states.
    pub(super) positions: Option<Vec<usize>>,
    /// The number of rows before them that are padding, and of the ids of it in the file.
    padding: usize,
    /// The numbers of the rows of zeros.
    zeros: Vec<usize>,
}

impl Rows {
    /// Reads the rows of the chosen prompt. A row of zeros has no state. Rows of zeros at the beginning are padding if the tokens before the
    /// first state are not known. `tap` is the tap if it is known: the embedding of a token may be zero.
    pub(super) fn read(
        file: &mut StatesFile,
        column: ColumnChoice,
        tap: Option<Tap>,
        input: &Input,
    ) -> Result<Self, Failure> {
        let mut states = column_of(file, column)?;
        let positions = file.positions().map(<[usize]>::to_vec);
        if input.arrangement() == Arrangement::Shuffled {
            return Ok(Rows { states, positions, padding: 0, zeros: Vec::new() });
        }
        let is_zero = |row: ArrayView1<'_, f64>| row.iter().all(|&value| value == 0.0);
        let zeros: Vec<usize> = match tap {
            Some(Tap::Embedding) => Vec::new(),
            _ => (0..states.nrows()).filter(|&row| is_zero(states.row(row))).collect(),
        };
        zeros.iter().for_each(|&row| states.row_mut(row).fill(f64::NAN));
        let first = states.outer_iter().position(|row| row.iter().any(|value| !value.is_nan()));
        let first = first.filter(|&first| first > 0 && positions.is_none() && input.missing.is_none());
        let Some(first) = first else { return Ok(Rows { states, positions, padding: 0, zeros }) };
        let all = states.nrows();
        let states = states.slice(s![first.., ..]).to_owned();
        let is_padding =
            zeros.get(..first).is_some_and(|rows| rows.iter().enumerate().all(|(at, &row)| at == row))
                && !is_known(input, file.token_ids(), first);
        Ok(match is_padding {
            true => Rows { states, positions: None, padding: first, zeros },
            false => Rows { states, positions: Some((first..all).collect()), padding: 0, zeros },
        })
    }

    /// The position of the first row, if there are positions before it without one.
    pub(super) fn first(&self) -> Option<usize> {
        self.positions.iter().flatten().min().copied().filter(|&first| first > 0)
    }

    /// The ids of the file without those of padding.
    pub(super) fn ids(&self, file: &StatesFile) -> Option<Vec<u32>> {
        file.token_ids().map(|ids| ids[self.padding.min(ids.len())..].to_vec())
    }

    /// Says which rows hold zeros.
    pub(super) fn tell(&self, file: &StatesFile) {
        let path = file.path().display();
        if self.padding > 0 {
            note(&format!(
                "{path}: the first {} of zeros and taken for padding; if they stand for tokens, give these with --prefix-ids",
                match self.padding {
                    1 => "row is one".to_owned(),
                    rows => format!("{rows} rows are"),
                }
            ));
        }
        let within: Vec<String> = self.zeros.iter().skip(self.padding).map(usize::to_string).collect();
        if !within.is_empty() {
            note(&format!(
                "{path}: {} of zeros, which is padding or was not written: {}; no state is taken from it",
                counted(within.len(), "row"),
                within.join(", ")
            ));
        }
    }
}

/// Whether the tokens of the first positions are known. Equal ids in the file are those of padding.
fn is_known(input: &Input, ids: Option<&[u32]>, positions: usize) -> bool {
    let by_option = input.prefix.is_some() || input.prefix_ids.is_some() || input.chat_template.is_some();
    let differ = |ids: &[u32]| ids.iter().any(|id| *id != ids[0]);
    by_option || ids.and_then(|ids| ids.get(..positions)).is_some_and(|ids| positions == 1 || differ(ids))
}

/// Reads a column, which must not be zeros alone: those fit no token of any model.
pub(super) fn column_of(file: &mut StatesFile, choice: ColumnChoice) -> Result<Array2<f64>, Failure> {
    let states = file.column(choice)?.into_array();
    if is_zero(&states) { Err(nothing_but_zeros(file)) } else { Ok(states) }
}

/// Whether states are zeros alone.
pub(super) fn is_zero(states: &Array2<f64>) -> bool {
    states.iter().all(|&value| value == 0.0)
}

/// The failure of states that are zeros alone.
pub(super) fn nothing_but_zeros(file: &StatesFile) -> Failure {
    Failure::new(format!(
        "{} holds nothing but zeros: the states were not written into it",
        file.path().display()
    ))
}

/// Puts rows in the order of their positions.
pub(super) fn in_order(states: Array2<f64>, positions: &[usize]) -> Array2<f64> {
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by_key(|&row| positions[row]);
    states.select(Axis(0), &order)
}
