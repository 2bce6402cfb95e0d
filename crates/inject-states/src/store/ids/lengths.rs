//! The number of tokens of each prompt, which determines its rows.

use std::ops::Range;

use crate::store::{error::StoreError, manifest::positions::Positions};

/// The lengths of a job's prompts. The writer does not keep the prompts themselves.
#[derive(Clone, Debug)]
pub(crate) struct PromptLengths {
    lengths: Vec<u32>,
    positions: Positions,
}

impl PromptLengths {
    /// Measures the prompts and checks that a store can contain them.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoPrompts`], [`StoreError::EmptyPrompt`], [`StoreError::TokenTooLarge`]; and
    /// [`StoreError::TooLarge`] if I32 cannot count the prompts, positions or rows.
    pub(crate) fn of(prompts: &[Vec<u32>], positions: Positions) -> Result<Self, StoreError> {
        if prompts.is_empty() {
            return Err(StoreError::NoPrompts);
        }
        within_i32("prompts", prompts.len())?;
        let lengths = prompts
            .iter()
            .enumerate()
            .map(|(prompt, ids)| length_of(prompt, ids))
            .collect::<Result<Vec<u32>, _>>()?;
        let lengths = PromptLengths { lengths, positions };
        within_i32("rows", lengths.rows(0..prompts.len()))?;
        Ok(lengths)
    }

    pub(crate) fn prompts(&self) -> usize {
        self.lengths.len()
    }

    pub(crate) fn tokens(&self) -> usize {
        self.lengths.iter().map(|&length| length as usize).sum()
    }

    /// Returns the number of rows of a range of prompts.
    pub(crate) fn rows(&self, prompts: Range<usize>) -> usize {
        self.lengths[prompts].iter().map(|&length| self.positions.rows(length as usize)).sum()
    }

    /// Returns the prompt and position of a row. `row` is counted from the first row of `first_prompt`.
    pub(crate) fn locate(&self, first_prompt: usize, mut row: usize) -> (usize, usize) {
        let mut prompt = first_prompt;
        loop {
            let length = self.lengths[prompt] as usize;
            let rows = self.positions.rows(length);
            if row < rows {
                return (prompt, self.positions.position(row, length));
            }
            row -= rows;
            prompt += 1;
        }
    }
}

fn length_of(prompt: usize, ids: &[u32]) -> Result<u32, StoreError> {
    if ids.is_empty() {
        return Err(StoreError::EmptyPrompt { prompt });
    }
    if let Some(position) = ids.iter().position(|&id| id > i32::MAX as u32) {
        return Err(StoreError::TokenTooLarge { prompt, position, found: ids[position] });
    }
    within_i32("tokens in one prompt", ids.len())
}

/// Returns the number as u32 if it fits into I32.
fn within_i32(what: &'static str, found: usize) -> Result<u32, StoreError> {
    match i32::try_from(found) {
        Ok(_) => Ok(found as u32),
        Err(_) => Err(StoreError::TooLarge { what, found: found as u128, limit: i32::MAX as u128 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts() -> Vec<Vec<u32>> {
        vec![vec![5, 6, 7], vec![8], vec![9, 10]]
    }

    #[test]
    fn last_has_one_row_per_prompt() {
        let lengths = PromptLengths::of(&prompts(), Positions::Last).unwrap();
        assert_eq!((lengths.prompts(), lengths.tokens(), lengths.rows(0..3)), (3, 6, 3));
        assert_eq!([0, 1, 2].map(|row| lengths.locate(0, row)), [(0, 2), (1, 0), (2, 1)]);
        assert_eq!(lengths.locate(1, 1), (2, 1));
    }

    #[test]
    fn all_has_one_row_per_token() {
        let lengths = PromptLengths::of(&prompts(), Positions::All).unwrap();
        assert_eq!((lengths.rows(0..3), lengths.rows(1..3), lengths.rows(2..2)), (6, 3, 0));
        let places = [0, 1, 2, 3, 4, 5].map(|row| lengths.locate(0, row));
        assert_eq!(places, [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)]);
        assert_eq!(lengths.locate(1, 2), (2, 1));
    }

    #[test]
    fn a_prompt_without_tokens_is_named() {
        let error = PromptLengths::of(&[vec![1], vec![]], Positions::Last).unwrap_err();
        assert!(matches!(error, StoreError::EmptyPrompt { prompt: 1 }));
    }

    #[test]
    fn no_prompts_at_all_are_refused() {
        assert!(matches!(PromptLengths::of(&[], Positions::Last), Err(StoreError::NoPrompts)));
    }

    #[test]
    fn a_token_id_beyond_i32_is_named() {
        let error = PromptLengths::of(&[vec![1], vec![2, 1 << 31]], Positions::Last).unwrap_err();
        assert!(matches!(error, StoreError::TokenTooLarge { prompt: 1, position: 1, found: 0x8000_0000 }));
    }

    #[test]
    fn counts_beyond_i32_are_refused() {
        assert_eq!(within_i32("rows", i32::MAX as usize).unwrap(), i32::MAX as u32);
        let error = within_i32("rows", 1 << 31).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { what: "rows", found: 0x8000_0000, .. }));
    }
}
