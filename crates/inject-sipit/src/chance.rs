//! The number of untested tokens that fit by chance.

use crate::{
    calibration::LogNormal,
    sources::Tested,
    tuning::{
        CHANCE_DIMENSIONS, CHANCE_MARGIN, CHANCE_MOST, CHANCE_NEGLIGIBLE, CHANCE_OF_OUTLIER, CHANCE_OF_TWIN,
        CHANCE_SAMPLE, CHANCE_SINK_DIMENSIONS, CHANCE_SINK_MARGIN, CHANCE_UNSAMPLED, DUPLICATE_WITHIN,
        NEIGHBOURS_SAMPLE, NEIGHBOURS_TESTED,
    },
    yardstick::Yardstick,
};

/// The quantities that chance depends on.
pub(crate) enum Basis {
    /// Wrong tokens are taken to be no denser near the state than at a known distance.
    Volume(Volume),
    /// The distance to the nearest wrong tokens was measured, with the noise of the producer.
    Twins {
        /// The distance within which a candidate fits.
        floor: f64,
        /// The norm of the state.
        length: f64,
        /// The length of the noise, relative to the norm.
        noise: LogNormal,
        /// The distance to the token with the nearest embedding, relative to the norm.
        margin: LogNormal,
    },
    /// Nothing is known of wrong tokens but the distances of those that were tested.
    Tested {
        /// The factor by which all of them must be farther than the nearest.
        apart: f64,
    },
}

/// Wrong tokens are taken to be no denser near a state than at the distance `R` of the nearest one.
///
/// So of `V` tokens at most `V (F / R)^k` lie within the floor `F`, in `k` dimensions: the number of known coordinates, at most 12.
/// `R` is a tenth of the state's length, or the distance of another token that was tested, if that is less. Once enough candidates are
/// tested, the nearest one that does not fit may also stand for the untested ones. At an attention sink states lie nearer to each
/// other, and along few dimensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Volume {
    /// The distance within which a candidate fits.
    pub(crate) floor: f64,
    /// The length of the state, measured as distances are.
    pub(crate) length: f64,
    /// The number of coordinates that are known.
    pub(crate) known: usize,
    /// Whether the state may be an attention sink.
    pub(crate) sink: bool,
}

impl Volume {
    /// The distance at which the nearest wrong token is expected.
    fn margin(&self) -> f64 {
        self.length * if self.sink { CHANCE_SINK_MARGIN } else { CHANCE_MARGIN }
    }

    /// The number of tokens, out of so many, that are expected within a distance if one lies at `radius`.
    fn expected(&self, distance: f64, radius: f64, tokens: f64) -> f64 {
        tokens * (distance / radius).powi(self.known.min(CHANCE_DIMENSIONS) as i32)
    }

    /// The distance of the nearest wrong token, if it is not at the expected margin divided by `nearer` but where a tested token lies.
    fn radius(&self, nearer: f64, other: Option<f64>) -> f64 {
        (self.margin() / nearer).min(other.unwrap_or(f64::INFINITY))
    }

    /// The distance of the nearest tested token that does not fit.
    fn wrong(&self, tested: &Tested) -> Option<f64> {
        let kept = tested.ranking().kept();
        Some(kept.iter().find(|ranked| ranked.distance > self.floor)?.distance)
    }

    /// The number of untested tokens that are expected to fit, if the nearest tested token that does not fit is typical of all. Infinite
    /// if few were tested.
    fn expected_by_sample(&self, tested: &Tested, untested: f64) -> f64 {
        let wrong = self.wrong(tested);
        let Some(wrong) = wrong.filter(|_| tested.len() >= CHANCE_SAMPLE) else { return f64::INFINITY };
        let most = if self.sink { CHANCE_SINK_DIMENSIONS } else { CHANCE_DIMENSIONS };
        let power = self.known.min(most) as i32;
        untested / tested.len() as f64 * (self.floor / wrong).powi(power)
    }
}

/// The tokens that have to be tested beside one that fits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Beside {
    /// Those whose embeddings are equal or nearly so: within this share of an embedding's length.
    Duplicates { within: f64 },
    /// Those whose embeddings lie so near that measured margins do not hold for them.
    Twins,
    /// These, and those with the nearest embeddings.
    Neighbours,
}

/// Returns the tokens that have to be tested before one that fits at this distance counts as the right one.
pub(crate) fn beside(
    yardstick: &Yardstick,
    state: &[f64],
    distance: f64,
    tested: &Tested,
    others: Others,
) -> Beside {
    match yardstick.basis(state) {
        Basis::Volume(volume) => {
            let wrong = volume.wrong(tested);
            let share = volume.floor / volume.radius(1.0, wrong).max(f64::MIN_POSITIVE);
            let radius = volume.radius(others.nearer(volume.known), wrong);
            if share <= CHANCE_NEGLIGIBLE {
                Beside::Duplicates { within: DUPLICATE_WITHIN * share }
            } else if volume.expected(volume.floor, radius, others.vocab_size as f64) <= CHANCE_MOST {
                Beside::Twins
            } else {
                Beside::Neighbours
            }
        }
        // A token that is so near that its distance is evidence by itself.
        _ if yardstick.is_likely(distance)
            && is_enough_alone(yardstick, state, distance, None, others.vocab_size) =>
        {
            Beside::Twins
        }
        _ => Beside::Neighbours,
    }
}

