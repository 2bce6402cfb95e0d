//! The recovery of a prompt from its states: draft, verify, repair, certify.

mod beginning;
mod branch;
mod calibrate;
mod certify;
mod comparison;
mod doubt;
mod draft;
mod exact;
mod examine;
mod expectation;
mod gaps;
mod many;
mod neighbours;
mod permuted;
mod recovery;
mod repair;
mod shuffled;
mod sieve;
#[cfg(test)]
mod timed;
mod trial;
pub(crate) mod watch;
mod weights;

use std::{
    cell::OnceCell,
    sync::{Arc, Mutex},
};

use crate::{
    cost::Cost,
    error::InvertError,
    inversion::Inversion,
    models::{Decoder, ModelError, Progress, Tap, config::NormConfig},
    noise::NoiseModel,
    policy::{Policy, Searcher},
    reports::shared,
    settings::Settings,
    target::TargetStates,
    transformation::Transformation,
    tuning::NOISE_SEQUENCE,
    vocabulary::Vocabulary,
};

pub(crate) use self::weights::weights_known;
use self::{
    calibrate::Calibrations, neighbours::KnownNeighbours, recovery::Recovery, sieve::Comparing, watch::Watch,
    weights::DoubtedWeights,
};
pub use self::{certify::ScanCost, shuffled::Unshuffled};

/// Recovers prompts from their states at one tap of one model.
///
/// The candidates of a [`Policy`] are computed and compared, and the scan tests all others. So a prompt is recovered whatever the
/// policy, if a single token fits each of its positions, as it does under noise below half the margin. It takes at most
/// `vocab_size` tests a position, `positions * vocab_size` in all.
///
/// If several tokens fit a position, each is followed after its own prefix, up to [`Settings::beam`] of them, and each of
/// those may take as many tests. Under noise so strong that a wrong token fits too, that token may be the only one tested before it
/// is accepted, and then the prompt fails later on. [`Settings::rivals`] makes that rarer, and
/// [`Scan::Whole`](crate::settings::Scan::Whole) finds all tokens that fit. Its certificate then tests the whole vocabulary at the
/// positions where this was not done.
///
/// # From prompt to prompt
///
/// An inverter and its clones keep what they computed of the model: tables of its vocabulary, the neighbours of tokens, and calibrations.
/// These are the same whatever the prompts. From the prompts they keep one finding: the weights of the producer, once a prompt showed that
/// they were rounded. Later prompts are explained by those weights first, and by the given ones if they do not fit. Under a format of weights
/// that [`Settings::computed_in`] names, the first prompt decides for all. What the sources of a policy learn is kept in the [`Searcher`].
///
/// # Example
///
/// ```
/// use inject_sipit::{Inverter, Policy, Settings, TargetStates, sources::Prior};
/// use inject_sipit::models::{Model, Origin, Precision, Tap, silent};
/// use burn::tensor::Device;
///
/// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
/// let model = Model::load(Origin::of_folder(&folder), Precision::default(), &Device::flex())?;
/// let (tap, prompt) = (Tap::Block(2), [31, 41, 59]);
/// let target = TargetStates::of_prompt(&model.decoder, tap, &prompt)?;
///
/// let inverter = Inverter::new(&model.decoder, tap, Settings::new())?;
/// let policy = Policy::new().then_up_to(16, Prior::new());
/// let inversion = inverter.invert(&target, &mut inverter.searcher(&policy), &mut silent)?;
/// assert_eq!(inversion.token_ids(), prompt);
/// assert!(inversion.is_verified());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inverter<'a> {
    decoder: &'a Decoder,
    tap: Tap,
    settings: Settings,
    noise: NoiseModel,
    vocabulary: Arc<Vocabulary<'a>>,
    calibrations: Arc<Mutex<Calibrations>>,
    neighbours: KnownNeighbours,
    comparing: Comparing,
    weights: DoubtedWeights,
    /// The token after a candidate, whose state is compared in place of the candidate's own.
    next: Option<u32>,
}

