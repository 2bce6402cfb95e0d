//! The states of many prompts at chosen taps.

mod batches;
mod noise;
mod to_store;

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use inject_models::{Decoder, Forward, Logits, ModelError, Tap, TokenBatch, to_host};
use ndarray::Array2;

pub use self::{
    batches::batches_by_length,
    noise::{measure_noise, spread_evenly},
    to_store::extract_to_store,
};
use crate::store::{Positions, StoreError};

/// What to read, and how much memory may be used for it.
///
/// # Example
///
/// ```
/// use inject_models::Tap;
/// use inject_states::{Extraction, store::Positions};
///
/// let extraction = Extraction::new(vec![Tap::Block(2)], Positions::Last)?.with_memory_budget(1 << 26);
/// assert_eq!(extraction.taps(), [Tap::Block(2)]);
/// # Ok::<(), inject_states::ExtractError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Extraction {
    taps: Vec<Tap>,
    positions: Positions,
    memory_budget: usize,
}

impl Extraction {
    /// Bytes that one batch may take where nothing else is said: small beside any model, large enough to keep two cores
    /// busy.
    pub const DEFAULT_MEMORY_BUDGET: usize = 512 << 20;

    /// Reads these taps at every prompt's last position, or at all positions.
    ///
    /// # Errors
    ///
    /// [`ExtractError::NoTaps`] without any.
    pub fn new(mut taps: Vec<Tap>, positions: Positions) -> Result<Self, ExtractError> {
        taps.sort_unstable();
        taps.dedup();
        if taps.is_empty() {
            return Err(ExtractError::NoTaps);
        }
        Ok(Extraction { taps, positions, memory_budget: Self::DEFAULT_MEMORY_BUDGET })
    }

    /// The same, with another bound on the bytes that one batch takes. One prompt is always computed, however long.
    pub fn with_memory_budget(self, bytes: usize) -> Self {
        Extraction { memory_budget: bytes, ..self }
    }

    /// The taps, in the order of computation.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// Which positions are read.
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// How many rows of states these prompts give.
    pub fn rows(&self, prompts: &[Vec<u32>]) -> usize {
        match self.positions {
            Positions::Last => prompts.len(),
            Positions::All => prompts.iter().map(Vec::len).sum(),
        }
    }

    /// Computes the states in memory.
    ///
    /// Prompts are computed in batches of similar length, padded on the right, and come back in the order given: one row a
    /// prompt, or one a token. `progress` is called after every batch.
    ///
    /// # Shapes
    ///
    /// For each tap `[rows, d_model]`.
    ///
    /// # Errors
    ///
    /// [`ExtractError`]: what the decoder refuses, or a state that is not finite.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use inject_models::{Model, Origin, Precision, Tap};
    /// use inject_states::{Extraction, store::Positions};
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/llama");
    /// let model = Model::load(Origin::of_folder(&folder), Precision::F32, &Device::flex())?;
    /// let prompts = [vec![1, 2, 3], vec![4, 5]];
    /// let extraction = Extraction::new(vec![Tap::Block(1)], Positions::All)?;
    /// let states = extraction.run(&model.decoder, &prompts, &mut |_| ())?;
    /// assert_eq!(states[&Tap::Block(1)].dim(), (5, 32));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(
        &self,
        decoder: &Decoder,
        prompts: &[Vec<u32>],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BTreeMap<Tap, Array2<f32>>, ExtractError> {
        let d_model = decoder.config().d_model;
        let rows = self.rows(prompts);
        let mut states: BTreeMap<Tap, Vec<f32>> =
            self.taps.iter().map(|&tap| (tap, vec![0.0; rows * d_model])).collect();
        let mut done = 0;
        self.fill(decoder, prompts, &mut states, &mut |prompts_in_batch| {
            done += prompts_in_batch;
            progress(Progress { prompts_done: done, prompts: prompts.len() });
        })?;
        let array = |values: Vec<f32>| {
            Array2::from_shape_vec((rows, d_model), values)
                .expect("filled with rows times d_model values above")
        };
        Ok(states.into_iter().map(|(tap, values)| (tap, array(values))).collect())
    }

