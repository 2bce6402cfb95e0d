//! States of one prompt in unknown order.
//!
//! Position by position, the states of candidates are compared with all states that have no place yet. Without noise only the token
//! at the position gives one of them. The tokens come from the states themselves: a linear map from states to embeddings reads each of
//! them without its place. When every state has its place, the prompt is inverted in that order, which gives the verdicts.

mod guesses;

use std::time::Instant;

use crate::{
    calibration::Calibration,
    collisions::norm,
    cost::Cost,
    error::InvertError,
    inversion::{Inversion, Position, Verdict},
    models::{FloatFormat, Logits, NumberFormat, PrefixCache, Progress, Tap, TokenBatch, Unit, silent},
    policy::{Policy, PolicyChoice},
    settings::{ComputedIn, Scan, TapCheck},
    sources::Known,
    target::TargetStates,
    tensors::read,
    tuning::{LARGEST_BATCH, SCALE_CANDIDATES, SHUFFLED_FIRST_ROWS, SHUFFLED_WITHIN},
    yardstick::Yardstick,
};
use std::sync::Arc;

use self::guesses::Guesses;
use super::{Inverter, watch::Watch};

/// A prompt recovered from states in unknown order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Unshuffled {
    /// The recovered prompt, in its own order.
    pub inversion: Inversion,
    /// The row at each position. Rows that found no place come last, in the given order.
    pub order: Vec<usize>,
}

/// A token whose state is that of a row.
#[derive(Clone, Copy, Debug)]
struct Placed {
    token: u32,
    row: usize,
    /// The distance over the floor.
    strain: f64,
}

/// The search for the place of every row.
struct Placing<'r> {
    inverter: &'r Inverter<'r>,
    target: &'r TargetStates,
    begins: Option<u32>,
    calibration: Option<Arc<Calibration>>,
    ids: Vec<u32>,
    order: Vec<usize>,
    remaining: Vec<usize>,
    cache: PrefixCache,
    guesses: Guesses,
    cost: Cost,
    watch: Watch,
}

impl Inverter<'_> {
    /// Recovers a prompt whose states are given in unknown order. States of given tokens come first, in their own order. `begins` is a
    /// token that prompts often begin with, such as BOS.
    ///
    /// A verdict holds for the order found. It allows for the fact that each state might have had any place: docs/numerics.md,
    /// section 8.
    ///
    /// # Errors
    ///
    /// As [`Inverter::invert`], and [`InvertError::Missing`] if the target has positions without a state.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{Inverter, Settings, TargetStates, models::{FloatFormat, Model, Origin, Tap, silent}};
    /// use burn::tensor::Device;
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
    /// let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &Device::flex())?;
    /// let (tap, prompt) = (Tap::Block(2), [31, 41, 59]);
    /// let rows = TargetStates::of_prompt(&model.decoder, tap, &prompt)?.states().to_owned();
    /// let shuffled = rows.select(inject_sipit::ndarray::Axis(0), &[2, 0, 1]);
    ///
    /// let inverter = Inverter::new(&model.decoder, tap, Settings::new())?;
    /// let target = TargetStates::new(shuffled, tap, FloatFormat::F32)?;
    /// let found = inverter.invert_shuffled(&target, None, &mut silent)?;
    /// assert_eq!((found.inversion.token_ids(), found.order), (prompt.to_vec(), vec![1, 2, 0]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn invert_shuffled(
        &self,
        target: &TargetStates,
        begins: Option<u32>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Unshuffled, InvertError> {
        self.check(target)?;
        if let Some(&found) = target.missing().first() {
            return Err(InvertError::Missing { found, positions: target.positions() });
        }
        let centred = self.centred(target);
        let target = centred.as_ref().unwrap_or(target);
        let mut placing = Placing::begin(self, target, begins, progress)?;
        while !placing.remaining.is_empty() {
            let (done, total) = (placing.ids.len() as u64, target.positions() as u64);
            progress(Progress::new("order", Unit::Positions, done, total));
            match placing.next()? {
                Some(placed) => placing.settle(placed)?,
                None => break,
            }
        }
        let Placing { ids, mut order, remaining, cost, .. } = placing;
        let placed = ids.len();
        order.extend(remaining);
        let ordered = target.reordered(&order).part(placed.max(1), target.given());
        let policy = Policy::new().then(Known::new(ids));
        let settings = self.settings.clone().with_tap_check(TapCheck::Never);
        let inverter = self.with_settings(settings)?.with_weights_as_given();
        let mut inversion = match placed > target.given().len() {
            true => inverter.invert(&ordered, &mut inverter.searcher(&policy), progress)?,
            false => Inversion {
                positions: Vec::new(),
                transformation: target.transformation().clone(),
                producer: None,
                cost: Cost::default(),
            },
        };
        inversion.cost.add(&cost);
        for position in inversion.positions.len()..target.positions() {
            let (verdict, kept, ruled_out) = (Verdict::Open { guess: None }, None, Vec::new());
            inversion.positions.push(Position { position, verdict, kept, candidates_tested: 0, ruled_out });
        }
        Ok(Unshuffled { inversion, order })
    }
}