impl<'a> Inverter<'a> {
    /// Prepares inversion at `tap`, and measures the model's noise there: one forward pass of 16 tokens and batches of 64
    /// candidates.
    ///
    /// # Errors
    ///
    /// [`InvertError`] for a tap the model does not have, and for settings out of range: a tolerance that is negative or not
    /// finite, a beam or budget of 0, a whole scan with a candidate budget below the vocabulary.
    pub fn new(decoder: &'a Decoder, tap: Tap, settings: Settings) -> Result<Self, InvertError> {
        settings.check(decoder.config().vocab_size)?;
        let len = NOISE_SEQUENCE.min(decoder.config().max_len().unwrap_or(usize::MAX));
        let noise = NoiseModel::measure(decoder, tap, len)?;
        let vocabulary = Arc::new(Vocabulary::new(decoder, settings.arithmetic));
        let comparing = Comparing::on(&decoder.device());
        let calibrations = Arc::default();
        let neighbours = Arc::default();
        Ok(Inverter {
            decoder,
            tap,
            settings,
            noise,
            vocabulary,
            calibrations,
            neighbours,
            comparing,
            weights: Some(Arc::default()),
            next: None,
        })
    }

    /// Returns the same inverter with other settings. The noise is not measured again. [`Settings::arithmetic`] stays as it was. Both share
    /// what they keep from prompt to prompt, apart from the weights of the producer if [`Settings::computed_in`] is another.
    ///
    /// # Errors
    ///
    /// [`InvertError`] for settings out of range, as [`Inverter::new`].
    pub fn with_settings(&self, settings: Settings) -> Result<Self, InvertError> {
        settings.check(self.decoder.config().vocab_size)?;
        let settings = settings.with_arithmetic(self.settings.arithmetic);
        // What was found under another setting of the format is not what this one asks for.
        let weights = match settings.computed_in == self.settings.computed_in {
            true => self.weights.clone(),
            false => self.weights.as_ref().map(|_| Arc::default()),
        };
        Ok(Inverter { settings, weights, ..self.clone() })
    }

    /// The same inverter for a part of the work on a prompt, with the time that is left for it.
    fn within(&self, watch: &Watch) -> Self {
        let mut inverter = self.clone();
        inverter.settings.budget.time = watch.left();
        inverter
    }