    /// Computes the states into row-major buffers of the right length, one a tap.
    fn fill(
        &self,
        decoder: &Decoder,
        prompts: &[Vec<u32>],
        states: &mut BTreeMap<Tap, Vec<f32>>,
        batch_done: &mut dyn FnMut(usize),
    ) -> Result<(), ExtractError> {
        let d_model = decoder.config().d_model;
        let first_rows = self.first_rows(prompts);
        let lens: Vec<usize> = prompts.iter().map(Vec::len).collect();
        for batch in batches_by_length(decoder.config(), &lens, self.taps.len(), self.memory_budget) {
            let members: Vec<&[u32]> = batch.iter().map(|&prompt| prompts[prompt].as_slice()).collect();
            let tokens = TokenBatch::new(&members).map_err(|error| renumbered(error, &batch))?;
            let forward = decoder
                .forward(&tokens, &self.taps, Logits::None)
                .map_err(|error| renumbered(error, &batch))?;
            for &tap in &self.taps {
                let computed = self.read_back(&forward, tap, &tokens)?;
                let target = states.get_mut(&tap).expect("one buffer was made for each tap");
                let mut begin = 0;
                for (&prompt, ids) in batch.iter().zip(&members) {
                    let rows = match self.positions {
                        Positions::Last => 1,
                        Positions::All => ids.len(),
                    };
                    let piece = &computed[begin * d_model..][..rows * d_model];
                    if let Some(at) = piece.iter().position(|value| !value.is_finite()) {
                        let position = ids.len() - rows + at / d_model;
                        return Err(ExtractError::NotFinite { prompt, position, tap, found: piece[at] });
                    }
                    target[first_rows[prompt] * d_model..][..rows * d_model].copy_from_slice(piece);
                    begin += match self.positions {
                        Positions::Last => 1,
                        Positions::All => tokens.width(),
                    };
                }
            }
            batch_done(batch.len());
        }
        Ok(())
    }

    /// The row at which each prompt begins.
    fn first_rows(&self, prompts: &[Vec<u32>]) -> Vec<usize> {
        let mut next = 0;
        let mut first = |len: usize| {
            let row = next;
            next += match self.positions {
                Positions::Last => 1,
                Positions::All => len,
            };
            row
        };
        prompts.iter().map(|prompt| first(prompt.len())).collect()
    }

    /// The rows of one tap: each prompt's last position, or all positions with the padding still among them.
    fn read_back(&self, forward: &Forward, tap: Tap, tokens: &TokenBatch) -> Result<Vec<f32>, ExtractError> {
        let states = forward.states[&tap].clone();
        let [batch, width, d_model] = states.dims();
        let rows = states.reshape([batch * width, d_model]);
        let rows = match self.positions {
            Positions::All => rows,
            Positions::Last => {
                let last = tokens.lens().iter().enumerate().map(|(row, len)| (row * width + len - 1) as i32);
                let last = indices(last.collect(), &rows.device());
                rows.select(0, last)
            }
        };
        Ok(to_host(rows)?)
    }
}

/// How far an extraction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Prompts whose states are computed (and, with a store, on disk).
    pub prompts_done: usize,
    /// Prompts in all.
    pub prompts: usize,
}

/// Why states could not be extracted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// No tap to read.
    #[error("no tap was asked for: expected at least one")]
    NoTaps,
    /// The decoder refused a prompt or a tap.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The store could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A state is NaN or infinite.
    #[error("prompt {prompt}, position {position}: the state at {tap} holds {found}, expected finite values")]
    NotFinite {
        /// Number of the prompt.
        prompt: usize,
        /// Position within it.
        position: usize,
        /// The tap.
        tap: Tap,
        /// The value.
        found: f32,
    },
}

fn indices(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

/// Errors of the decoder count prompts within a batch; callers count their own.
fn renumbered(error: ModelError, batch: &[usize]) -> ExtractError {
    ExtractError::Model(match error {
        ModelError::EmptyPrompt { prompt } => ModelError::EmptyPrompt { prompt: batch[prompt] },
        ModelError::TokenId { prompt, position, found, vocab_size } => {
            ModelError::TokenId { prompt: batch[prompt], position, found, vocab_size }
        }
        other => other,
    })
}
