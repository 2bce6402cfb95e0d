//! Draft, verify, repair: the prompt back from its states.

mod certify;
mod examine;
mod many;
mod step;
mod verify;

use std::{cell::RefCell, sync::Arc, time::Instant};

use inject_collisions::models::{Decoder, ModelError, Tap};

pub use self::certify::ScanCost;
use crate::{
    Acceptance, Cost, Draft, Inversion, InvertError, NoiseModel, OnFailure, Open, Policy, Position,
    Provisional, Scan, Settings, TargetStates, Tested, Verdict, Vocabulary,
    acceptance::Yardstick,
    hypothesis::{Graveyard, Hypothesis},
};

/// Recovers prompts from their states at one tap of one model.
///
/// Whatever the [`Policy`] proposes is computed and compared; what it does not propose is scanned. So a prompt at each of whose
/// positions one token alone fits, as noise below half the margin ensures, is recovered whatever the policy, within `vocab_size` tests a
/// position, `positions * vocab_size` in all.
///
/// Where several tokens are seen to fit a position, each is followed behind its own prefix, up to [`Settings::beam`] of them, and
/// every one of those may take as many tests. Under noise so strong that a wrong token fits too, it may be the only one seen before it
/// is accepted, and then the prompt fails later on: [`Settings::rivals`] makes that rarer, and [`Scan::Whole`] sees all that fit. A
/// certificate ([`Scan::Whole`]) tests those positions again that were not tested whole.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use inject_sipit::{Extraction, Inverter, Model, Origin, Policy, Precision, Prior, Settings, Tap, TargetStates};
/// use inject_sipit::{foreign::SourceDtype, store::Positions};
///
/// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/mistral");
/// let model = Model::load(Origin::of_folder(&folder), Precision::F32, &Device::flex())?;
/// let prompt = vec![31, 41, 59];
/// let tap = Tap::Block(2);
/// let extraction = Extraction::new(vec![tap], Positions::All)?;
/// let states = extraction.run(&model.decoder, &[prompt.clone()], &mut |_| ())?.remove(&tap).unwrap();
///
/// let target = TargetStates::new(states.mapv(f64::from), tap, SourceDtype::F32)?;
/// let inverter = Inverter::new(&model.decoder, tap, Settings::default())?;
/// let mut policy = Policy::new().then(Prior::up_to(16));
/// let inversion = inverter.invert(&target, &mut policy, &mut |_| ())?;
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
}

/// How far an inversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// The prompt, of those inverted together.
    pub prompt: usize,
    /// Positions settled so far.
    pub position: usize,
    /// Positions in all.
    pub positions: usize,
    /// Candidates tested at the position at hand.
    pub candidates_tested: usize,
    /// Candidates there are.
    pub vocab_size: usize,
}

/// What an inversion is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Recovering tokens.
    Recover,
    /// Scanning the whole vocabulary behind the tokens recovered.
    Certify,
}

/// What one prompt's inversion carries along.
pub(crate) struct Run<'a> {
    pub(crate) target: &'a TargetStates,
    pub(crate) prompt: usize,
    noise: NoiseModel,
    cost: Cost,
    graveyard: Graveyard,
    /// What drafts showed of the open positions.
    provisional: Provisional,
    /// What was tested at the first open position.
    tested: Tested,
    start: Instant,
    report: &'a RefCell<dyn FnMut(Progress) + 'a>,
}

impl<'a> Inverter<'a> {
    /// The length of the sequence on which noise is measured.
    const NOISE_POSITIONS: usize = 16;

    /// Prepares inversion at `tap`, and measures the model's noise there (one forward pass of 16 tokens and batches of 64 candidates).
    /// Make one inverter for a model and tap.
    ///
    /// # Errors
    ///
    /// [`InvertError`] for a tap the model does not have; [`InvertError::Tolerance`]: an acceptance rule with a bound that is negative or
    /// not finite; [`InvertError::NoWholeScan`]: [`Scan::Whole`] with a candidate budget below the vocabulary.
    pub fn new(decoder: &'a Decoder, tap: Tap, settings: Settings) -> Result<Self, InvertError> {
        check_acceptance(settings.acceptance)?;
        let vocab_size = decoder.config().vocab_size;
        if let (Scan::Whole, Some(found)) = (settings.scan, settings.budget.candidates)
            && found < vocab_size
        {
            return Err(InvertError::NoWholeScan { found, vocab_size });
        }
        let len = Self::NOISE_POSITIONS.min(decoder.config().max_len().unwrap_or(usize::MAX));
        let noise = NoiseModel::measure(decoder, tap, len)?;
        let vocabulary = Arc::new(Vocabulary::new(decoder, settings.arithmetic));
        Ok(Inverter { decoder, tap, settings, noise, vocabulary })
    }