/// Returns the factor that takes the place of `factor`, as a ratio of distances, where so many coordinates are known.
///
/// By the volumes of balls, the nearest of many wrong tokens in `k` dimensions is nearer than the next by a factor `f` with the chance
/// `f^-k`. With fewer than [`CHANCE_DIMENSIONS`] known coordinates the factor must be larger for the same chance.
pub(crate) fn separation(factor: f64, known: usize) -> f64 {
    factor.powf(CHANCE_DIMENSIONS as f64 / known.clamp(1, CHANCE_DIMENSIONS) as f64)
}

/// Whether one fit at this distance is enough evidence, even if the prefix may be wrong. After a wrong prefix all tokens are wrong,
/// the tested ones too. `other` is the distance of the nearest other token tested.
pub(crate) fn is_enough_alone(
    yardstick: &Yardstick,
    state: &[f64],
    distance: f64,
    other: Option<f64>,
    vocab_size: usize,
) -> bool {
    match yardstick.basis(state) {
        Basis::Tested { .. } => false,
        Basis::Twins { length, noise, margin, .. } => {
            margin.chance_within(distance / length) <= chance_allowed(noise, distance / length)
        }
        Basis::Volume(volume) => {
            volume.expected(distance, volume.radius(1.0, other), vocab_size as f64) <= CHANCE_MOST
        }
    }
}

/// The chance of a wrong token at a distance, up to which the nearest one counts as the right one. If noise seldom reaches that far, a
/// wrong token is the better explanation, so the chance is compared with that of the noise. That is taken to be one in a hundred at least:
/// some states have more noise than those of the calibration.
fn chance_allowed(noise: LogNormal, distance: f64) -> f64 {
    CHANCE_OF_TWIN * noise.chance_beyond(distance).max(CHANCE_OF_OUTLIER)
}

/// The distance at which the states of wrong tokens lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nearness {
    /// At the usual distance of different tokens after one prefix.
    Usual,
    /// Nearer, because values are compared in their order of size: by the square root of the number of coordinates.
    Sorted,
    /// Unknown, because candidates differ in the token before, not in that of the state. Only the tokens tested show it.
    OfNext,
}

/// The number of states that might fit by chance beside the one that does, and how near they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others {
    pub(crate) vocab_size: usize,
    /// The number of places that the state might have had.
    pub(crate) places: usize,
    pub(crate) nearness: Nearness,
}

impl Others {
    /// The factor by which wrong tokens may lie nearer than at their usual distance.
    fn nearer(self, known: usize) -> f64 {
        match self.nearness {
            Nearness::Usual => 1.0,
            Nearness::Sorted => (known as f64).sqrt(),
            Nearness::OfNext => f64::INFINITY,
        }
    }
}

/// The expected number of untested tokens as near to the nearest tested one as that is to the given state, if the distance between it and
/// the next tested one is typical of all. The noise is nearly orthogonal to differences of tokens, so squares of distances are
/// subtracted. Infinite if few were tested.
fn chance_by_sample(tested: &Tested, nearest: f64, untested: f64) -> f64 {
    let next = tested.ranking().kept().iter().find(|ranked| ranked.distance > nearest);
    let Some(next) = next.filter(|_| tested.len() >= NEIGHBOURS_SAMPLE) else { return f64::INFINITY };
    let apart = (next.distance.powi(2) - nearest.powi(2)).sqrt();
    untested / tested.len() as f64 * (nearest / apart).powi(CHANCE_DIMENSIONS as i32)
}

/// Whether the nearest of the tested tokens lies so much nearer than all others, among them its neighbours, that no untested one is expected
/// there.
fn is_alone(tested: &Tested, apart: f64) -> bool {
    let ranking = tested.ranking();
    let nearest = ranking.nearest().zip(ranking.runner_up());
    tested.len() > NEIGHBOURS_TESTED
        && nearest.is_some_and(|(nearest, other)| other.distance >= apart * nearest.distance)
}

