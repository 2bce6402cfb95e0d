//! Prompts as rectangular batches of token ids.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};

use crate::{config::DecoderConfig, error::ModelError, host};

/// Prompts of one or several lengths, padded on the right.
///
/// A causal model never looks to the right, so this padding changes no state of a real token. Padding on the left would:
/// it moves every learned position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    lens: Vec<usize>,
    width: usize,
}

impl TokenBatch {
    /// Makes a batch of prompts, in the given order.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::EmptyPrompt`] if there is no prompt, or if a prompt has no tokens.
    pub fn new(prompts: &[impl AsRef<[u32]>]) -> Result<Self, ModelError> {
        let lens: Vec<usize> = prompts.iter().map(|prompt| prompt.as_ref().len()).collect();
        if lens.is_empty() {
            return Err(ModelError::EmptyPrompt { prompt: 0 });
        }
        if let Some(prompt) = lens.iter().position(|&len| len == 0) {
            return Err(ModelError::EmptyPrompt { prompt });
        }
        let width = lens.iter().copied().max().unwrap_or(0);
        let mut ids = vec![0; lens.len() * width];
        for (row, prompt) in ids.chunks_exact_mut(width).zip(prompts) {
            row[..prompt.as_ref().len()].copy_from_slice(prompt.as_ref());
        }
        Ok(TokenBatch { ids, lens, width })
    }

    /// Returns the number of prompts.
    pub fn rows(&self) -> usize {
        self.lens.len()
    }

    /// Returns the length of the longest prompt, to which the others are padded.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the length of each prompt, without padding.
    pub fn lens(&self) -> &[usize] {
        &self.lens
    }

    /// Returns the tokens of one prompt, without padding.
    ///
    /// # Panics
    ///
    /// Panics if there is no such prompt.
    pub fn prompt(&self, row: usize) -> &[u32] {
        &self.ids[row * self.width..][..self.lens[row]]
    }

    /// Returns some of the prompts, with the same padding.
    pub(crate) fn rows_in(&self, rows: Range<usize>) -> TokenBatch {
        TokenBatch {
            ids: self.ids[rows.start * self.width..rows.end * self.width].to_vec(),
            lens: self.lens[rows].to_vec(),
            width: self.width,
        }
    }

    /// Checks the ids against the model, and that these prompts may be computed together after `held` positions.
    pub(crate) fn check(&self, config: &DecoderConfig, held: usize) -> Result<(), ModelError> {
        for row in 0..self.rows() {
            config.check_prompt(row, self.prompt(row))?;
        }
        check_len(config, held + self.width)?;
        let shorter = self.lens.iter().copied().min().unwrap_or(0);
        if config.same_rotary(held + shorter, held + self.width) {
            Ok(())
        } else {
            Err(ModelError::MixedRotary { shorter: held + shorter, longer: held + self.width })
        }
    }

    /// Returns the ids of all prompts with their padding, `rows * width` of them.
    pub(crate) fn padded_ids(&self) -> &[u32] {
        &self.ids
    }
}

impl DecoderConfig {
    /// Checks that this model can compute a prompt. `prompt` is its number in the error.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::EmptyPrompt`] if the prompt has no token, with [`ModelError::TokenId`] for an id outside
    /// the vocabulary, and with [`ModelError::TooLong`] for more tokens than the table of positions has rows.
    pub fn check_prompt(&self, prompt: usize, ids: &[u32]) -> Result<(), ModelError> {
        if ids.is_empty() {
            return Err(ModelError::EmptyPrompt { prompt });
        }
        check_ids(self, prompt, ids)?;
        check_len(self, ids.len())
    }
}

/// Checks ids of one prompt against the vocabulary.
pub(crate) fn check_ids(config: &DecoderConfig, prompt: usize, ids: &[u32]) -> Result<(), ModelError> {
    match ids.iter().position(|&id| id as usize >= config.vocab_size) {
        None => Ok(()),
        Some(position) => {
            Err(ModelError::TokenId { prompt, position, found: ids[position], vocab_size: config.vocab_size })
        }
    }
}

/// Checks a length against the table of positions.
pub(crate) fn check_len(config: &DecoderConfig, found: usize) -> Result<(), ModelError> {
    match config.max_len() {
        Some(max_len) if found > max_len => Err(ModelError::TooLong { found, max_len }),
        _ => Ok(()),
    }
}

/// Puts token ids on a device. Shape `[ids]`.
pub(crate) fn ids_tensor(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    host::integers(ids.iter().map(|&id| id as i32).collect(), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_come_back_without_their_padding() {
        let batch = TokenBatch::new(&[vec![1, 2, 3], vec![4]]).unwrap();
        assert_eq!((batch.rows(), batch.width()), (2, 3));
        assert_eq!(batch.prompt(0), [1, 2, 3]);
        assert_eq!(batch.prompt(1), [4]);
    }

    #[test]
    fn a_prompt_that_the_model_cannot_compute_is_refused_by_its_number() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2");
        let config = DecoderConfig::read(&folder.join("config.json")).unwrap();
        let (vocab_size, max_len) = (config.vocab_size, config.max_len().unwrap());
        assert!(config.check_prompt(3, &vec![0; max_len]).is_ok());
        let error = config.check_prompt(3, &[]).unwrap_err();
        assert!(matches!(error, ModelError::EmptyPrompt { prompt: 3 }), "{error}");
        let error = config.check_prompt(3, &[0, vocab_size as u32]).unwrap_err();
        assert!(matches!(error, ModelError::TokenId { prompt: 3, position: 1, .. }), "{error}");
        let error = config.check_prompt(3, &vec![0; max_len + 1]).unwrap_err();
        assert!(matches!(error, ModelError::TooLong { found, .. } if found == max_len + 1), "{error}");
    }

    #[test]
    fn a_prompt_without_tokens_is_refused() {
        let error = TokenBatch::new(&[vec![1], vec![]]).unwrap_err();
        assert!(matches!(error, ModelError::EmptyPrompt { prompt: 1 }));
    }
}
