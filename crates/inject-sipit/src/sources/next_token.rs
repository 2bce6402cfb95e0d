//! The model's own next-token predictions for one prompt.

use crate::{
    error::InvertError,
    models::{Logits, PrefixCache, Tap, TokenBatch},
    tensors::widened,
};

use super::OpenPosition;

/// A run of the whole model along the prefix of one prompt.
#[derive(Debug, Default)]
pub(super) struct NextToken {
    run: Option<Run>,
}

/// The cache and the logits of the whole model after a prefix.
#[derive(Debug)]
struct Run {
    prefix: Vec<u32>,
    cache: PrefixCache,
    /// The logits after the prefix.
    logits: Vec<f64>,
}

impl NextToken {
    /// Returns the logarithm of every token's probability at an open position, up to an additive constant.
    pub(super) fn expectation(&mut self, at: &OpenPosition<'_>) -> Result<Vec<f64>, InvertError> {
        let Some(before) = at.position().checked_sub(1) else {
            return at.vocabulary().expected_anywhere(&mut |report| at.report(report)).map(<[f64]>::to_vec);
        };
        let decoder = at.decoder();
        let given = || at.target().row_tensor(before, decoder);
        let state = match at.tap() {
            Tap::FinalNorm => given(),
            Tap::Block(block) if block == decoder.config().n_layers() => decoder.final_norm(given()),
            Tap::Embedding | Tap::Block(_) => {
                let known = self.run.take();
                return Ok(self.run.insert(Run::along(at, known)?).logits.clone());
            }
        };
        Ok(widened(at.vocabulary().logits(state)?))
    }
}

impl Run {
    /// Runs the model along the prefix of `at`. Continues an earlier run as far as the prefixes agree.
    fn along(at: &OpenPosition<'_>, known: Option<Run>) -> Result<Run, InvertError> {
        let mut cache = match known {
            Some(known) if known.prefix == at.prefix => return Ok(known),
            Some(Run { prefix, mut cache, .. }) => {
                // At least one token is computed again, because its logits are needed.
                let same = prefix.iter().zip(at.prefix).take_while(|(a, b)| a == b).count();
                cache.truncate(same.min(at.prefix.len() - 1).min(cache.len()));
                cache
            }
            None => at.decoder().prefix_cache(1, at.target().sequence_len(), Tap::FinalNorm)?,
        };
        let missing = &at.prefix[cache.len()..];
        let tokens = TokenBatch::new(&[missing])?;
        let forward = at.decoder().extend(&mut cache, &tokens, &[Tap::FinalNorm], Logits::None)?;
        let states = forward.states[&Tap::FinalNorm].clone(); // [1, missing, d_model]
        let state = states.narrow(1, missing.len() - 1, 1).squeeze_dim(0); // [1, d_model]
        let logits = widened(at.vocabulary().logits(state)?);
        Ok(Run { prefix: at.prefix.to_vec(), cache, logits })
    }
}
