//! Positions that show how their states were computed: in f32, with the weights given.
//!
//! Derived in docs/numerics.md, section 7. The states of any other producer lie a thousand floors away.

use crate::{
    acceptance::{Acceptance, NoiseOrigin},
    calibration::Calibration,
    chance::is_enough_alone,
    collisions::norm,
    error::InvertError,
    hypothesis::Found,
    inversion::{Inversion, Kept, Position, Verdict},
    models::{FloatFormat, NumberFormat, Progress, Tap},
    target::TargetStates,
    tuning::LIKELY_DEVIATIONS,
    yardstick::Yardstick,
};

use super::{Inverter, branch::Branch, comparison::Comparison};

/// Whether a position before the open one lies within the floor of computing in f32 after some hypothesis, which no other producer
/// explains. Tokens that were given show nothing.
pub(super) fn is_exact_before(branches: &[Branch], target: &TargetStates) -> bool {
    let exact = |(_, found): (usize, &Found)| {
        let fits = !matches!(found.verdict, Verdict::Failed | Verdict::Open { .. });
        fits && found.kept.noise == NoiseOrigin::Computing && !found.weak
    };
    may_tell(target) && branches.iter().any(|branch| branch.hypothesis.found().any(exact))
}

/// Whether a position before the open one is verified as near as computing in 16 bits usually moves a state, which weights in 4 bits move
/// many times as far.
pub(super) fn is_in_16_bits_before(branches: &[Branch], comparison: &Comparison<'_>) -> bool {
    let Some(producer) = &comparison.producer else { return false };
    branches.iter().flat_map(|branch| branch.hypothesis.found()).any(|(at, found)| {
        found.verdict.is_verified()
            && is_in_16_bits(&producer.calibration, comparison.target, at, &found.kept)
    })
}

fn is_in_16_bits(calibration: &Calibration, target: &TargetStates, at: usize, kept: &Kept) -> bool {
    let state = target.state(at);
    matches!(calibration.format(), NumberFormat::Float(_))
        && kept.noise == NoiseOrigin::Producer
        && !calibration.is_partial_sink(at, state)
        && calibration.of(at, state).noise.deviations(kept.distance / norm(state)) <= LIKELY_DEVIATIONS
}

impl Inverter<'_> {
    /// Whether some state of a prompt that these weights explain is as near as computing in f32 or in bf16 usually moves it.
    pub(super) fn tells(
        &self,
        target: &TargetStates,
        inversion: &Inversion,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<bool, InvertError> {
        let calibration = self.calibration(FloatFormat::Bf16.into(), progress)?;
        let verified = inversion.positions.iter().filter(|found| found.verdict.is_verified());
        let mut kept = verified.filter_map(|found| Some((found.position, found.kept.as_ref()?)));
        Ok(kept.any(|(at, kept)| {
            kept.noise == NoiseOrigin::Computing
                || calibration.as_ref().is_some_and(|bf16| is_in_16_bits(bf16, target, at, kept))
        }))
    }

    /// Whether the weights given compute some state of a prompt exactly, although other weights or noise explained the prompt.
    pub(super) fn computes_exactly(
        &self,
        target: &TargetStates,
        inversion: &Inversion,
    ) -> Result<bool, InvertError> {
        let ids: Vec<u32> = inversion.positions.iter().map_while(Position::token_id).collect();
        if !may_tell(target) || ids.len() <= target.given().len() {
            return Ok(false);
        }
        let (vocab_size, states) =
            (self.decoder.config().vocab_size, TargetStates::of_prompt(self.decoder, self.tap, &ids)?);
        Ok((target.given().len()..ids.len()).any(|at| {
            let mut computed = states.state(at).to_vec();
            target.transformation().apply(&mut computed, target.d_model());
            let yardstick = Yardstick::new(Acceptance::default(), &self.noise, target, at, None);
            let measured = yardstick.measure(&computed, target.state(at));
            measured.fits
                && is_enough_alone(&yardstick, target.state(at), measured.distance, None, vocab_size)
        }))
    }
}

/// Whether a fit within the floor of computing shows how the producer computed. Embeddings are the same whatever computes after them,
/// the floor of a 16-bit file holds its rounding, and that of states that were multiplied holds the error of the factor.
fn may_tell(target: &TargetStates) -> bool {
    target.tap() != Tap::Embedding && target.transformation().error() == 0.0 && target.grid().is_none()
}