/// Whether the fit of one token is enough evidence that no untested token fits.
pub(crate) fn is_enough(yardstick: &Yardstick, state: &[f64], tested: &Tested, others: Others) -> bool {
    let Others { vocab_size, places, nearness } = others;
    if tested.len() >= vocab_size {
        return true;
    }
    let untested = (vocab_size - tested.len()) as f64 * places as f64;
    match yardstick.basis(state) {
        // Margins and neighbours are those of a token's own states.
        Basis::Twins { .. } | Basis::Tested { .. } if nearness != Nearness::Usual => false,
        Basis::Tested { apart } => is_alone(tested, apart),
        Basis::Twins { floor, length, noise, margin } => {
            // If the accepted token is wrong, the right one is at most this far from it: the noise is nearly orthogonal to their
            // difference.
            let nearest = tested.fitting().first().map_or(floor, |nearest| nearest.distance);
            let allowed = chance_allowed(noise, nearest / length);
            margin.chance_within(nearest / length) <= allowed
                || chance_by_sample(tested, nearest, untested) <= allowed
        }
        Basis::Volume(volume) => {
            // The expected margin is that of trained models. Where the floor is not far below it, tested tokens have to confirm it.
            let is_confirmed =
                volume.floor <= CHANCE_UNSAMPLED * volume.margin() || tested.len() >= CHANCE_SAMPLE;
            let radius = volume.radius(others.nearer(volume.known), volume.wrong(tested));
            is_confirmed && volume.expected(volume.floor, radius, untested) <= CHANCE_MOST
                || volume.expected_by_sample(tested, untested) <= CHANCE_MOST
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::{
        Acceptance, NoiseModel, TargetStates,
        models::{FloatFormat, Tap},
    };

    /// One token at a distance of 0.1 from a state, and others beyond `away`.
    fn tested(others: u32, away: f64) -> Tested {
        let state = [1.0, 1.0];
        let states = Array2::from_shape_vec((1, 2), state.to_vec()).unwrap();
        let target = TargetStates::new(states, Tap::Block(1), FloatFormat::F64).unwrap();
        let yardstick = Yardstick::new(Acceptance::default(), &NoiseModel::exactly(1e-9), &target, 0, None);
        let mut tested = Tested::new();
        tested.compare(0, &[1.0, 1.1], &yardstick, &state);
        for id in 1..=others {
            tested.compare(id, &[1.0, 1.0 + away + 1e-6 * f64::from(id)], &yardstick, &state);
        }
        tested
    }

    #[test]
    fn a_distance_that_noise_seldom_reaches_asks_for_more() {
        // Measured on SmolLM2-135M at block-29 in bf16: the right tokens lay at a hundredth of the norm, and wrong ones at a tenth.
        let noise = LogNormal { mean: -4.3, spread: 0.51 };
        let margin = LogNormal { mean: -1.28, spread: 0.37 };
        let is_enough = |distance: f64| margin.chance_within(distance) <= chance_allowed(noise, distance);
        assert!(is_enough(0.01) && is_enough(0.04));
        assert!(margin.chance_within(0.085) <= CHANCE_OF_TWIN && !is_enough(0.085));
    }

    #[test]
    fn a_sample_is_evidence_if_it_is_large_and_the_next_token_far() {
        let chance = |others, away| {
            let tested = tested(others, away);
            chance_by_sample(&tested, tested.ranking().nearest().unwrap().distance, 48_000.0)
        };
        // 48,000 / 512 (0.1 / sqrt(0.3^2 - 0.1^2))^12 is 3.6e-4.
        let far = chance(511, 0.3);
        assert!((3.4e-4..3.7e-4).contains(&far), "{far}");
        assert!(far <= CHANCE_OF_TWIN && chance(511, 0.2) > CHANCE_OF_TWIN);
        assert_eq!(chance(510, 0.3), f64::INFINITY);
    }

    #[test]
    fn at_a_partial_sink_the_tested_tokens_are_evidence_if_they_are_far() {
        // The noise across the sink is 1, and the next token lies `away`.
        let is_enough = |others: u32, away: f64| {
            // As wide as factors need at least.
            let wide = |begin: [f64; 3]| [&begin[..], &[0.0; CHANCE_DIMENSIONS - 3]].concat();
            let states = [wide([24_000.0, 0.0, 0.0]), wide([8_000.0, 0.0, 50.0])].concat();
            let states = Array2::from_shape_vec((2, CHANCE_DIMENSIONS), states).unwrap();
            let target = TargetStates::new(states, Tap::Block(1), FloatFormat::Bf16).unwrap();
            let (yardstick, state) = (Yardstick::across_sink(&target, 1), target.state(1));
            let mut tested = Tested::new();
            tested.compare(0, &wide([5_000.0, 1.0, 50.0]), &yardstick, state);
            for id in 1..=others {
                tested.compare(id, &wide([8_000.0, 0.0, 49.0 + away + f64::from(id)]), &yardstick, state);
            }
            let others = Others { vocab_size: 49_152, places: 1, nearness: Nearness::Usual };
            is_enough(&yardstick, state, &tested, others)
        };
        assert!(is_enough(64, 8.1) && !is_enough(64, 7.9) && !is_enough(63, 40.0));
    }

    #[test]
    fn few_coordinates_ask_for_larger_factors() {
        assert_eq!([12, 128].map(|known| separation(2.0, known)), [2.0, 2.0]);
        // A factor of 2 in 12 dimensions has the chance 2^-12, as one of 16 has in three.
        assert!((separation(2.0, 3) - 16.0).abs() < 1e-12);
    }
}
