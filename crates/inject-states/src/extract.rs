//! The states of many prompts at chosen taps.

mod blocks;
mod error;
mod noise;
mod share_prompts;
mod to_store;

use std::collections::BTreeMap;

use inject_models::{
    Decoder, Forward, Logits, Progress, Tap, TokenBatch, Unit,
    host::{self, to_host},
    silent,
};

pub use self::{
    error::ExtractError,
    noise::{is_noise, measure_noise},
    share_prompts::SharePrompts,
    to_store::{extract_share_to_store, extract_to_store},
};
use crate::{batches::batches_by_length, states::States, store::Positions};

/// The name of the work in reports of progress.
const TASK: &str = "extract";

/// The taps and positions to read, and the memory to use for it.
///
/// # Example
///
/// ```
/// use inject_states::{Extraction, models::Tap, store::Positions};
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
    /// The default bytes of one batch: small beside any model, large enough to keep two cores busy.
    pub const DEFAULT_MEMORY_BUDGET: usize = 512 << 20;

    /// Reads these taps at the last position of every prompt, or at all positions.
    ///
    /// # Errors
    ///
    /// [`ExtractError::NoTaps`] if the list is empty.
    pub fn new(mut taps: Vec<Tap>, positions: Positions) -> Result<Self, ExtractError> {
        taps.sort_unstable();
        taps.dedup();
        if taps.is_empty() {
            return Err(ExtractError::NoTaps);
        }
        Ok(Extraction { taps, positions, memory_budget: Self::DEFAULT_MEMORY_BUDGET })
    }

    /// Returns the same extraction with another limit on the bytes of one batch. A single prompt is computed whatever its size.
    pub fn with_memory_budget(self, bytes: usize) -> Self {
        Extraction { memory_budget: bytes, ..self }
    }

    /// Returns the taps, in the order of computation.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// Returns the positions that are read.
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// Returns the number of rows of states that these prompts give.
    pub fn rows(&self, prompts: &[Vec<u32>]) -> usize {
        prompts.iter().map(|prompt| self.positions.rows(prompt.len())).sum()
    }

    /// Computes the states in memory.
    ///
    /// Prompts are computed in batches of similar length, padded on the right. The states come back in the order of the prompts: one
    /// row for each prompt, or one for each token. `progress` is called after every batch.
    ///
    /// # Shapes
    ///
    /// For each tap `[rows, d_model]`.
    ///
    /// # Errors
    ///
    /// [`ExtractError`] if the decoder refuses a prompt or a tap, or a state is not finite.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_states::{Extraction, models::{Tap, silent}, store::Positions};
    ///
    /// # use inject_states::models::{FloatFormat, Model, Origin};
    /// # let folder = std::path::Path::new("tests/fixtures/tiny");
    /// # let device = burn::tensor::Device::flex();
    /// # let decoder = Model::load(Origin::of_folder(folder), FloatFormat::F32, &device)?.decoder;
    /// let prompts = [vec![1, 2, 3], vec![4, 5]];
    /// let extraction = Extraction::new(vec![Tap::Block(1)], Positions::All)?;
    /// let states = extraction.run(&decoder, &prompts, &mut silent)?;
    /// assert_eq!(states[&Tap::Block(1)].dim(), (5, decoder.config().d_model));
    /// # Ok::<(), inject_states::ExtractError>(())
    /// ```
    pub fn run(
        &self,
        decoder: &Decoder,
        prompts: &[Vec<u32>],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<BTreeMap<Tap, States>, ExtractError> {
        let d_model = decoder.config().d_model;
        let rows = self.rows(prompts);
        let mut states: BTreeMap<Tap, Vec<f32>> =
            self.taps.iter().map(|&tap| (tap, vec![0.0; rows * d_model])).collect();
        let mut done = 0;
        self.fill(decoder, prompts, &mut states, &mut |prompts_in_batch| {
            done += prompts_in_batch as u64;
            progress(Progress::new(TASK, Unit::Prompts, done, prompts.len() as u64));
        })?;
        let states = states.into_iter().map(|(tap, values)| {
            let states = States::from_values(values, d_model);
            (tap, states.expect("filled with rows times d_model values above"))
        });
        Ok(states.collect())
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
        for batch in batches_by_length(decoder, &lens, self.taps.len(), self.memory_budget) {
            let members: Vec<&[u32]> = batch.iter().map(|&prompt| prompts[prompt].as_slice()).collect();
            let computed = TokenBatch::new(&members)
                .and_then(|tokens| Ok((decoder.forward(&tokens, &self.taps, Logits::None)?, tokens)));
            let (forward, tokens) =
                computed.map_err(|error| ExtractError::from(error).renumbered(|prompt| batch[prompt]))?;
            for &tap in &self.taps {
                let computed = self.read_back(&forward, tap, &tokens)?;
                let target = states.get_mut(&tap).expect("one buffer was made for each tap");
                let mut begin = 0;
                for (&prompt, ids) in batch.iter().zip(&members) {
                    let rows = self.positions.rows(ids.len());
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

    /// Returns the row at which each prompt begins.
    fn first_rows(&self, prompts: &[Vec<u32>]) -> Vec<usize> {
        let mut next = 0;
        let mut first = |len: usize| {
            let row = next;
            next += self.positions.rows(len);
            row
        };
        prompts.iter().map(|prompt| first(prompt.len())).collect()
    }

    /// Returns the rows of one tap: the last position of each prompt, or all positions, padding included.
    fn read_back(&self, forward: &Forward, tap: Tap, tokens: &TokenBatch) -> Result<Vec<f32>, ExtractError> {
        let states = forward.states[&tap].clone();
        let [batch, width, d_model] = states.dims();
        let rows = states.reshape([batch * width, d_model]);
        let rows = match self.positions {
            Positions::All => rows,
            Positions::Last => {
                let last = tokens.lens().iter().enumerate().map(|(row, len)| row * width + len - 1);
                let last = host::indices(&last.collect::<Vec<_>>(), &rows.device());
                rows.select(0, last)
            }
        };
        Ok(to_host(rows)?)
    }
}

/// Computes the states of one prompt at one tap, one for each token.
///
/// # Shapes
///
/// `[tokens, d_model]`.
///
/// # Errors
///
/// As [`Extraction::run`].
///
/// # Example
///
/// ```
/// use inject_states::{models::Tap, prompt_states};
///
/// # use inject_states::models::{FloatFormat, Model, Origin};
/// # let folder = std::path::Path::new("tests/fixtures/tiny");
/// # let device = burn::tensor::Device::flex();
/// # let decoder = Model::load(Origin::of_folder(folder), FloatFormat::F32, &device)?.decoder;
/// let states = prompt_states(&decoder, &[3, 1, 4], Tap::Block(1))?;
/// assert_eq!(states.nrows(), 3);
/// # Ok::<(), inject_states::ExtractError>(())
/// ```
pub fn prompt_states(decoder: &Decoder, ids: &[u32], tap: Tap) -> Result<States, ExtractError> {
    let extraction = Extraction::new(vec![tap], Positions::All)?;
    let mut states = extraction.run(decoder, &[ids.to_vec()], &mut silent)?;
    Ok(states.remove(&tap).expect("the extraction was told to read this tap"))
}
