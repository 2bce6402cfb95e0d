//! The evidence that other weights than those given made the first states of a prompt.

use crate::{
    calibration::Calibration,
    collisions::norm,
    cost::Cost,
    error::InvertError,
    inversion::{Inversion, Position, Verdict},
    models::{Decoder, Logits, NumberFormat, Progress, TokenBatch, silent},
    policy::Policy,
    settings::{ComputedIn, Scan, Settings, TapCheck},
    target::TargetStates,
    tensors::read,
    tuning::{
        CROWDED_FIRST, LIKELY_DEVIATIONS, NEAR_POSITIONS, NEAR_VERIFIED, ROUNDED_CANDIDATES, ROUNDED_NEARER,
        ROUNDED_POSITIONS, ROUNDED_SAMPLE,
    },
    yardstick::Yardstick,
};

use super::{
    super::{
        Inverter,
        branch::Branch,
        calibrate::nothing_fits,
        exact::is_exact_before,
        recovery::Recovery,
        trial::{Trial, is_moved_sink},
    },
    Rounded, Weights,
};

/// The widths of rounded weights in order of likelihood: the format whose noise stands for all of that width, and the formats of that
/// width that are rounded in a known way.
const WIDTHS: [(NumberFormat, &[NumberFormat]); 2] = [
    (NumberFormat::Int8, &[NumberFormat::Int8, NumberFormat::Q8_0]),
    (
        NumberFormat::Int4,
        &[NumberFormat::Nf4, NumberFormat::Q4_0, NumberFormat::Int4, NumberFormat::Fp4, NumberFormat::Q4_1],
    ),
];

/// The formats of weights that are rounded in a known way, in order of likelihood.
pub(crate) fn weights_known() -> impl Iterator<Item = NumberFormat> {
    WIDTHS.iter().flat_map(|(_, known)| known.iter().copied())
}

