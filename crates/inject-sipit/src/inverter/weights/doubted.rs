//! The doubt about the weights, where nothing fits a first or second position.

use crate::{
    error::InvertError,
    inversion::Verdict,
    models::{Logits, NumberFormat, TokenBatch},
    settings::ComputedIn,
    target::TargetStates,
    tensors::read,
    tuning::{ROUNDED_CANDIDATES, ROUNDED_NEARER, ROUNDED_POSITIONS, ROUNDED_SAMPLE},
    yardstick::Yardstick,
};

use super::{
    super::{
        Inverter,
        branch::Branch,
        calibrate::nothing_fits,
        exact::{is_exact_before, is_in_16_bits_before},
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

impl Recovery<'_, '_> {
    /// Doubts the weights, if nothing fits a first or second open position and no position before shows that they are the producer's. If a
    /// width of rounded weights explains the states, the recovery ends with the prompt that they give.
    ///
    /// Weights that are rounded in a known way have a sign of their own, so they are tried before the whole vocabulary is tested. Their
    /// noise is tried after that.
    pub(in crate::inverter) fn doubt_weights(&mut self, branches: &[Branch]) -> Result<(), InvertError> {
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
        if !is_first || !doubts || !many || is_exact_before(branches, target) {
            return Ok(());
        }
        let inverter = inverter.within(&self.comparison.watch);
        let progress = &mut { self.comparison.progress };
        // A second position may show the sign where the first, an attention sink, did not.
        let nearest = branches[0].trial.tested.ranking().nearest().map(|nearest| (at, nearest.id));
        let is_new = self.rounded_at.is_none_or(|(tried, _)| tried != at);
        if is_new || (tested >= vocab_size && nearest != self.rounded_at) {
            self.rounded_at = nearest;
            if let Some((rounded, computed_in)) = self.find_rounded(&inverter, &branches[0])? {
                let weights = Weights::Rounded(rounded.clone(), computed_in);
                let inversion = inverter.invert_by(&weights, target, self.searcher.policy(), progress)?;
                let failed = inversion.positions.iter().any(|found| found.verdict == Verdict::Failed);
                // If no state lies within computing noise, other weights of as many bits may have made these.
                if failed
                    && !inverter
                        .with_weights(&rounded, inverter.settings.clone())
                        .tells(target, &inversion, progress)?
                {
                    self.comparison.cost.add_as_calibration(&inversion.cost);
                    self.refuted = Some(inversion);
                } else {
                    inverter.know_weights(&weights);
                    self.by_other_weights = Some(inversion);
                    return Ok(());
                }
            }
        }
        if tested >= vocab_size && !self.weights_doubted {
            self.weights_doubted = true;
            self.by_other_weights = match self.find_near(&inverter, branches)?.map(Weights::Near) {
                Some(weights) => {
                    inverter.know_weights(&weights);
                    Some(inverter.invert_by(&weights, target, self.searcher.policy(), progress)?)
                }
                None => self.refuted.take(),
            };
        }
        Ok(())
    }

    /// Looks for weights rounded in a known way that explain the states. Only those are tried that bring some token much nearer. It need not
    /// be the right one: other weights move all attention sinks by about the same vector.
    fn find_rounded(
        &mut self,
        inverter: &Inverter<'_>,
        branch: &Branch,
    ) -> Result<Option<(Rounded, ComputedIn)>, InvertError> {
        let (target, policy, progress) =
            (self.comparison.target, self.searcher.policy(), &mut { self.comparison.progress });
        let Trial { at, tested, yardstick, .. } = &branch.trial;
        let Some(nearest) = tested.ranking().nearest() else { return Ok(None) };
        let near = tested.ranking().kept().iter().map(|near| near.id);
        let first = tested.sample().iter().take(ROUNDED_SAMPLE).map(|(id, _)| *id);
        let ids: Vec<u32> = near.chain(first).collect();
        for format in weights_known() {
            let rounded = inverter.rounded(format, progress)?;
            let states = rounded.states_after(&branch.hypothesis.ids(), &ids, target)?;
            let distance = |state: &[f64]| yardstick.measure(state, target.state(*at)).distance;
            let moved = states.chunks(target.d_model()).map(distance).fold(f64::INFINITY, f64::min);
            if ROUNDED_NEARER * moved > nearest.distance {
                continue;
            }
            let explained =
                inverter.explains(&rounded, target, policy, &mut self.comparison.cost, progress)?;
            if let Some(computed_in) = explained {
                return Ok(Some((rounded, computed_in)));
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
        let (target, policy, progress) =
            (self.comparison.target, self.searcher.policy(), &mut { self.comparison.progress });
        let in_16_bits = is_in_16_bits_before(branches, &self.comparison);
        for (format, _) in WIDTHS.iter().filter(|(format, _)| !in_16_bits || format.bits() > 4) {
            let Some(calibration) = self.calibration(*format)? else { continue };
            let is_near = branches.iter().map(|branch| &branch.trial).any(|Trial { at, tested, .. }| {
                let state = target.state(*at);
                let yardstick = Yardstick::of_producer(calibration.of(*at, state), 0.0, target, *at);
                let nearest = tested.ranking().nearest();
                let moved = nearest.is_some_and(|nearest| is_moved_sink(nearest.distance, state));
                (moved && calibration.moves_sink(*at, state)) || tested.any_fits(&yardstick, state)
            });
            if is_near && inverter.are_near(*format, target, policy, &mut self.comparison.cost, progress)? {
                return Ok(Some(*format));
            }
        }
        Ok(None)
    }
}

impl Rounded {
    /// The states of some tokens after a prefix, one after another, changed as the given states were.
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
        let mut states = read(self.decoder.candidates(&cache, ids, target.tap())?)?;
        target.transformation().apply(&mut states, target.d_model());
        Ok(states)
    }
}