impl<'r> Placing<'r> {
    fn begin(
        inverter: &'r Inverter<'r>,
        target: &'r TargetStates,
        begins: Option<u32>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, InvertError> {
        let decoder = inverter.decoder;
        let deepest = if decoder.has_head() { Tap::FinalNorm } else { inverter.tap };
        let format = match (inverter.settings.computed_in, target.grid()) {
            (ComputedIn::Format(NumberFormat::Float(FloatFormat::F32 | FloatFormat::F64)), _) => None,
            (ComputedIn::Format(format), _) => Some(format),
            (ComputedIn::Auto, Some(format)) if target.tap() != Tap::Embedding => Some(format.into()),
            _ => None,
        };
        let calibration = format.map(|format| inverter.calibration(format, progress)).transpose()?.flatten();
        let given = target.given().len();
        let mut placing = Placing {
            inverter,
            target,
            begins,
            calibration,
            ids: Vec::new(),
            order: (0..given).collect(),
            remaining: (given..target.positions()).collect(),
            cache: decoder.prefix_cache(1, target.sequence_len(), deepest)?,
            guesses: Guesses::default(),
            cost: Cost::default(),
            watch: Watch::start(inverter.settings.budget.time),
        };
        target.given().iter().try_for_each(|&token| placing.append(token))?;
        Ok(placing)
    }

    /// Takes the token at the next position.
    fn append(&mut self, token: u32) -> Result<(), InvertError> {
        let decoder = self.inverter.decoder;
        let taps: &[Tap] = if decoder.has_head() { &[Tap::FinalNorm] } else { &[] };
        let tokens = TokenBatch::new(&[[token]])?;
        let mut forward = decoder.extend(&mut self.cache, &tokens, taps, Logits::None)?;
        self.ids.push(token);
        let last = forward.states.remove(&Tap::FinalNorm).map(|states| states.squeeze_dim::<2>(0)); // [1, d_model]
        self.guesses.expect(last, &self.inverter.vocabulary)
    }

    fn settle(&mut self, placed: Placed) -> Result<(), InvertError> {
        self.remaining.retain(|&row| row != placed.row);
        self.order.push(placed.row);
        self.append(placed.token)
    }

    /// Finds the token of the next position and its row: by guesses, more in each round, and at last in the whole vocabulary.
    fn next(&mut self) -> Result<Option<Placed>, InvertError> {
        let yardsticks = self.yardsticks();
        let vocab_size = self.inverter.decoder.config().vocab_size;
        let mut tested = vec![false; vocab_size];
        for round in 0.. {
            let is_last = round == Guesses::ROUNDS;
            let guessed: Vec<u32> = match round {
                0 if self.ids.is_empty() => self.begins.into_iter().collect(),
                Guesses::READ_HERE => {
                    self.guesses.read_here(&self.inverter.vocabulary, self.target, &self.remaining)?
                }
                Guesses::ROUNDS => (0..vocab_size as u32).collect(),
                _ => self.guesses.round(round, &self.remaining, vocab_size),
            };
            let known = guessed.into_iter().filter(|&id| (id as usize) < vocab_size);
            let fresh: Vec<u32> =
                known.filter(|&id| !std::mem::replace(&mut tested[id as usize], true)).collect();
            if let Some(placed) = self.test(&fresh, &yardsticks)? {
                return Ok(Some(placed));
            }
            if self.ids.is_empty()
                && round == 1
                && let Some(placed) = self.first()?
            {
                return Ok(Some(placed));
            }
            if is_last || self.watch.is_up() {
                break;
            }
        }
        Ok(None)
    }

    /// Searches the likeliest rows for a first token, each as a prompt of its own.
    fn first(&mut self) -> Result<Option<Placed>, InvertError> {
        let inverter = self.inverter;
        let budget = inverter.settings.budget.with_candidates(SCALE_CANDIDATES);
        let settings = inverter.settings.clone().with_scan(Scan::AsNeeded).with_tap_check(TapCheck::Never);
        let inverter = inverter.with_settings(settings.with_budget(budget))?.with_weights_as_given();
        let choice = PolicyChoice::auto(inverter.decoder, inverter.tap, 1, None, None);
        for row in self.guesses.first_rows(self.target, &self.remaining).into_iter().take(SHUFFLED_FIRST_ROWS)
        {
            let alone =
                self.target.reordered(&[row]).part(1, &[]).of_longer_prompt(self.target.sequence_len());
            let inverter = inverter.within(&self.watch);
            let inversion = inverter.invert(&alone, &mut inverter.searcher(&choice.policy), &mut silent)?;
            self.cost.add(&inversion.cost);
            let [position] = &inversion.positions[..] else { continue };
            if let (true, Some(token)) = (position.verdict.is_verified(), position.token_id()) {
                return Ok(Some(Placed { token, row, strain: 0.0 }));
            }
        }
        Ok(None)
    }

    /// The rule for comparing candidates with each row that remains, at the next position.
    fn yardsticks(&self) -> Vec<(usize, Yardstick, f64)> {
        let (inverter, target, position) = (self.inverter, self.target, self.ids.len());
        let of_row = |&row: &usize| {
            let state = target.state(row);
            let yardstick = match &self.calibration {
                Some(calibration) => {
                    Yardstick::of_producer(calibration.of(position, state), 0.0, target, row)
                }
                None => Yardstick::new(inverter.settings.acceptance, &inverter.noise, target, row, None),
            };
            (row, yardstick, norm(state))
        };
        self.remaining.iter().map(of_row).collect()
    }

    /// Computes the states of candidates at the next position, and compares each with every row that remains. Returns the one that fits
    /// best.
    fn test(
        &mut self,
        ids: &[u32],
        yardsticks: &[(usize, Yardstick, f64)],
    ) -> Result<Option<Placed>, InvertError> {
        let (inverter, target) = (self.inverter, self.target);
        // The noise of a row is looked at more closely when the order is known.
        let most = if self.calibration.is_some() { 1.0 } else { SHUFFLED_WITHIN };
        let mut best: Option<Placed> = None;
        for ids in ids.chunks(LARGEST_BATCH) {
            let start = Instant::now();
            let states = read(inverter.decoder.candidates(&self.cache, ids, inverter.tap)?)?;
            let states = target.transformation().changed(&states, target.d_model());
            for (&token, state) in ids.iter().zip(states.chunks(target.d_model())) {
                let length = norm(state);
                for (row, yardstick, row_length) in yardsticks {
                    let wanted = target.state(*row);
                    let floor = yardstick.floor(wanted);
                    // A distance is at least the difference of the lengths.
                    if yardstick.is_plain() && (length - row_length).abs() > most * floor {
                        continue;
                    }
                    let strain = yardstick.measure(state, wanted).distance / floor;
                    if strain <= most && best.is_none_or(|best| strain < best.strain) {
                        best = Some(Placed { token, row: *row, strain });
                    }
                }
            }
            self.guesses.take_in(ids, &states, self.ids.len());
            self.cost.stage("order").add_batch(ids.len(), start.elapsed().as_secs_f64());
            if best.is_some() || self.watch.is_up() {
                break;
            }
        }
        if best.is_none() {
            self.guesses.read_rows(&inverter.vocabulary, target, &self.remaining)?;
        }
        Ok(best)
    }
}
