//! The number of prompts, tokens and rows of a job, which determine the sizes of its files.

use crate::store::{error::StoreError, manifest::positions::Positions};

/// The token ids of prompts in their order, which can be passed over any number of times. So they need not be in memory.
pub(crate) trait PromptIter<'a>: Iterator<Item = &'a [u32]> + Clone {}

impl<'a, I: Iterator<Item = &'a [u32]> + Clone> PromptIter<'a> for I {}

/// The numbers of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) prompts: usize,
    pub(crate) tokens: usize,
    /// The number of states at each tap.
    pub(crate) rows: usize,
}

impl Extent {
    /// Counts the prompts and checks that a store can contain them.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoPrompts`], [`StoreError::EmptyPrompt`], [`StoreError::TokenTooLarge`]; and
    /// [`StoreError::TooLarge`] if I32 cannot count the prompts, positions or rows.
    pub(crate) fn of<'a>(prompts: impl PromptIter<'a>, positions: Positions) -> Result<Self, StoreError> {
        let mut extent = Extent { prompts: 0, tokens: 0, rows: 0 };
        for ids in prompts {
            check(extent.prompts, ids)?;
            extent.prompts += 1;
            extent.tokens += ids.len();
            extent.rows += positions.rows(ids.len());
        }
        if extent.prompts == 0 {
            return Err(StoreError::NoPrompts);
        }
        within_i32("prompts", extent.prompts)?;
        within_i32("rows", extent.rows)?;
        Ok(extent)
    }
}

/// Returns the number of rows of prompts.
pub(crate) fn rows<'a>(prompts: impl PromptIter<'a>, positions: Positions) -> usize {
    prompts.map(|ids| positions.rows(ids.len())).sum()
}

/// Returns the number of the prompt to which a row belongs, and the first row of that prompt.
///
/// # Panics
///
/// Panics if the prompts have no such row.
pub(crate) fn prompt_of_row<'a>(
    prompts: impl PromptIter<'a>,
    positions: Positions,
    row: usize,
) -> (usize, usize) {
    let mut first = 0;
    for (prompt, ids) in prompts.enumerate() {
        let next = first + positions.rows(ids.len());
        if row < next {
            return (prompt, first);
        }
        first = next;
    }
    panic!("row {row} of {first}")
}

fn check(prompt: usize, ids: &[u32]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Err(StoreError::EmptyPrompt { prompt });
    }
    if let Some(position) = ids.iter().position(|&id| id > i32::MAX as u32) {
        return Err(StoreError::TokenTooLarge { prompt, position, found: ids[position] });
    }
    within_i32("tokens in one prompt", ids.len())
}

fn within_i32(what: &'static str, found: usize) -> Result<(), StoreError> {
    match i32::try_from(found) {
        Ok(_) => Ok(()),
        Err(_) => Err(StoreError::TooLarge { what, found: found as u128, limit: i32::MAX as u128 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts() -> impl PromptIter<'static> {
        const PROMPTS: [&[u32]; 3] = [&[5, 6, 7], &[8], &[9, 10]];
        PROMPTS.into_iter()
    }

    fn refused(prompts: &[&[u32]]) -> StoreError {
        Extent::of(prompts.iter().copied(), Positions::Last).unwrap_err()
    }

    #[test]
    fn last_has_one_row_per_prompt() {
        let extent = Extent::of(prompts(), Positions::Last).unwrap();
        assert_eq!(extent, Extent { prompts: 3, tokens: 6, rows: 3 });
        assert_eq!(
            [0, 1, 2].map(|row| prompt_of_row(prompts(), Positions::Last, row)),
            [(0, 0), (1, 1), (2, 2)]
        );
    }

    #[test]
    fn all_has_one_row_per_token() {
        let extent = Extent::of(prompts(), Positions::All).unwrap();
        assert_eq!(extent, Extent { prompts: 3, tokens: 6, rows: 6 });
        assert_eq!(rows(prompts().take(2), Positions::All), 4);
        let places = [0, 2, 3, 4, 5].map(|row| prompt_of_row(prompts(), Positions::All, row));
        assert_eq!(places, [(0, 0), (0, 0), (1, 3), (2, 4), (2, 4)]);
    }

    #[test]
    fn a_prompt_without_tokens_is_named() {
        assert!(matches!(refused(&[&[1], &[]]), StoreError::EmptyPrompt { prompt: 1 }));
    }

    #[test]
    fn no_prompts_at_all_are_refused() {
        assert!(matches!(refused(&[]), StoreError::NoPrompts));
    }

    #[test]
    fn a_token_id_beyond_i32_is_named() {
        let error = refused(&[&[1], &[2, 1 << 31]]);
        assert!(matches!(error, StoreError::TokenTooLarge { prompt: 1, position: 1, found: 0x8000_0000 }));
    }

    #[test]
    fn counts_beyond_i32_are_refused() {
        within_i32("rows", i32::MAX as usize).unwrap();
        let error = within_i32("rows", 1 << 31).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { what: "rows", found: 0x8000_0000, .. }));
    }
}
