//! The training of one decoder, with snapshots.

use std::num::NonZeroUsize;

use burn::module::Module;
use inject_sipit::models::{
    Decoder, ModelError,
    host::to_host,
    training::{loss_and_gradients, next_token_loss, trainable},
};

use super::{Optimiser, Probes, Snapshot, batches::Batches};
use crate::{error::StudyError, tuning::WINDOWS_AT_ONCE};

/// The text on which a decoder is trained, and the text on which its loss is measured. A window of `n` tokens has `n - 1` next
/// tokens.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TrainingData<'a> {
    /// Windows of the training text.
    pub windows: &'a [Vec<u32>],
    /// Windows of the text on which the loss is measured.
    pub held_out: &'a [Vec<u32>],
}

impl<'a> TrainingData<'a> {
    /// Names the windows of the training text, and those of the text on which the loss is measured.
    pub fn new(windows: &'a [Vec<u32>], held_out: &'a [Vec<u32>]) -> Self {
        TrainingData { windows, held_out }
    }
}

/// The optimiser, steps, snapshots and seed of one training run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct TrainingOptions {
    /// The rule of each step.
    pub optimiser: Optimiser,
    /// The number of steps of the optimiser.
    pub steps: usize,
    /// The numbers of steps after which a snapshot is taken. 0 is the start, and numbers above `steps` are ignored.
    pub snapshots: Vec<usize>,
    /// The seed of the draw of batches.
    pub seed: u64,
    /// The number of parts of a batch that are computed at the same time. The figures depend on it by rounding.
    pub threads: NonZeroUsize,
}

impl TrainingOptions {
    /// Creates options to take `steps` steps with `optimiser`, and snapshots at the steps of [`log_spaced`].
    pub fn new(optimiser: Optimiser, steps: usize, seed: u64, threads: NonZeroUsize) -> Self {
        TrainingOptions { optimiser, steps, snapshots: log_spaced(steps), seed, threads }
    }
}

/// The result of one training.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TrainingStudy {
    /// The options of the training.
    pub options: TrainingOptions,
    /// The loss of each step's batch, before the step, in nats a token.
    pub losses: Vec<f32>,
    /// The snapshots, in the order of their steps.
    pub snapshots: Vec<Snapshot>,
}

/// A step or a snapshot of a training run, as reported while it happens.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TrainingEvent<'a> {
    /// The optimiser has taken a step.
    Step {
        /// The number of steps taken so far.
        step: usize,
        /// The loss of the step's batch, before the step, in nats per token.
        loss: f32,
    },
    /// A snapshot of the weights was taken and measured.
    Snapshot(&'a Snapshot),
}

/// Returns the start, about three steps per decade, and the last step: `[0, 1, 2, 5, 10, 20, ...]`.
///
/// # Example
///
/// ```
/// use inject_studies::training::log_spaced;
///
/// assert_eq!(log_spaced(30), [0, 1, 2, 5, 10, 20, 30]);
/// assert_eq!(log_spaced(0), [0]);
/// ```
pub fn log_spaced(steps: usize) -> Vec<usize> {
    let decades = (0_u32..).map_while(|decade| 10_usize.checked_pow(decade));
    let marks = decades.flat_map(|ten| [1, 2, 5].map(|digit| ten.saturating_mul(digit)));
    let mut spaced: Vec<usize> = std::iter::once(0).chain(marks.take_while(|&step| step < steps)).collect();
    if steps > 0 {
        spaced.push(steps);
    }
    spaced
}

/// Trains a decoder, beginning at `start`, and measures it during training. Returns the measurements and the trained decoder.
///
/// The same start, text, probes and options give the same numbers on the same machine and device.
///
/// # Errors
///
/// [`StudyError`] if the learning rate or batch size is invalid, there is no text, or the loss becomes NaN or infinite, and the
/// errors of the decoder.
///
/// # Source
///
/// arXiv 2510.15511, theorem 2.3 and corollary 2.3.1.
pub fn training(
    start: &Decoder,
    data: TrainingData<'_>,
    probes: &Probes,
    options: &TrainingOptions,
    told: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<(TrainingStudy, Decoder), StudyError> {
    for (what, windows) in [("training windows", data.windows), ("held-out windows", data.held_out)] {
        if windows.is_empty() {
            return Err(StudyError::TooFew { what, found: 0, expected: 1 });
        }
    }
    options.optimiser.check(data.windows.len())?;
    let mut study = TrainingStudy { options: options.clone(), losses: Vec::new(), snapshots: Vec::new() };
    let mut snapshot = |decoder: &Decoder, step: usize, told: &mut dyn FnMut(TrainingEvent<'_>)| {
        let decoder = decoder.valid().with_lanes(options.threads);
        let losses = [loss(&decoder, data.windows)?, loss(&decoder, data.held_out)?];
        let taken = Snapshot::measure(&decoder, probes, step, losses)?;
        told(TrainingEvent::Snapshot(&taken));
        study.snapshots.push(taken);
        Ok::<(), StudyError>(())
    };
    let mut steps = Steps::new(start, data.windows, options.optimiser, options.seed, options.threads);
    for step in 0..=options.steps {
        if options.snapshots.contains(&step) {
            snapshot(&steps.decoder, step, told)?;
        }
        if step < options.steps {
            let loss = steps.step()?;
            study.losses.push(loss);
            told(TrainingEvent::Step { step: step + 1, loss });
        }
    }
    Ok((study, steps.decoder.valid()))
}

/// A decoder that is being trained.
pub(super) struct Steps<'a> {
    /// The decoder with its current weights, tracked for gradients.
    pub(super) decoder: Decoder,
    optimiser: Optimiser,
    state: burn::optim::ModuleOptimizer,
    batches: Batches<'a>,
    threads: NonZeroUsize,
    taken: usize,
}

impl<'a> Steps<'a> {
    /// Begins a training. The options must have been checked.
    pub(super) fn new(
        start: &Decoder,
        windows: &'a [Vec<u32>],
        optimiser: Optimiser,
        seed: u64,
        threads: NonZeroUsize,
    ) -> Self {
        Steps {
            decoder: trainable(start.clone()),
            optimiser,
            state: optimiser.init(),
            batches: Batches::new(windows, optimiser.batch(windows.len()), seed),
            threads,
            taken: 0,
        }
    }

    /// Takes one step and returns the loss before it.
    pub(super) fn step(&mut self) -> Result<f32, StudyError> {
        let batch = self.batches.draw();
        let (loss, gradients) = loss_and_gradients(&self.decoder, &batch, self.threads)?;
        if !loss.is_finite() {
            return Err(StudyError::Diverged { step: self.taken, found: loss });
        }
        self.taken += 1;
        self.decoder = self.state.step(self.optimiser.learning_rate(), self.decoder.clone(), gradients);
        Ok(loss)
    }
}

/// Returns the mean loss over all next tokens of some windows. A few windows are computed at a time.
fn loss(decoder: &Decoder, windows: &[Vec<u32>]) -> Result<f64, ModelError> {
    let (mut sum, mut tokens) = (0.0, 0);
    for some in windows.chunks(WINDOWS_AT_ONCE) {
        let mean: Vec<f64> = to_host(next_token_loss(decoder, some)?)?;
        let next_tokens = some.iter().map(|ids| ids.len() - 1).sum::<usize>();
        sum += mean[0] * next_tokens as f64;
        tokens += next_tokens;
    }
    Ok(sum / tokens as f64)
}
