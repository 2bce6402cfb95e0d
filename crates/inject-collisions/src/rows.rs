//! The rows between which distances are measured.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashMap, ops::Range};

use inject_states::{
    models::Tap,
    store::{Store, TapStates},
};
use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::error::CollisionError;

/// The states of one tap, one per row. All coordinates are finite, and there are at least two rows.
///
/// The states are in memory, or are read in place from a store. A row may have an *identity*, a number that represents its token
/// ids. Rows with the same identity are states of the same token ids. They are equal by construction and never count as a pair.
///
/// # Example
///
/// ```
/// use inject_collisions::{CollisionError, StateRows};
///
/// let states = ndarray::arr2(&[[1.0_f32, 2.0], [1.0, f32::NAN], [0.0, 0.0]]);
/// let error = StateRows::new(states.view()).unwrap_err();
/// assert!(matches!(error, CollisionError::NotFinite { row: 1, column: 1, .. }));
/// ```
#[derive(Clone, Debug)]
pub struct StateRows<'a> {
    states: States<'a>,
    rows: usize,
    columns: usize,
    identities: Option<Vec<u32>>,
    bands: Bands,
}

/// The places of the rows among the states: the first of them from one place on, and the others from another.
#[derive(Clone, Copy, Debug)]
struct Bands {
    /// The number of rows in the first band.
    first_rows: usize,
    first: usize,
    second: usize,
}

impl Bands {
    /// One band of unlimited size, which holds all states.
    const ALL: Bands = Bands { first_rows: usize::MAX, first: 0, second: 0 };

    #[inline(always)]
    fn place(self, row: usize) -> usize {
        if row < self.first_rows { self.first + row } else { self.second + (row - self.first_rows) }
    }
}

