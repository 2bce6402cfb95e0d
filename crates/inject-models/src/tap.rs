//! The places of the decoder at which hidden states are read.

use std::{fmt, str::FromStr};

/// A named place in the residual stream.
///
/// A layer number is ambiguous: Hugging Face's `hidden_states[-1]` is [`Tap::FinalNorm`], while vLLM and the code of
/// arXiv 2510.15511 mean the last [`Tap::Block`]. Taps are therefore never integers here.
///
/// Taps are ordered as one model computes them, so a forward pass ends at the largest tap of a set.
///
/// # Example
///
/// ```
/// use inject_models::Tap;
///
/// let tap: Tap = "block-7".parse()?;
/// assert_eq!(tap, Tap::Block(7));
/// assert_eq!(tap.to_string(), "block-7");
/// assert!(Tap::Embedding < tap && tap < Tap::FinalNorm);
/// # Ok::<(), inject_models::TapError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tap {
    /// The input of the first block: token embeddings with learned positions (if any) and the family's scale.
    /// Hugging Face's `hidden_states[0]`.
    Embedding,
    /// The residual stream after block `i`, counted from 1 to `n_layers`. For `i < n_layers` this is Hugging Face's
    /// `hidden_states[i]`. Hugging Face does not return the last one, before the final norm.
    Block(usize),
    /// After the final norm: Hugging Face's `hidden_states[-1]` and `last_hidden_state`.
    FinalNorm,
}

impl Tap {
    /// Returns every tap of a model with `n_layers` blocks, in the order of computation.
    pub fn all(n_layers: usize) -> Vec<Tap> {
        let blocks = (1..=n_layers).map(Tap::Block);
        std::iter::once(Tap::Embedding).chain(blocks).chain(std::iter::once(Tap::FinalNorm)).collect()
    }

    /// Parses `all` or a comma-separated list, checks it against the depth of a model, and returns the taps in
    /// the order of computation without repetition.
    ///
    /// # Errors
    ///
    /// Fails if a name is unknown or a block lies outside `1..=n_layers`.
    pub fn parse_list(text: &str, n_layers: usize) -> Result<Vec<Tap>, TapError> {
        if text.trim() == "all" {
            return Ok(Tap::all(n_layers));
        }
        let mut taps = text
            .split(',')
            .map(|name| name.trim().parse::<Tap>()?.checked(n_layers))
            .collect::<Result<Vec<_>, _>>()?;
        taps.sort_unstable();
        taps.dedup();
        Ok(taps)
    }

    /// Returns the tap if a model with `n_layers` blocks has it.
    ///
    /// # Errors
    ///
    /// Fails for a block outside `1..=n_layers`.
    pub fn checked(self, n_layers: usize) -> Result<Tap, TapError> {
        match self {
            Tap::Block(block) if block == 0 || block > n_layers => {
                Err(TapError::NoSuchBlock { block, n_layers })
            }
            tap => Ok(tap),
        }
    }

    /// Returns the number of blocks that run before this tap.
    pub fn blocks_needed(self, n_layers: usize) -> usize {
        match self {
            Tap::Embedding => 0,
            Tap::Block(block) => block,
            Tap::FinalNorm => n_layers,
        }
    }
}

impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tap::Embedding => f.write_str("embedding"),
            Tap::Block(block) => write!(f, "block-{block}"),
            Tap::FinalNorm => f.write_str("final-norm"),
        }
    }
}

impl FromStr for Tap {
    type Err = TapError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || TapError::UnknownName { found: text.to_owned() };
        match text {
            "embedding" => Ok(Tap::Embedding),
            "final-norm" => Ok(Tap::FinalNorm),
            _ => {
                let digits = text.strip_prefix("block-").ok_or_else(unknown)?;
                // One spelling per tap: `block-07` and `block-+7` would make two file names for one thing.
                if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(unknown());
                }
                digits.parse().map(Tap::Block).map_err(|_| unknown())
            }
        }
    }
}

crate::serialise_as_text!(Tap);

/// A tap that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TapError {
    /// A text is not the name of a tap.
    #[error("unknown tap `{found}`: expected `embedding`, `block-N` (N from 1) or `final-norm`")]
    UnknownName {
        /// The text that was given.
        found: String,
    },
    /// The model does not have the block.
    #[error("tap `block-{block}` does not exist: the model has blocks 1 to {n_layers}")]
    NoSuchBlock {
        /// The block that was asked for, counted from 1.
        block: usize,
        /// The number of blocks of the model.
        n_layers: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tap_survives_the_way_to_text_and_back() {
        for tap in Tap::all(31) {
            assert_eq!(tap.to_string().parse(), Ok(tap));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in
            ["", "7", "block", "block-", "block--1", "block-07", "block-+7", "Embedding", "final_norm"]
        {
            assert_eq!(text.parse::<Tap>(), Err(TapError::UnknownName { found: text.to_owned() }));
        }
    }

    #[test]
    fn a_list_is_sorted_and_has_no_repetition() {
        let taps = Tap::parse_list("final-norm, block-2,embedding,block-2", 3).unwrap();
        assert_eq!(taps, [Tap::Embedding, Tap::Block(2), Tap::FinalNorm]);
    }

    #[test]
    fn a_block_outside_the_model_is_named() {
        let error = Tap::parse_list("block-4", 3).unwrap_err();
        assert_eq!(error, TapError::NoSuchBlock { block: 4, n_layers: 3 });
    }
}