    /// The model.
    pub fn decoder(&self) -> &'a Decoder {
        self.decoder
    }

    /// Where the states were read.
    pub fn tap(&self) -> Tap {
        self.tap
    }

    /// How it is run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The noise measured.
    pub fn noise(&self) -> NoiseModel {
        self.noise
    }

    /// Recovers one prompt. `progress` is called after every batch of candidates.
    ///
    /// The result always has as many positions as there were states; what could not be settled says so.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the states cannot belong to this model: another width, another tap than this inverter's, more
    /// positions than the model can compute; and when a source of proposals belongs to another model.
    pub fn invert(
        &self,
        target: &TargetStates,
        policy: &mut Policy,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Inversion, InvertError> {
        self.check(target)?;
        let report = RefCell::new(progress);
        let mut run = self.begin(target, 0, &report)?;
        self.finish(Hypothesis::new(), &mut run, policy)
    }

    /// Checks that states can be inverted here.
    fn check(&self, target: &TargetStates) -> Result<(), InvertError> {
        let config = self.decoder.config();
        target.check(config.d_model, config.n_layers())?;
        if target.tap() != self.tap {
            return Err(InvertError::Tap { found: target.tap(), expected: self.tap });
        }
        match config.max_len() {
            Some(max_len) if target.positions() > max_len => {
                Err(ModelError::TooLong { found: target.positions(), max_len }.into())
            }
            _ => Ok(()),
        }
    }

    fn begin<'r>(
        &self,
        target: &'r TargetStates,
        prompt: usize,
        report: &'r RefCell<dyn FnMut(Progress) + 'r>,
    ) -> Result<Run<'r>, InvertError> {
        let config = self.decoder.config();
        let measured = Self::NOISE_POSITIONS.min(config.max_len().unwrap_or(usize::MAX));
        let (mut cost, start) = (Cost::default(), Instant::now());
        let noise = if config.same_rotary(measured, target.positions()) {
            self.noise
        } else {
            NoiseModel::measure_counting(self.decoder, self.tap, target.positions(), cost.stage("noise"))?
        };
        Ok(Run {
            target,
            prompt,
            noise,
            cost,
            graveyard: Graveyard::default(),
            provisional: Provisional::default(),
            tested: Tested::new(),
            start,
            report,
        })
    }

    /// Goes on from a hypothesis to the end of the prompt.
    fn finish(
        &self,
        first: Hypothesis,
        run: &mut Run<'_>,
        policy: &mut Policy,
    ) -> Result<Inversion, InvertError> {
        let mut beam = vec![first];
        while beam[0].len() < run.target.positions() {
            if let [only] = beam.as_mut_slice()
                && self.draft(only, run, policy)?
            {
                continue;
            }
            beam = match self.step(beam, run, policy)? {
                step::Outcome::Settled(beam) => beam,
                step::Outcome::Stuck { best, position } => {
                    let going_on =
                        self.settings.on_failure == OnFailure::GoOn && position.verdict == Verdict::Failed;
                    let mut best = *best;
                    best.push(*position);
                    if !going_on {
                        leave_open(&mut best, run);
                    }
                    vec![best]
                }
            };
        }
        self.conclude(beam, run)
    }

    /// Chooses among the hypotheses that reached the end.
    fn conclude(&self, mut beam: Vec<Hypothesis>, run: &mut Run<'_>) -> Result<Inversion, InvertError> {
        beam.sort_by(|a, b| a.strain().total_cmp(&b.strain()));
        let mut beam = beam.into_iter();
        let mut best = beam.next().ok_or(InvertError::NoStates)?;
        let alive: Vec<Vec<u32>> = beam.map(|other| other.ids()).collect();
        run.graveyard.resolve(&mut best.positions, &alive);
        if self.settings.scan == Scan::Whole {
            self.certify(&mut best, run)?;
        }
        Ok(Inversion { positions: best.positions, cost: std::mem::take(&mut run.cost) })
    }

    /// One pass over a draft of the open positions. Gives whether anything was tried; then the hypothesis has grown, or one
    /// more candidate is tested at its first open position.
    fn draft(
        &self,
        hypothesis: &mut Hypothesis,
        run: &mut Run<'_>,
        policy: &mut Policy,
    ) -> Result<bool, InvertError> {
        if !self.may_draft(run) {
            return Ok(false);
        }
        match self.next_draft(hypothesis, run, policy)? {
            None => Ok(false),
            Some(draft) => self.verify(hypothesis, &draft, run).map(|()| true),
        }
    }

    /// Whether a draft may be taken at its word at all: not where others are to be tested beside each token before it counts, nor where the
    /// bound on the noise is the user's, who may have set it so wide that several tokens fit, and asks for all that do.
    fn drafts(&self) -> bool {
        let users = self.settings.acceptance != Acceptance::default();
        self.settings.rivals == 0 && !(users && self.settings.scan == Scan::Whole)
    }

    /// Whether another pass over a draft may be worth its cost. Where several tokens fitted a position, it is open for no more drafts.
    fn may_draft(&self, run: &Run<'_>) -> bool {
        /// Candidates tested at one position by drafts, after which they are tested in batches.
        const MOST: usize = 64;
        self.drafts()
            && run.tested.len() < MOST
            && run.tested.fitting().is_empty()
            && !self.out_of_budget(run, run.tested.len())
    }

    /// A draft that begins with a token not tested yet, up to its end or its first id beyond the vocabulary.
    fn next_draft(
        &self,
        hypothesis: &Hypothesis,
        run: &mut Run<'_>,
        policy: &mut Policy,
    ) -> Result<Option<Draft>, InvertError> {
        let prefix = hypothesis.ids();
        run.provisional.forget_before(prefix.len());
        let open = Open {
            vocabulary: &self.vocabulary,
            decoder: self.decoder,
            target: run.target,
            prefix: &prefix,
            provisional: &run.provisional,
            tested: &run.tested,
            deadline: self.settings.budget.time.and_then(|time| run.start.checked_add(time)),
        };
        let Some(draft) = policy.draft(&open, &mut run.cost)? else { return Ok(None) };
        let (config, positions) = (self.decoder.config(), run.target.positions());
        let rows = self.rows_in_memory(positions);
        let mut draft = draft.cut(config.vocab_size, rows.min(positions - prefix.len()));
        draft.alternatives.truncate(rows - draft.ids.len());
        if self.settings.budget.candidates.is_some() {
            // How many of them would be tested at a place is known only when they are.
            draft.alternatives.clear();
        }
        let begins_anew = draft.ids.first().is_some_and(|&id| !run.tested.contains(id));
        Ok(begins_anew.then_some(draft))
    }

    /// How many rows of a pass over sequences of this length the memory budget has room for: one at least.
    fn rows_in_memory(&self, len: usize) -> usize {
        let bytes = self.decoder.bytes_per_token(len, 1);
        (self.settings.memory_budget / bytes.max(1)).max(1)
    }

    /// The yardstick of one position.
    fn yardstick(&self, run: &Run<'_>, position: usize, seen: f64) -> Yardstick {
        Yardstick::new(self.settings.acceptance, &run.noise, run.target, position, seen)
    }

    /// Whether the time is up, or so many candidates at one position are too many.
    fn out_of_budget(&self, run: &Run<'_>, tested: usize) -> bool {
        self.time_is_up(run) || self.settings.budget.candidates.is_some_and(|candidates| tested >= candidates)
    }

    fn time_is_up(&self, run: &Run<'_>) -> bool {
        self.settings.budget.time.is_some_and(|time| run.start.elapsed() >= time)
    }

    fn report(&self, run: &Run<'_>, phase: Phase, position: usize, candidates_tested: usize) {
        (run.report.borrow_mut())(Progress {
            phase,
            prompt: run.prompt,
            position,
            positions: run.target.positions(),
            candidates_tested,
            vocab_size: self.decoder.config().vocab_size,
        });
    }
}

/// Fills up a prompt with what was guessed for the positions that nothing is known of.
fn leave_open(hypothesis: &mut Hypothesis, run: &Run<'_>) {
    for position in hypothesis.len()..run.target.positions() {
        let guess = run.provisional.at(position).first();
        hypothesis.push(Position {
            position,
            verdict: Verdict::Open,
            token_id: guess.map_or(0, |nearest| nearest.id),
            distance: f64::INFINITY,
            runner_up: None,
            margin: None,
            noise_floor: 0.0,
            candidates_tested: 0,
            found_by: "none",
            ruled_out: Vec::new(),
        });
    }
}

fn check_acceptance(acceptance: Acceptance) -> Result<(), InvertError> {
    let bounds = match acceptance {
        Acceptance::NoiseFloor { added } => vec![added],
        Acceptance::Ball { epsilon } => vec![epsilon],
        Acceptance::AllClose { rtol, atol } => vec![rtol, atol],
    };
    match bounds.into_iter().find(|bound| !(bound.is_finite() && *bound >= 0.0)) {
        None => Ok(()),
        Some(found) => Err(InvertError::Tolerance { found }),
    }
}
