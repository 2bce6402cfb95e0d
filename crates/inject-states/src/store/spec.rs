//! What a store is made from, beside the prompts.

use inject_models::Tap;

use super::{dtype::StateDtype, error::StoreError, positions::Positions};

/// What a store holds and where its states come from: everything about a job but its prompts.
///
/// A store that was interrupted goes on only if all of this is the same again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSpec {
    /// The model: a Hub id, or the name of a folder.
    pub model_id: String,
    /// The Hub commit of the model, where it is known.
    pub revision: Option<String>,
    /// A hash of the model's weights.
    pub weight_hash: String,
    /// A hash of the tokenizer, unless the prompts came as token ids.
    pub tokenizer_hash: Option<String>,
    /// Where the states were read. The store keeps them in the order of computation.
    pub taps: Vec<Tap>,
    /// The type of the numbers on disk.
    pub dtype: StateDtype,
    /// The policy for the token that begins a sequence, in words.
    pub bos: String,
    /// Whether that policy put the token before each prompt. The token ids of the store then include it.
    pub bos_added: bool,
    /// Which positions of each prompt have a row.
    pub positions: Positions,
    /// The width of a state.
    pub d_model: usize,
}

impl StoreSpec {
    /// The spec with its taps in the order of computation, if a store can have it.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidSpec`] when there is no tap, one occurs twice, or the width is 0.
    pub(super) fn checked(mut self) -> Result<Self, StoreError> {
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
        Ok(self)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn spec() -> StoreSpec {
        StoreSpec {
            model_id: "tiny".to_owned(),
            revision: Some("0123abcd".to_owned()),
            weight_hash: "w".to_owned(),
            tokenizer_hash: None,
            taps: vec![Tap::Embedding, Tap::Block(2), Tap::FinalNorm],
            dtype: StateDtype::F32,
            bos: "as the tokenizer does".to_owned(),
            bos_added: false,
            positions: Positions::Last,
            d_model: 4,
        }
    }

    #[test]
    fn taps_come_out_in_the_order_of_computation() {
        let taps = vec![Tap::FinalNorm, Tap::Block(10), Tap::Embedding, Tap::Block(9)];
        let spec = StoreSpec { taps, ..spec() }.checked().unwrap();
        assert_eq!(spec.taps, [Tap::Embedding, Tap::Block(9), Tap::Block(10), Tap::FinalNorm]);
    }

    #[test]
    fn no_tap_a_repeated_tap_block_zero_and_no_width_are_refused() {
        let of = |taps: &[Tap]| StoreSpec { taps: taps.to_vec(), ..spec() };
        let repeated = of(&[Tap::Block(1), Tap::Embedding, Tap::Block(1)]);
        for bad in [of(&[]), repeated, of(&[Tap::Block(0)]), StoreSpec { d_model: 0, ..spec() }] {
            assert!(matches!(bad.checked(), Err(StoreError::InvalidSpec { .. })));
        }
    }
}