/// The rows in the format they are stored in.
#[derive(Clone, Debug)]
enum States<'a> {
    /// f32 numbers in memory, row after row.
    Plain(Cow<'a, [f32]>),
    /// Numbers in a store, in a narrower format.
    Stored(&'a TapStates),
}

impl<'a> StateRows<'a> {
    /// The largest number of rows in one search.
    pub const LIMIT: usize = u32::MAX as usize;

    /// Checks rows in memory. They are copied only if they are not in row-major order.
    ///
    /// # Shapes
    ///
    /// `states`: [row, d_model].
    ///
    /// # Errors
    ///
    /// [`CollisionError::TooFewRows`], [`CollisionError::TooManyRows`], [`CollisionError::NoColumns`], or
    /// [`CollisionError::NotFinite`] with the first row and column whose number is not finite.
    pub fn new(states: ArrayView2<'a, f32>) -> Result<Self, CollisionError> {
        let (rows, columns) = states.dim();
        let states = match states.to_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(states.iter().copied().collect()),
        };
        StateRows { states: States::Plain(states), rows, columns, identities: None, bands: Bands::ALL }
            .checked()
    }

    /// Checks the states of one tap of a store, which are read in place. f16 and bf16 are widened as they are read.
    ///
    /// # Errors
    ///
    /// The errors of [`StateRows::new`].
    pub fn of_states(states: &'a TapStates) -> Result<Self, CollisionError> {
        StateRows::unchecked(states).checked()
    }

    fn unchecked(states: &'a TapStates) -> Self {
        let (rows, columns) = (states.rows(), states.d_model());
        let states = match states.as_f32() {
            Some(slice) => States::Plain(Cow::Borrowed(slice)),
            None => States::Stored(states),
        };
        StateRows { states, rows, columns, identities: None, bands: Bands::ALL }
    }

    /// Checks the states of one tap of a store and gives each an identity. Two rows have the same identity if their tokens and all
    /// tokens before them are equal.
    ///
    /// # Errors
    ///
    /// The errors of [`StateRows::new`], and [`CollisionError::Store`] if the store does not contain the tap.
    pub fn of_store(store: &'a Store, tap: Tap) -> Result<Self, CollisionError> {
        let all = 0..store.manifest().row_count;
        StateRows::of_store_bands(store, tap, all, None)
    }

    /// As [`StateRows::of_store`], of one band of rows, or of two bands one after the other. Only these rows are looked at, except for
    /// the checksums of a store that was opened with them.
    ///
    /// # Errors
    ///
    /// As [`StateRows::of_store`].
    ///
    /// # Panics
    ///
    /// Panics if the store has no such rows.
    pub fn of_store_bands(
        store: &'a Store,
        tap: Tap,
        first: Range<usize>,
        second: Option<Range<usize>>,
    ) -> Result<Self, CollisionError> {
        let positions = store.rows();
        let prefix =
            |row: usize| &store.prompt(positions.prompt[row] as usize)[..=positions.position[row] as usize];
        let places = first.clone().chain(second.clone().into_iter().flatten());
        let identities = identities(places.map(prefix));
        StateRows::unchecked(store.tap(tap)?).in_bands(first, second).checked()?.with_identities(identities)
    }

    /// Some of these rows: one band, or two bands one after the other.
    ///
    /// # Panics
    ///
    /// Panics if there are no such rows, or fewer than two of them.
    pub fn bands(&self, first: Range<usize>, second: Option<Range<usize>>) -> StateRows<'_> {
        let states = match &self.states {
            States::Plain(states) => States::Plain(Cow::Borrowed(&**states)),
            States::Stored(states) => States::Stored(states),
        };
        let places = first.clone().chain(second.clone().into_iter().flatten());
        let identities = self.identities.as_ref().map(|all| places.map(|row| all[row]).collect());
        let whole = StateRows { states, identities: None, ..*self };
        let some = whole.in_bands(first, second);
        assert!(some.rows >= 2, "{} rows, expected at least two", some.rows);
        StateRows { identities, ..some }
    }

    /// # Panics
    ///
    /// Panics if there are no such rows, or these are bands already.
    fn in_bands(self, first: Range<usize>, second: Option<Range<usize>>) -> Self {
        let second = second.unwrap_or(first.end..first.end);
        assert!(self.bands.first_rows == usize::MAX, "bands of bands");
        assert!(first.end <= self.rows && second.end <= self.rows, "there are only {} rows", self.rows);
        let bands = Bands { first_rows: first.len(), first: first.start, second: second.start };
        StateRows { rows: first.len() + second.len(), bands, ..self }
    }

    fn checked(self) -> Result<Self, CollisionError> {
        let (found, limit) = (self.rows, Self::LIMIT);
        match found {
            0 | 1 => return Err(CollisionError::TooFewRows { found }),
            _ if found > limit => return Err(CollisionError::TooManyRows { found, limit }),
            _ if self.columns == 0 => return Err(CollisionError::NoColumns),
            _ => {}
        }
        let first_bad = (0..self.rows).into_par_iter().find_map_first(|row| {
            let mut buffer = Vec::new();
            let state = self.row(row, &mut buffer);
            // A maximum of integers is fast. The exact column is searched for only if a number is not finite.
            let largest = state.iter().fold(0, |largest, value| value.abs().to_bits().max(largest));
            if largest < f32::INFINITY.to_bits() {
                return None;
            }
            let column = state.iter().position(|value| !value.is_finite())?;
            Some(CollisionError::NotFinite { row, column, found: state[column] })
        });
        first_bad.map_or(Ok(self), Err)
    }

    /// Returns the same rows, each with an identity. Rows with the same identity never count as a pair.
    ///
    /// # Errors
    ///
    /// [`CollisionError::LabelCount`] if the number of identities is not the number of rows.
    pub fn with_identities(self, identities: Vec<u32>) -> Result<Self, CollisionError> {
        match identities.len() == self.rows {
            true => Ok(StateRows { identities: Some(identities), ..self }),
            false => {
                let (found, rows) = (identities.len(), self.rows);
                Err(CollisionError::LabelCount { what: "identities", found, rows })
            }
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of coordinates of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the identity of each row, if the rows have identities.
    pub fn identities(&self) -> Option<&[u32]> {
        self.identities.as_deref()
    }

    /// Returns one row. A row that has to be widened is written to `buffer`.
    ///
    /// # Panics
    ///
    /// Panics if the row is out of range.
    #[inline]
    pub fn row<'b>(&'b self, row: usize, buffer: &'b mut Vec<f32>) -> &'b [f32] {
        assert!(row < self.rows, "there are only {} rows", self.rows);
        match &self.states {
            States::Plain(states) => &states[self.bands.place(row) * self.columns..][..self.columns],
            States::Stored(states) => {
                buffer.resize(self.columns, 0.0);
                states.row_f32(self.bands.place(row), buffer);
                buffer
            }
        }
    }

    /// Returns the groups of two or more rows with the same identity: prompts that occur more than once. Each group is in
    /// ascending order, and so are the groups.
    pub fn repeated(&self) -> Vec<Vec<usize>> {
        let identities = self.identities.as_deref().unwrap_or_default();
        groups(identities.iter().enumerate().map(|(row, &identity)| (identity, row)))
    }
}

/// Returns a number for each sequence of token ids. Two numbers are equal if and only if the sequences are. Numbers are assigned
/// from 0 in the order of first occurrence.
///
/// # Example
///
/// ```
/// let prompts: [&[u32]; 3] = [&[7, 8], &[7], &[7, 8]];
/// assert_eq!(inject_collisions::identities(prompts), [0, 1, 0]);
/// ```
pub fn identities<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Vec<u32> {
    let mut known = HashMap::new();
    let mut number = |sequence| {
        let next = known.len() as u32;
        *known.entry(sequence).or_insert(next)
    };
    sequences.into_iter().map(&mut number).collect()
}

/// Returns the groups of at least two members that have the same key.
pub(crate) fn groups<K: std::hash::Hash + Eq>(
    members: impl IntoIterator<Item = (K, usize)>,
) -> Vec<Vec<usize>> {
    let mut by_key: HashMap<K, Vec<usize>> = HashMap::new();
    for (key, member) in members {
        by_key.entry(key).or_default().push(member);
    }
    let mut groups: Vec<_> = by_key.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    groups
}
