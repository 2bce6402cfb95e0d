//! The evidence that other weights than those given made the first states of a prompt.

use crate::{
    calibration::Calibration,
    collisions::norm,
    cost::Cost,
    error::InvertError,
    inversion::{Inversion, Position, Verdict},
    models::{Decoder, FloatFormat, NumberFormat, Progress},
    policy::Policy,
    settings::{ComputedIn, Scan, Settings, TapCheck},
    target::TargetStates,
    tuning::{
        CROWDED_FIRST, LIKELY_DEVIATIONS, NEAR_POSITIONS, NEAR_VERIFIED, ROUNDED_CANDIDATES,
        ROUNDED_POSITIONS,
    },
};

use super::{super::Inverter, Rounded};

impl Inverter<'_> {
    /// Whether rounded weights explain the first states. They must verify the tokens of the first two open positions, and their states of
    /// these tokens must be nearer than those of the weights given. Returns the setting of the format under which they do.
    ///
    /// States on the grid of a 16-bit format say themselves that they have its noise. Others are compared as computed in f32 first, and
    /// then under the noise of bf16: a program that rounds activations too, or embeddings, writes states of no grid.
    pub(super) fn explains(
        &self,
        rounded: &Rounded,
        target: &TargetStates,
        policy: &Policy,
        cost: &mut Cost,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<ComputedIn>, InvertError> {
        for computed_in in [ComputedIn::Auto, ComputedIn::Format(FloatFormat::Bf16.into())] {
            if self.explains_in(rounded, computed_in, target, policy, cost, progress)? {
                return Ok(Some(computed_in));
            }
            if target.grid().is_some() {
                break;
            }
        }
        Ok(None)
    }

    fn explains_in(
        &self,
        rounded: &Rounded,
        computed_in: ComputedIn,
        target: &TargetStates,
        policy: &Policy,
        cost: &mut Cost,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<bool, InvertError> {
        // Most weights are given up at the first position.
        for positions in 1..=ROUNDED_POSITIONS {
            let settings = self.trial(ROUNDED_CANDIDATES).with_computed_in(computed_in);
            let inverter = self.with_weights(rounded, settings);
            let beginning = beginning(target, positions);
            let inversion = inverter.invert(&beginning, &mut inverter.searcher(policy), progress)?;
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
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<bool, InvertError> {
        let settings = self.trial(CROWDED_FIRST).with_computed_in(ComputedIn::Format(format));
        let inverter = self.with_settings(settings)?.with_weights_as_given();
        let beginning = beginning(target, NEAR_POSITIONS);
        let inversion = inverter.invert(&beginning, &mut inverter.searcher(policy), progress)?;
        cost.add_as_calibration(&inversion.cost);
        if self.computes_exactly(&beginning, &inversion)? {
            return Ok(false);
        }
        let Some(calibration) = inverter.calibration(format, progress)? else { return Ok(false) };
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        calibration::LogNormal,
        models::{Tap, silent},
    };

    #[test]
    fn noise_of_rounded_weights_explains_tokens_up_to_two_deviations_away() {
        let (tap, format, prompt) = (Tap::Block(1), NumberFormat::Int4, [11, 5, 63, 30]);
        let decoder = inject_testing::models::random("llama", 31, &Device::flex());
        let exact = TargetStates::of_prompt(&decoder, tap, &prompt).unwrap();
        let mut states = exact.states().to_owned();
        let width = (states.ncols() as f64).sqrt();
        for (at, mut row) in states.outer_iter_mut().enumerate() {
            let length = 0.1 * norm(exact.state(at)) / width;
            let signs = (0..).map(|i| if (i * i + i / 3 + at * i) % 2 == 0 { 1.0 } else { -1.0 });
            row.iter_mut().zip(signs).for_each(|(value, sign)| *value += sign * length);
        }
        let target = TargetStates::new(states, tap, FloatFormat::F64).unwrap();
        let inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
        let measured = Calibration::clone(&inverter.calibration(format, &mut silent).unwrap().unwrap());
        let logarithm = |at: usize| {
            let (state, computed) = (target.state(at), exact.state(at));
            let error: Vec<f64> = state.iter().zip(computed).map(|(a, b)| a - b).collect();
            (measured.of(at, state).length(&error) / norm(state)).ln()
        };
        let mean = (1..prompt.len()).map(logarithm).sum::<f64>() / (prompt.len() - 1) as f64;
        let are_near = |deviations: f64| {
            let noise = LogNormal { mean: mean - deviations * 0.2, spread: 0.2 };
            inverter.know(measured.clone().expecting(1e6, noise));
            inverter.are_near(format, &target, &Policy::new(), &mut Cost::default(), &mut silent).unwrap()
        };
        let near = [0.0, 1.9, 2.1, 4.0].map(are_near);
        assert_eq!(near, [true, true, false, false]);
    }
}
