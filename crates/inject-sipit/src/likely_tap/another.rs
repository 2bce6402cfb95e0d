//! The tap of states that were called those of another.

use std::time::Instant;

use ndarray::s;

use super::{
    attempts::{Attempts, rounds},
    trial::{Trial, Trialled},
};
use crate::{
    acceptance::Acceptance,
    error::InvertError,
    models::{Decoder, Progress, Tap},
    settings::Settings,
    target::TargetStates,
    transformation::Transformation,
};

/// Finds another tap at which a token fits the first state that is not given. None if `own` is the likeliest, or nothing fits before
/// the time `until`.
pub(crate) fn another_tap(
    decoder: &Decoder,
    target: &TargetStates,
    begins: Option<u32>,
    settings: &Settings,
    most: usize,
    until: Option<Instant>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<Tap>, InvertError> {
    let (given, at, own) = (target.given(), target.given().len(), target.tap());
    let first = target.states().slice(s![at..=at, ..]).to_owned();
    let trial = Trial { decoder, first, dtype: target.dtype(), given, begins, settings, until };
    let samples = trial.samples()?;
    let change = target.transformation();
    let scalable =
        *change == Transformation::None && matches!(settings.acceptance, Acceptance::NoiseFloor { .. });
    let mut attempts = Attempts::new(&trial);
    let rounds = rounds(decoder.config().vocab_size);
    for (round, &candidates) in rounds.iter().enumerate() {
        let is_last = round + 1 == rounds.len();
        let direction = (scalable && is_last).then_some(&Transformation::Direction);
        for change in std::iter::once(change).chain(direction) {
            let ranked = trial.ranked(&samples, change)?;
            for tap in ranked.into_iter().take_while(|tap| *tap != own).take(most) {
                if trial.is_up() {
                    return Ok(None);
                }
                // Noise lets a token fit at several taps by its direction.
                if let Trialled::Fits(fit) = attempts.fits(tap, change, candidates, progress)?
                    && (fit.is_exact || change == target.transformation())
                {
                    return Ok(Some(tap));
                }
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{FloatFormat, silent};
    use inject_testing::models::random;

    #[test]
    fn another_tap_is_looked_for_until_the_time_is_up() {
        let device = inject_testing::compiled().swap_remove(0);
        let decoder = random("llama", 31, &device);
        let states = TargetStates::of_prompt(&decoder, Tap::Block(1), &[5, 41, 7]).unwrap();
        let target = TargetStates::new(states.states().to_owned(), Tap::Block(2), FloatFormat::F32).unwrap();
        let found =
            |until| another_tap(&decoder, &target, None, &Settings::new(), 3, until, &mut silent).unwrap();
        assert_eq!(found(None), Some(Tap::Block(1)));
        assert_eq!(found(Some(Instant::now())), None);
    }
}
