//! The facts about a file of states that the caller knows.

use inject_models::{DecoderConfig, config::LearnedPositions};

use super::Axes;

/// The facts about a file of states that the caller knows, and the file may not say.
///
/// # Example
///
/// ```
/// use inject_states::foreign::{Axes, ReadOptions};
///
/// let options = ReadOptions::new().tensor("activations").axes(Axes::BatchToken).row(2);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ReadOptions {
    pub(super) tensor: Option<String>,
    pub(super) axes: Option<Axes>,
    pub(super) row: Option<usize>,
    pub(super) ignore_mask: bool,
    pub(super) tap_is_known: bool,
    pub(super) model: Option<ModelShape>,
    pub(super) most_unpacked: Option<u64>,
}

/// The sizes of the model that computed the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelShape {
    /// The width of a state.
    pub d_model: usize,
    /// The number of blocks of the model.
    pub n_layers: usize,
    /// Whether a vector of each position is learned, so that a prompt cannot be moved.
    pub learned_positions: bool,
}

impl ReadOptions {
    /// Creates options without any facts: the file alone decides.
    pub fn new() -> Self {
        ReadOptions::default()
    }

    /// Sets the name of the tensor of states.
    pub fn tensor(self, name: impl Into<String>) -> Self {
        ReadOptions { tensor: Some(name.into()), ..self }
    }

    /// Sets the order of the axes. The ids and names in the file must still fit. A tensor of two axes has only one reading.
    pub fn axes(self, axes: Axes) -> Self {
        ReadOptions { axes: Some(axes), ..self }
    }

    /// Sets the prompt of a batch, from 0.
    pub fn row(self, prompt: usize) -> Self {
        ReadOptions { row: Some(prompt), ..self }
    }

    /// Reads all rows, whichever of them the attention mask in the file excludes.
    pub fn ignore_mask(self) -> Self {
        ReadOptions { ignore_mask: true, ..self }
    }

    /// Says that the caller knows the tap or finds it. Names in the metadata that are not those of taps are then no error.
    pub fn tap_is_known(self) -> Self {
        ReadOptions { tap_is_known: true, ..self }
    }

    /// Sets the most bytes that a compressed file may unpack to. It is 2 GiB by default and at most.
    pub fn most_unpacked(self, bytes: u64) -> Self {
        ReadOptions { most_unpacked: Some(bytes), ..self }
    }

    /// Sets the model. Its width shows whether taps lie side by side, and its depth rules out readings.
    pub fn model(self, model: ModelShape) -> Self {
        ReadOptions { model: Some(model), ..self }
    }
}

impl ModelShape {
    /// Returns the sizes of a model.
    pub fn of(config: &DecoderConfig) -> Self {
        ModelShape {
            d_model: config.d_model,
            n_layers: config.n_layers(),
            learned_positions: !matches!(config.embedding.positions, LearnedPositions::None),
        }
    }
}