impl Inverter<'_> {
    /// Whether rounded weights explain the first states. They must verify the tokens of the first two open positions, and their states of
    /// these tokens must be nearer than those of the weights given.
    pub(super) fn explains(
        &self,
        rounded: &Rounded,
        target: &TargetStates,
        policy: &Policy,
        cost: &mut Cost,
    ) -> Result<bool, InvertError> {
        // Most weights are given up at the first position.
        for positions in 1..=ROUNDED_POSITIONS {
            let settings = self.trial(ROUNDED_CANDIDATES).with_computed_in(ComputedIn::Auto);
            let inverter = self.with_weights(rounded, settings);
            let beginning = beginning(target, positions);
            let inversion = inverter.invert(&beginning, &mut inverter.searcher(policy), &mut silent)?;
            cost.add_as_calibration(&inversion.cost);
            let verified = inversion.is_verified();
            if !verified
                || self.computes_exactly(target, &inversion)?
                || error(&rounded.decoder, target, &inversion)? >= error(self.decoder, target, &inversion)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the noise of rounding the weights to a format explains the first states: whether the evidence under that noise verifies
    /// tokens there, as near as it is long. Where wrong tokens fit too, it seldom verifies all of them, and it may verify none. So after a
    /// moved sink it is enough that the nearest tokens lie as near: the states of other models are as far from all tokens as different tokens
    /// are from each other.
    pub(super) fn are_near(
        &self,
        format: NumberFormat,
        target: &TargetStates,
        policy: &Policy,
        cost: &mut Cost,
    ) -> Result<bool, InvertError> {
        let settings = self.trial(CROWDED_FIRST).with_computed_in(ComputedIn::Format(format));
        let inverter = self.with_settings(settings)?.with_weights_as_given();
        let beginning = beginning(target, NEAR_POSITIONS);
        let inversion = inverter.invert(&beginning, &mut inverter.searcher(policy), &mut silent)?;
        cost.add_as_calibration(&inversion.cost);
        if self.computes_exactly(&beginning, &inversion)? {
            return Ok(false);
        }
        let Some(calibration) = inverter.calibration(format)? else { return Ok(false) };
        let first = target.given().len();
        let verified = inversion.positions.iter().filter(|position| position.verdict.is_verified());
        let are_verified = verified.count() >= NEAR_VERIFIED.min(beginning.positions() - first);
        let moved = calibration.moves_sink(first, target.state(first));
        let deviations = deviations(&calibration, &beginning, &inversion);
        let all_taken = !deviations.is_empty() && deviations.iter().all(Option::is_some);
        let taken: Vec<f64> = deviations.into_iter().flatten().collect();
        // NaN where no such position was taken.
        let mean = taken.iter().sum::<f64>() / taken.len() as f64;
        let is_longer = mean > LIKELY_DEVIATIONS;
        Ok((are_verified || (moved && all_taken)) && !is_longer)
    }

    /// The settings of a trial with few candidates.
    fn trial(&self, candidates: usize) -> Settings {
        let candidates = candidates.min(self.decoder.config().vocab_size);
        let settings = self.settings.clone().with_tap_check(TapCheck::Never).with_scan(Scan::AsNeeded);
        settings.with_budget(self.settings.budget.with_candidates(candidates))
    }
}

impl Recovery<'_, '_> {
    /// Doubts the weights, if nothing fits a first or second open position and no position before shows that they are the producer's. If a
    /// width of rounded weights explains the states, the recovery ends with the prompt that they give.
    ///
    /// Weights that are rounded in a known way have a sign of their own, so they are tried before the whole vocabulary is tested. Their
    /// noise is tried after that.
    pub(in crate::inverter) fn doubt_weights(
        &mut self,
        branches: &[Branch],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), InvertError> {
        let (inverter, target) = (self.comparison.inverter, self.comparison.target);
        let (Some(at), true) = (branches.first().map(|branch| branch.trial.at), nothing_fits(branches))
        else {
            return Ok(());
        };
        let tested = branches.iter().map(|branch| branch.trial.tested.len()).min().unwrap_or(0);
        let vocab_size = self.comparison.vocab_size();
        let is_first = at < target.given().len() + ROUNDED_POSITIONS;
        let doubts = inverter.settings.computed_in == ComputedIn::Auto && inverter.doubts_weights(target);
        let many = tested >= ROUNDED_CANDIDATES.min(vocab_size) && self.comparison.producer.is_some();
        if self.weights_doubted || !is_first || !doubts || !many || is_exact_before(branches, target) {
            return Ok(());
        }
        let left = self.comparison.watch.left();
        let budget = inverter.settings.budget.with_time(left);
        let inverter = inverter.with_settings(inverter.settings.clone().with_budget(budget))?;
        let mut found = None;
        let nearest = branches[0].trial.tested.ranking().nearest().map(|nearest| nearest.id);
        if self.rounded_at.is_none() || (tested >= vocab_size && nearest != self.rounded_at) {
            self.rounded_at = nearest;
            found = self.find_rounded(&inverter, &branches[0])?.map(Weights::Rounded);
        }
        if found.is_none() && tested >= vocab_size {
            self.weights_doubted = true;
            found = self.find_near(&inverter, branches)?.map(Weights::Near);
        }
        if let Some(weights) = found {
            inverter.know_weights(&weights);
            self.by_other_weights =
                Some(inverter.invert_by(&weights, target, self.searcher.policy(), progress)?);
        }
        Ok(())
    }

    /// Looks for weights rounded in a known way that explain the states. Only those are tried that bring some token much nearer. It need not
    /// be the right one: other weights move all attention sinks by about the same vector.
    fn find_rounded(
        &mut self,
        inverter: &Inverter<'_>,
        branch: &Branch,
    ) -> Result<Option<Rounded>, InvertError> {
        let (target, policy) = (self.comparison.target, self.searcher.policy());
        let Trial { at, tested, yardstick, .. } = &branch.trial;
        let Some(nearest) = tested.ranking().nearest() else { return Ok(None) };
        let near = tested.ranking().kept().iter().map(|near| near.id);
        let first = tested.sample().iter().take(ROUNDED_SAMPLE).map(|(id, _)| *id);
        let ids: Vec<u32> = near.chain(first).collect();
        for format in weights_known() {
            let rounded = inverter.rounded(format)?;
            let states = rounded.states_after(&branch.hypothesis.ids(), &ids, target)?;
            let distance = |state: &[f64]| yardstick.measure(state, target.state(*at)).distance;
            let moved = states.chunks(target.d_model()).map(distance).fold(f64::INFINITY, f64::min);
            if ROUNDED_NEARER * moved <= nearest.distance
                && inverter.explains(&rounded, target, policy, &mut self.comparison.cost)?
            {
                return Ok(Some(rounded));
            }
        }
        Ok(None)
    }

    /// Looks for a width of rounded weights whose noise explains the states.
    fn find_near(
        &mut self,
        inverter: &Inverter<'_>,
        branches: &[Branch],
    ) -> Result<Option<NumberFormat>, InvertError> {
        let (target, policy) = (self.comparison.target, self.searcher.policy());
        for (format, _) in WIDTHS {
            let Some(calibration) = self.calibration(format)? else { continue };
            let is_near = branches.iter().map(|branch| &branch.trial).any(|Trial { at, tested, .. }| {
                let state = target.state(*at);
                let yardstick = Yardstick::of_producer(calibration.of(*at, state), 0.0, target, *at);
                let nearest = tested.ranking().nearest();
                let moved = nearest.is_some_and(|nearest| is_moved_sink(nearest.distance, state));
                (moved && calibration.moves_sink(*at, state)) || tested.any_fits(&yardstick, state)
            });
            if is_near && inverter.are_near(format, target, policy, &mut self.comparison.cost)? {
                return Ok(Some(format));
            }
        }
        Ok(None)
    }
}

impl Rounded {
    /// The states of some tokens after a prefix, one after another.
    fn states_after(
        &self,
        prefix: &[u32],
        ids: &[u32],
        target: &TargetStates,
    ) -> Result<Vec<f64>, InvertError> {
        let mut cache = self.decoder.prefix_cache(1, target.sequence_len(), target.tap())?;
        if !prefix.is_empty() {
            self.decoder.extend(&mut cache, &TokenBatch::new(&[prefix])?, &[], Logits::None)?;
        }
        read(self.decoder.candidates(&cache, ids, target.tap())?)
    }
}

/// The states up to some open positions.
fn beginning(target: &TargetStates, open: usize) -> TargetStates {
    target.part((target.given().len() + open).min(target.positions()), target.given())
}

/// The number of standard deviations by which the noise of each ordinary open position lies above the usual one. None where no token was
/// taken.
fn deviations(calibration: &Calibration, target: &TargetStates, inversion: &Inversion) -> Vec<Option<f64>> {
    let open = inversion.positions.iter().skip(target.given().len());
    let ordinary = open.filter(|found| calibration.is_ordinary(found.position, target.state(found.position)));
    let deviation = |found: &Position| {
        let state = target.state(found.position);
        let taken = found.verdict.is_verified() || matches!(found.verdict, Verdict::Ambiguous { .. });
        let noise = calibration.of(found.position, state).noise;
        found.distance().filter(|_| taken).map(|distance| noise.deviations(distance / norm(state)))
    };
    ordinary.map(deviation).collect()
}

/// The sum of the squares of the distances from a decoder's states of recovered tokens, apart from those that were given.
fn error(decoder: &Decoder, target: &TargetStates, inversion: &Inversion) -> Result<f64, InvertError> {
    let states = TargetStates::of_prompt(decoder, target.tap(), &inversion.token_ids())?;
    let mut sum = 0.0;
    for position in target.given().len()..states.positions() {
        let mut state = states.state(position).to_vec();
        inversion.transformation.apply(&mut state, target.d_model());
        sum += state.iter().zip(target.state(position)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    }
    Ok(sum)
}
