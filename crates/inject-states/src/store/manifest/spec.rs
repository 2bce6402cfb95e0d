//! The description of a store, except for its prompts.

use inject_models::{Bos, Circumstances, Decoder, FloatFormat, Model, ModelError, Tap, Tokenizer};

use super::{bos::BosPolicy, positions::Positions, share::StoreShare};
use crate::{extract::Extraction, store::error::StoreError};

/// The contents of a store and the origin of its states: everything about a job except its prompts.
///
/// An interrupted store is resumed only if all of this is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StoreSpec {
    /// The model: a Hub id, or the name of a folder.
    pub model_id: String,
    /// The Hub commit of the model, if it is known.
    pub revision: Option<String>,
    /// A hash of the model's weights, as [`Model::weight_hash`] returns it.
    pub weight_hash: String,
    /// A hash of the tokenizer, if one was used.
    pub tokenizer_hash: Option<String>,
    /// The taps of the states. The store keeps them in the order of computation.
    pub taps: Vec<Tap>,
    /// The format of the numbers on disk: f32, f16 or bf16.
    pub dtype: FloatFormat,
    /// The policy for the token that begins a sequence.
    pub bos: BosPolicy,
    /// Whether that policy added the token to each prompt. If so, the token ids in the store include it.
    pub bos_added: bool,
    /// The positions of each prompt that have a row.
    pub positions: Positions,
    /// The width of a state.
    pub d_model: usize,
    /// The circumstances in which the states were computed, as far as they are known.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// The share of a larger job that the store holds, unless it holds all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<StoreShare>,
}

impl StoreSpec {
    /// Describes a store of F32 states of prompts that were given as token ids.
    pub fn new(
        model_id: impl Into<String>,
        weight_hash: impl Into<String>,
        taps: Vec<Tap>,
        positions: Positions,
        d_model: usize,
    ) -> Self {
        StoreSpec {
            model_id: model_id.into(),
            revision: None,
            weight_hash: weight_hash.into(),
            tokenizer_hash: None,
            taps,
            dtype: FloatFormat::F32,
            bos: BosPolicy::AsGiven,
            bos_added: false,
            positions,
            d_model,
            circumstances: Circumstances::default(),
            share: None,
        }
    }

    /// Describes a store of the states that an extraction reads from a model.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if the weights cannot be read for their hash.
    pub fn of(model: &Model, extraction: &Extraction) -> Result<Self, ModelError> {
        let (taps, positions) = (extraction.taps().to_vec(), extraction.positions());
        let d_model = model.decoder.config().d_model;
        let spec = StoreSpec::new(&model.origin().id, model.weight_hash()?, taps, positions, d_model);
        Ok(StoreSpec { revision: model.origin().revision.clone(), ..spec.computed_by(&model.decoder) })
    }

    /// Records the circumstances on which the rounding of the states depends.
    pub fn computed_by(self, decoder: &Decoder) -> Self {
        StoreSpec { circumstances: decoder.circumstances(), ..self }
    }

    /// Records that the prompts were encoded by a tokenizer. `added` is whether `bos` added the BOS token to each prompt.
    pub fn with_tokenizer(self, tokenizer: &Tokenizer, bos: Bos, added: bool) -> Self {
        let tokenizer_hash = Some(tokenizer.hash().to_owned());
        StoreSpec { tokenizer_hash, bos: bos.into(), bos_added: added, ..self }
    }

    /// Sets the number format on disk.
    pub fn with_dtype(self, dtype: FloatFormat) -> Self {
        StoreSpec { dtype, ..self }
    }

    /// Checks the description and sorts its taps into the order of computation.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidSpec`] if there is no tap, a tap occurs twice, the width is 0, or the format is F64.
    pub(crate) fn checked(mut self) -> Result<Self, StoreError> {
        let invalid = |field, found: String, expected| StoreError::InvalidSpec { field, found, expected };
        self.taps.sort_unstable();
        if self.taps.is_empty() {
            return Err(invalid("taps", "[]".to_owned(), "at least one tap"));
        }
        if let Some(pair) = self.taps.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid("taps", format!("{} twice", pair[0]), "each tap once"));
        }
        if self.taps.contains(&Tap::Block(0)) {
            return Err(invalid("taps", Tap::Block(0).to_string(), "blocks counted from 1"));
        }
        if self.d_model == 0 {
            return Err(invalid("d_model", "0".to_owned(), "at least 1"));
        }
        if !matches!(self.dtype, FloatFormat::F32 | FloatFormat::F16 | FloatFormat::Bf16) {
            return Err(invalid("dtype", self.dtype.to_string(), "f32, f16 or bf16"));
        }
        Ok(self)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn spec() -> StoreSpec {
        let taps = vec![Tap::Embedding, Tap::Block(2), Tap::FinalNorm];
        let spec = StoreSpec::new("tiny", "w", taps, Positions::Last, 4);
        StoreSpec { revision: Some("0123abcd".to_owned()), bos: Bos::Auto.into(), ..spec }
    }

    #[test]
    fn taps_come_out_in_the_order_of_computation() {
        let taps = vec![Tap::FinalNorm, Tap::Block(10), Tap::Embedding, Tap::Block(9)];
        let spec = StoreSpec { taps, ..spec() }.checked().unwrap();
        assert_eq!(spec.taps, [Tap::Embedding, Tap::Block(9), Tap::Block(10), Tap::FinalNorm]);
    }

    #[test]
    fn what_no_store_can_have_is_refused_by_its_field() {
        let of = |taps: &[Tap]| StoreSpec { taps: taps.to_vec(), ..spec() };
        let repeated = of(&[Tap::Block(1), Tap::Embedding, Tap::Block(1)]);
        for (bad, expected) in [
            (of(&[]), "taps"),
            (repeated, "taps"),
            (of(&[Tap::Block(0)]), "taps"),
            (StoreSpec { d_model: 0, ..spec() }, "d_model"),
            (spec().with_dtype(FloatFormat::F64), "dtype"),
        ] {
            match bad.checked().unwrap_err() {
                StoreError::InvalidSpec { field, .. } => assert_eq!(field, expected),
                other => panic!("{other}"),
            }
        }
    }
}
