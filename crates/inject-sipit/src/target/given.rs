//! Tokens at the beginning of a prompt that are known.

use ndarray::{Array2, Axis, s};

use super::{TargetStates, change::Stored};
use crate::{error::InvertError, models::Decoder, states::prompt_states};

impl TargetStates {
    /// Puts known tokens before these states, such as a system prompt whose states a server did not compute again. They are taken as given
    /// and not searched. Their states are those that `decoder` computes.
    ///
    /// # Errors
    ///
    /// [`InvertError::Extract`] if the decoder cannot compute the tokens, [`InvertError::Width`] if the states have another width than
    /// the model's, and [`InvertError::HalfSteps`] if the states are marked as rounded already.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{TargetStates, models::{FloatFormat, Model, Origin, Tap}, ndarray::s};
    /// use burn::tensor::Device;
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
    /// let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &Device::flex())?;
    /// let whole = TargetStates::of_prompt(&model.decoder, Tap::Block(2), &[31, 41, 59])?;
    /// let last = whole.states().slice(s![1.., ..]).to_owned();
    /// let target = TargetStates::new(last, Tap::Block(2), FloatFormat::F32)?.after(&model.decoder, &[31])?;
    /// assert_eq!((target.positions(), target.given()), (3, &[31][..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn after(self, decoder: &Decoder, given: &[u32]) -> Result<Self, InvertError> {
        if given.is_empty() {
            return Ok(self);
        }
        if let Some(half_steps) = &self.half_steps {
            let (found, expected) = (half_steps.len(), given.len() + self.positions());
            return Err(InvertError::HalfSteps { found, expected });
        }
        let (found, expected) = (self.d_model(), decoder.config().d_model);
        if found != expected {
            return Err(InvertError::Width { found, expected });
        }
        let before = prompt_states(decoder, given, self.tap)?.to_f64().into_array();
        let joined = ndarray::concatenate(Axis(0), &[before.view(), self.states.view()]);
        let states = joined.map_err(|_| InvertError::Width { found, expected })?;
        let stored = self.stored.map(|stored| {
            let exact = Array2::zeros((given.len(), found));
            let rows = [exact.view(), stored.roundings.view()];
            Stored {
                divided_by: [vec![1.0; given.len()], stored.divided_by].concat(),
                roundings: ndarray::concatenate(Axis(0), &rows).expect("of one width"),
                ..stored
            }
        });
        let missing = self.missing.iter().map(|missing| given.len() + missing).collect();
        let (computed, given) = (given.len() + self.computed, [given, &self.given].concat());
        Ok(TargetStates { states, given, computed, stored, missing, ..self })
    }

    /// Names the tokens of the first of these states. They are taken as given and not searched.
    ///
    /// # Errors
    ///
    /// [`InvertError::MoreGiven`] unless there are more states than tokens.
    pub fn beginning_with(self, tokens: &[u32]) -> Result<Self, InvertError> {
        let (found, positions) = (tokens.len(), self.positions());
        if found >= positions {
            return Err(InvertError::MoreGiven { found, positions });
        }
        Ok(TargetStates { given: tokens.to_vec(), ..self })
    }

    /// Returns the tokens of the first positions, as far as they were given.
    pub fn given(&self) -> &[u32] {
        &self.given
    }

    /// The number of first states that were computed for given tokens.
    pub fn computed(&self) -> usize {
        self.computed
    }

    /// The given tokens and the first state after them.
    pub(crate) fn first_open(&self, decoder: &Decoder) -> Result<Self, InvertError> {
        let (at, tokens) = (self.given.len(), self.sequence_len());
        let first = self.states.slice(s![at..=at, ..]).to_owned();
        let first = TargetStates::new(first, self.tap, self.dtype)?;
        Ok(first.after(decoder, &self.given)?.of_longer_prompt(tokens))
    }
}