    /// Returns the model that explains the states.
    pub fn decoder(&self) -> &'a Decoder {
        self.decoder
    }

    /// Returns the tap of the states.
    pub fn tap(&self) -> Tap {
        self.tap
    }

    /// Returns the settings of every inversion.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the noise of the model, as it was measured.
    pub fn noise(&self) -> NoiseModel {
        self.noise
    }

    /// Begins a search by `policy` that has learned nothing yet. It serves this inverter, and others of the same decoder and
    /// tap.
    pub fn searcher<'p>(&self, policy: &'p Policy) -> Searcher<'p>
    where
        'a: 'p,
    {
        Searcher::new(self.vocabulary.clone(), self.tap, policy)
    }

    /// Recovers one prompt. `progress` is called after every batch of candidates.
    ///
    /// The result has as many positions as there are states. Its verdicts say which of them are settled.
    ///
    /// A position without a state ([`TargetStates::with_missing`]) is bridged where a single one is missing: every token is tried for it
    /// as far as the budget goes, together with likely tokens for the position after it, whose state decides. Of two missing in succession,
    /// the first is looked for among tokens that the model expects, and is ambiguous if a pair fits. If nothing fits, the position and all
    /// after it are open, with a guess for each state.
    ///
    /// If nothing fits the first or second position, the weights are doubted: weights rounded to 8 or 4 bits are tried as the usual programs
    /// round them, and as noise. [`Inversion::producer`] names what explained the states. They are not doubted if an earlier position fits
    /// within the noise floor of f32. In that case a row is missing, or the rows belong to several prompts.
    ///
    /// Three changes that producers make to states are recognised, and [`Inversion::transformation`] names them: a factor of all states,
    /// where nothing fits the first of them, states that were each divided by their length, and states without their means of a model with
    /// LayerNorm.
    ///
    /// # Errors
    ///
    /// [`InvertError::OtherTap`] if [`Settings::tap_check`] asks for it and the states are those of another tap.
    ///
    /// [`InvertError`] if the states cannot belong to this model: another width, another tap than this inverter's, more
    /// positions than the model can compute. Also if the memory budget has no room for one position, if the searcher or one of its
    /// sources is of another model, and if the device fails.
    pub fn invert(
        &self,
        target: &TargetStates,
        searcher: &mut Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Inversion, InvertError> {
        self.check(target)?;
        self.check_searcher(searcher)?;
        if !target.missing().is_empty() {
            return self.invert_with_gaps(target, searcher, progress);
        }
        let (changed, quiet) = (self.recognised(target), OnceCell::new());
        let (target, mut spent) = (changed.as_ref().unwrap_or(target), Cost::default());
        let (watch, progress) = (Watch::start(self.settings.budget.time), shared(progress));
        let known = self.invert_by_known_weights(target, searcher, &mut spent, &mut &progress)?;
        if let Some(mut inversion) = known {
            inversion.cost.add(&spent);
            return Ok(inversion);
        }
        let mut recovery = Recovery::begin(self, target, searcher, &quiet, &progress)?;
        recovery.comparison.cost.add(&spent);
        recovery.comparison.watch = watch;
        complete(recovery)
    }

    /// Returns the same states as centred ones, if the mean of each is zero and the model ignores means.
    fn centred(&self, target: &TargetStates) -> Option<TargetStates> {
        let is_blind = matches!(self.decoder.config().final_norm, NormConfig::Layer { .. });
        let unchanged = *target.transformation() == Transformation::None && self.tap != Tap::FinalNorm;
        (is_blind && unchanged && target.has_no_means()).then(|| target.clone().centred())
    }

    /// The same states as centred ones or by direction, if the states themselves show such a change. Those of no block have length 1.
    fn recognised(&self, target: &TargetStates) -> Option<TargetStates> {
        let unchanged = *target.transformation() == Transformation::None && self.tap != Tap::Embedding;
        let by_direction = || (unchanged && target.has_unit_lengths()).then(|| target.clone().by_direction());
        self.centred(target).or_else(by_direction)
    }

    /// Checks that states can be inverted here.
    fn check(&self, target: &TargetStates) -> Result<(), InvertError> {
        let config = self.decoder.config();
        target.check(config.d_model, config.n_layers())?;
        if target.tap() != self.tap {
            return Err(InvertError::Tap { found: target.tap(), expected: self.tap });
        }
        if let Some(max_len) = config.max_len().filter(|&max_len| target.sequence_len() > max_len) {
            return Err(ModelError::TooLong { found: target.sequence_len(), max_len }.into());
        }
        let (found, expected) =
            (self.settings.memory_budget, self.decoder.bytes_per_token(target.positions(), 1));
        if found < expected { Err(InvertError::MemoryBudget { found, expected }) } else { Ok(()) }
    }

    fn check_searcher(&self, searcher: &Searcher<'_>) -> Result<(), InvertError> {
        match searcher.serves(self.decoder, self.tap) {
            true => Ok(()),
            false => Err(InvertError::OtherSearcher),
        }
    }
}

/// Carries a recovery on to the end of the prompt.
fn complete(mut recovery: Recovery<'_, '_>) -> Result<Inversion, InvertError> {
    while !recovery.is_complete() {
        // One pass over a draft settles many positions. The others are searched candidate by candidate.
        match recovery.next_draft()? {
            Some(draft) => recovery.verify(&draft)?,
            None => recovery.repair()?,
        }
    }
    if let Some(mut inversion) = recovery.by_other_weights.take() {
        inversion.cost.add_as_calibration(&recovery.comparison.cost);
        return Ok(inversion);
    }
    let Some(factor) = recovery.factor else { return recovery.conclude() };
    let Recovery { comparison, searcher, .. } = recovery;
    let (target, quiet) = (comparison.target.clone().scaled(factor.by, factor.within)?, OnceCell::new());
    let mut again = Recovery::begin(comparison.inverter, &target, searcher, &quiet, comparison.progress)?;
    again.comparison.watch = comparison.watch;
    let mut inversion = complete(again)?;
    if factor.is_refuted(&inversion, target.given().len()) {
        // It was no factor. Neither the unit nor the tap is doubted again.
        let (refuted, quiet) = (inversion, OnceCell::new());
        let (inverter, target, reports) = (comparison.inverter, comparison.target, comparison.progress);
        let mut again = Recovery::begin(inverter, target, searcher, &quiet, reports)?;
        (again.doubted, again.comparison.watch) = (true, comparison.watch);
        inversion = complete(again)?;
        inversion.cost.add(&refuted.cost);
    }
    inversion.cost.add(&comparison.cost);
    Ok(inversion)
}
