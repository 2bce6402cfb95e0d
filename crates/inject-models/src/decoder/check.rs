//! Checks of the arguments of a pass, made before anything is computed.

use super::{Decoder, Logits, PrefixCache};
use crate::{
    error::ModelError,
    tap::Tap,
    tokens::{TokenBatch, check_ids},
};

impl Decoder {
    /// Checks that there is a head if it is to be applied.
    pub(super) fn check_logits(&self, logits: Logits) -> Result<(), ModelError> {
        if logits == Logits::None || self.has_head() { Ok(()) } else { Err(ModelError::NoHead) }
    }

    pub(super) fn check_taps(&self, taps: &[Tap]) -> Result<(), ModelError> {
        let n_layers = self.config.n_layers();
        taps.iter().try_for_each(|tap| tap.checked(n_layers).map(|_| ()).map_err(ModelError::from))
    }

    /// Checks that there are points of the embedding space and that they have its width.
    pub(super) fn check_embeddings(&self, points: usize, width: usize) -> Result<(), ModelError> {
        if width != self.config.d_model {
            return Err(ModelError::EmbeddingWidth { found: width, expected: self.config.d_model });
        }
        match points {
            0 => Err(ModelError::EmptyPrompt { prompt: 0 }),
            _ => Ok(()),
        }
    }

    /// Checks that the cached sequences can be continued by these tokens.
    pub(super) fn check_extension(
        &self,
        cache: &PrefixCache,
        tokens: &TokenBatch,
        taps: &[Tap],
        logits: Logits,
    ) -> Result<(), ModelError> {
        self.check_taps(taps)?;
        self.check_logits(logits)?;
        self.check_depth(cache, taps.iter().copied().chain(logits.tap()))?;
        tokens.check(&self.config, cache.len)?;
        if tokens.rows() != cache.batch {
            return mismatch(format!("{} sequences", tokens.rows()), format!("{} sequences", cache.batch));
        }
        if let Some(&len) = tokens.lens().iter().find(|&&len| len != tokens.width()) {
            return mismatch(
                format!("{len} tokens"),
                format!("{} tokens for every sequence", tokens.width()),
            );
        }
        self.check_room(cache, tokens.width())
    }

    /// Checks that these tokens can be candidates for the next position.
    pub(super) fn check_candidates(
        &self,
        cache: &PrefixCache,
        ids: &[u32],
        taps: &[Tap],
    ) -> Result<(), ModelError> {
        self.check_taps(taps)?;
        check_ids(&self.config, 0, ids)?;
        self.check_next(cache, ids.len(), taps)
    }

    /// Checks that candidates for the next position can be computed through the cache.
    pub(super) fn check_next(
        &self,
        cache: &PrefixCache,
        candidates: usize,
        taps: &[Tap],
    ) -> Result<(), ModelError> {
        self.check_depth(cache, taps.iter().copied())?;
        if candidates == 0 {
            return Err(ModelError::EmptyPrompt { prompt: 0 });
        }
        if cache.batch != 1 {
            return mismatch(
                "candidates after one sequence".to_owned(),
                format!("{} sequences", cache.batch),
            );
        }
        self.check_room(cache, 1)
    }

    /// Checks that the taps can be read through the cache.
    fn check_depth(&self, cache: &PrefixCache, taps: impl Iterator<Item = Tap>) -> Result<(), ModelError> {
        match taps.max() {
            Some(tap) if self.blocks_needed(tap) > cache.blocks.len() => {
                mismatch(tap.to_string(), format!("taps up to {}", cache.deepest))
            }
            _ => Ok(()),
        }
    }

    fn check_room(&self, cache: &PrefixCache, more: usize) -> Result<(), ModelError> {
        let capacity = cache.capacity();
        if cache.len + more > capacity {
            return Err(ModelError::CacheFull { held: cache.len, capacity, more });
        }
        Ok(())
    }
}

fn mismatch(found: String, expected: String) -> Result<(), ModelError> {
    Err(ModelError::CacheMismatch { found, expected })
}
