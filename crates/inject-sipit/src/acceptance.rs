//! The rule by which a candidate counts as the token.

use std::sync::Arc;

use crate::{
    calibration::PlaceNoise,
    chance::Basis,
    collisions::{distance, norm, weighted_distance},
    error::InvertError,
    noise::NoiseModel,
    target::TargetStates,
    tuning::{MARGIN_DEVIATIONS, NOISE_DEVIATIONS, PARTIAL_SINK_FLOOR, SEPARATED, SEPARATED_ALONE},
};

/// The rule by which a candidate's state counts as the given state.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Acceptance {
    /// Within the noise of this very position: the noise of computing (measured), the rounding of each coordinate to the number
    /// format (known), and noise added on purpose, at most `added` in L2.
    NoiseFloor {
        /// Upper bound on the L2 norm of noise added to every state: 0 for states as they were computed.
        added: f64,
    },
    /// Within one fixed L2 distance, whatever the model, tap and position: the paper's verifier.
    ///
    /// # Source
    ///
    /// arXiv 2510.15511, Definition D.2. No value is given there.
    Ball {
        /// The largest accepted distance, in L2.
        epsilon: f64,
    },
    /// `|candidate - state| <= atol + rtol |state|` in every coordinate: the rule of the published code, which uses 1e-5 for both.
    ///
    /// # Source
    ///
    /// PyTorch, `torch.allclose`; github.com/giorgosnikolaou/SIPIT (`is_match`).
    AllClose {
        /// The accepted difference, as a share of the coordinate.
        rtol: f64,
        /// The accepted difference of a coordinate that is zero.
        atol: f64,
    },
}

impl Default for Acceptance {
    fn default() -> Self {
        Acceptance::NoiseFloor { added: 0.0 }
    }
}

impl Acceptance {
    /// Checks that every bound is finite and not negative.
    pub(crate) fn check(self) -> Result<(), InvertError> {
        let bounds = match self {
            Acceptance::NoiseFloor { added } => vec![added],
            Acceptance::Ball { epsilon } => vec![epsilon],
            Acceptance::AllClose { rtol, atol } => vec![rtol, atol],
        };
        match bounds.into_iter().find(|bound| !(bound.is_finite() && *bound >= 0.0)) {
            None => Ok(()),
            Some(found) => Err(InvertError::Tolerance { found }),
        }
    }
}

/// The distance from one state, and the largest distance that the true token's state can have.
///
/// With the computing noise `c` bounded by `C` in L2 and the rounding of coordinate `i` by `r_i`, coordinates are weighted by
/// `w_i = min_j s_j / s_i`, where `s_i = sqrt(C^2 / d + r_i^2)`. All weights are at most 1, so the true candidate's weighted
/// distance is at most `C + sqrt(sum (w_i r_i)^2)`: the floor. Equal noise gives equal weights of 1, plain L2.
#[derive(Clone, Debug)]
pub(crate) struct Yardstick {
    metric: Metric,
    rule: Rule,
    origin: NoiseOrigin,
}

/// The measure of a difference between two states.
#[derive(Clone, Debug)]
enum Metric {
    /// The L2 norm of the difference.
    Plain,
    /// A weight for each coordinate.
    Weighted(Vec<f64>),
    /// The directions of a producer's noise count less, and coordinates that exceeded the format not at all.
    Damped { place: Arc<PlaceNoise>, unknown: Vec<usize> },
    /// The direction of an attention sink does not count, and coordinates that exceeded the format do not either.
    Across { sink: Vec<f64>, unknown: Vec<usize> },
}

/// The origin of the bound within which a candidate fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoiseOrigin {
    /// The measured noise of computing, the known rounding, and noise that the user bounded.
    Computing,
    /// The noise of a producer that computes in another format: estimated from the model, and from the positions settled before.
    Producer,
    /// A rule of the user's own.
    Rule,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Within(f64),
    /// Within a distance, and within a multiple of the distance of the nearest.
    Nearest {
        floor: f64,
        ratio: f64,
        /// The distance from which on wrong tokens are expected.
        wrong: f64,
    },
    AllClose {
        rtol: f64,
        atol: f64,
    },
}

/// The distance of one candidate's state from the given state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) distance: f64,
    pub(crate) fits: bool,
}

impl Yardstick {
    /// The yardstick of one position. `seen` is the distance between two computations of the candidate in question, or 0.
    pub(crate) fn new(
        acceptance: Acceptance,
        noise: &NoiseModel,
        target: &TargetStates,
        position: usize,
        seen: f64,
    ) -> Self {
        let rounding: Vec<f64> = target.roundings(position).collect();
        let added = match acceptance {
            Acceptance::NoiseFloor { added } => added,
            Acceptance::Ball { epsilon } => return Yardstick::fixed(Rule::Within(epsilon), &rounding),
            Acceptance::AllClose { rtol, atol } => {
                return Yardstick::fixed(Rule::AllClose { rtol, atol }, &rounding);
            }
        };
        let state = target.state(position);
        let relative = target.transformation().error();
        let bound =
            noise.bound(norm(state), seen) + target.in_units(position, added) + relative * norm(state);
        let spread = bound / (state.len() as f64).sqrt();
        let scale = |r: &f64| (r * r + spread * spread).sqrt();
        let (quietest, loudest) = rounding
            .iter()
            .map(scale)
            .fold((f64::INFINITY, 0.0_f64), |(least, most), scale| (least.min(scale), most.max(scale)));
        // Weights within a hundredth of each other are equal for every purpose, and plain L2 is easier to read. The weights of a state
        // of zeros are equal too: no coordinate has noise.
        if quietest >= 0.99 * loudest {
            let rule = Rule::Within(bound + norm(&rounding));
            return Yardstick { metric: Metric::Plain, rule, origin: NoiseOrigin::Computing };
        }
        let weights: Vec<f64> = rounding.iter().map(|r| quietest / scale(r)).collect();
        // A coordinate that exceeded its format has no weight and adds nothing.
        let known = rounding.iter().zip(&weights).filter(|(_, weight)| **weight > 0.0);
        let rounded = known.map(|(r, w)| (r * w).powi(2)).sum::<f64>().sqrt();
        let rule = Rule::Within(bound + rounded);
        Yardstick { metric: Metric::Weighted(weights), rule, origin: NoiseOrigin::Computing }
    }

    /// The yardstick of one position under the noise of a producer. `shift` is the logarithm by which the noise of this prompt
    /// exceeds that of the calibration.
    ///
    /// The floor lies [`NOISE_DEVIATIONS`] standard deviations above the typical noise; higher, half-way to the nearest wrong
    /// tokens, where those are far away.
    pub(crate) fn of_producer(
        place: &Arc<PlaceNoise>,
        shift: f64,
        target: &TargetStates,
        position: usize,
    ) -> Self {
        let state = target.state(position);
        let noise = place.noise.above(NOISE_DEVIATIONS) * shift.exp();
        let wrong = place.margin.above(-MARGIN_DEVIATIONS);
        let floor = norm(state) * if noise < wrong { (noise * wrong).sqrt() } else { noise };
        let rule = Rule::Nearest { floor, ratio: SEPARATED, wrong: norm(state) * wrong };
        let metric = Metric::Damped { place: place.clone(), unknown: beyond_format(target, position) };
        Yardstick { metric, rule, origin: NoiseOrigin::Producer }
    }

    /// The yardstick of a later position that is an attention sink in part. Noise moves such a state along the direction of the first
    /// state by up to half its length, so that direction is left out. The noise across it is not known, so the floor is wide, and
    /// only a test of the whole vocabulary verifies such a position.
    pub(crate) fn across_sink(target: &TargetStates, position: usize) -> Self {
        let (state, first) = (target.state(position), target.state(0));
        let length = norm(first);
        let sink = first.iter().map(|value| value / length).collect();
        let (floor, wrong) = (PARTIAL_SINK_FLOOR * norm(state), f64::INFINITY);
        let rule = Rule::Nearest { floor, ratio: SEPARATED_ALONE, wrong };
        let metric = Metric::Across { sink, unknown: beyond_format(target, position) };
        Yardstick { metric, rule, origin: NoiseOrigin::Producer }
    }

    /// The same yardstick with a floor that just admits this distance.
    pub(crate) fn admitting(mut self, distance: f64) -> Self {
        self.rule = Rule::Nearest { floor: distance, ratio: SEPARATED, wrong: f64::INFINITY };
        self
    }

    /// Whether wrong tokens are expected within the floor, so that a fit says little.
    pub(crate) fn is_crowded(&self) -> bool {
        matches!(self.rule, Rule::Nearest { floor, wrong, .. } if floor >= wrong)
    }

    /// The origin of its bound.
    pub(crate) fn origin(&self) -> NoiseOrigin {
        self.origin
    }

    /// Returns the factor by which a candidate may lie farther than the nearest and still fit. None if the rule has no factor.
    pub(crate) fn ratio(&self) -> Option<f64> {
        match self.rule {
            Rule::Nearest { ratio, .. } => Some(ratio),
            Rule::Within(_) | Rule::AllClose { .. } => None,
        }
    }

    /// A rule that does not depend on noise. A coordinate that exceeded its format is left out, because nothing is known of it.
    fn fixed(rule: Rule, rounding: &[f64]) -> Self {
        let weight = |r: &f64| if r.is_finite() { 1.0 } else { 0.0 };
        let all_known = rounding.iter().all(|r| r.is_finite());
        let metric = match all_known {
            true => Metric::Plain,
            false => Metric::Weighted(rounding.iter().map(weight).collect()),
        };
        Yardstick { metric, rule, origin: NoiseOrigin::Rule }
    }

    /// Whether distances are plain L2.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.metric, Metric::Plain)
    }

    /// Whether a coordinate is known.
    fn knows(&self, coordinate: usize) -> bool {
        match &self.metric {
            Metric::Plain => true,
            Metric::Weighted(weights) => weights[coordinate] > 0.0,
            Metric::Damped { unknown, .. } | Metric::Across { unknown, .. } => !unknown.contains(&coordinate),
        }
    }

    /// The weights of the coordinates, if the measure is L2 with such weights.
    pub(crate) fn weights(&self, d_model: usize) -> Option<Vec<f64>> {
        match &self.metric {
            Metric::Plain => Some(vec![1.0; d_model]),
            Metric::Weighted(weights) => Some(weights.clone()),
            Metric::Damped { .. } | Metric::Across { .. } => None,
        }
    }

    /// Measures the distance of a candidate's state from the given state.
    pub(crate) fn measure(&self, candidate: &[f64], state: &[f64]) -> Measured {
        let distance = match &self.metric {
            Metric::Plain => distance(candidate, state),
            Metric::Weighted(weights) => weighted_distance(candidate, state, weights),
            Metric::Damped { place, unknown } => {
                let mut difference: Vec<f64> = candidate.iter().zip(state).map(|(c, s)| c - s).collect();
                unknown.iter().for_each(|&coordinate| difference[coordinate] = 0.0);
                place.length(&difference)
            }
            Metric::Across { sink, unknown } => {
                let mut difference: Vec<f64> = candidate.iter().zip(state).map(|(c, s)| c - s).collect();
                unknown.iter().for_each(|&coordinate| difference[coordinate] = 0.0);
                let along: f64 = difference.iter().zip(sink).map(|(d, s)| d * s).sum();
                (difference.iter().map(|d| d * d).sum::<f64>() - along * along).max(0.0).sqrt()
            }
        };
        let fits = match self.rule {
            Rule::Within(floor) | Rule::Nearest { floor, .. } => distance <= floor,
            Rule::AllClose { rtol, atol } => {
                let close = |(c, s): (&f64, &f64)| (c - s).abs() <= atol + rtol * s.abs();
                candidate.iter().zip(state).enumerate().all(|(i, pair)| !self.knows(i) || close(pair))
            }
        };
        Measured { distance, fits }
    }

    /// The quantities that the chance of another fit depends on. None for a rule of the user's own: it asks for no more than a fit.
    pub(crate) fn basis(&self, state: &[f64]) -> Option<Basis> {
        if self.origin == NoiseOrigin::Rule {
            return None;
        }
        let floor = self.floor(state);
        Some(match &self.metric {
            Metric::Plain => Basis::Volume { floor, length: norm(state), known: state.len() },
            Metric::Weighted(weights) => {
                let squares = state.iter().zip(weights).map(|(value, weight)| (value * weight).powi(2));
                let known = weights.iter().filter(|weight| **weight > 0.0).count();
                Basis::Volume { floor, length: squares.sum::<f64>().sqrt(), known }
            }
            Metric::Damped { place, .. } => Basis::Twins { floor, length: norm(state), margin: place.margin },
            Metric::Across { .. } => Basis::Unknown,
        })
    }

    /// The distance beyond which no candidate fits.
    pub(crate) fn floor(&self, state: &[f64]) -> f64 {
        match self.rule {
            Rule::Within(floor) | Rule::Nearest { floor, .. } => floor,
            Rule::AllClose { rtol, atol } => {
                let known = state.iter().enumerate().filter(|(i, _)| self.knows(*i));
                known.map(|(_, s)| (atol + rtol * s.abs()).powi(2)).sum::<f64>().sqrt()
            }
        }
    }
}

/// The coordinates that exceeded the format of the states.
fn beyond_format(target: &TargetStates, position: usize) -> Vec<usize> {
    let roundings = target.roundings(position).enumerate();
    roundings.filter(|(_, rounding)| rounding.is_infinite()).map(|(coordinate, _)| coordinate).collect()
}

#[cfg(test)]
mod tests {
    use crate::models::{FloatFormat, Tap};
    use ndarray::Array2;

    use super::*;

    fn yardstick(states: Vec<f64>, dtype: FloatFormat, acceptance: Acceptance) -> (Yardstick, Vec<f64>) {
        let width = states.len();
        let array = Array2::from_shape_vec((1, width), states.clone()).unwrap();
        let target = TargetStates::new(array, Tap::Block(1), dtype).unwrap();
        (Yardstick::new(acceptance, &NoiseModel::exactly(1e-6), &target, 0, 0.0), states)
    }

    #[test]
    fn equal_noise_is_plain_l2() {
        let (yardstick, state) = yardstick(vec![1.0; 4], FloatFormat::Bf16, Acceptance::default());
        assert_eq!(yardstick.measure(&[1.0, 1.0, 1.5, 1.0], &state).distance, 0.5);
    }

    #[test]
    fn an_imprecise_coordinate_does_not_hide_the_others() {
        // A bf16 coordinate of 20,000 may be off by 64; the other coordinates differ by less in all.
        let mut states = vec![20_000.0];
        states.extend(vec![0.5; 63]);
        let (yardstick, state) = yardstick(states.clone(), FloatFormat::Bf16, Acceptance::default());
        let mut rounded = states.clone();
        rounded[0] += 60.0;
        let mut other = states;
        other.iter_mut().skip(1).for_each(|value| *value += 0.1);
        let (rounded, other) = (yardstick.measure(&rounded, &state), yardstick.measure(&other, &state));
        assert!(rounded.fits && !other.fits, "{rounded:?} {other:?}");
        assert!(other.distance > 10.0 * rounded.distance);
    }

    #[test]
    fn noise_along_a_sink_does_not_hide_what_differs_across_it() {
        let states = Array2::from_shape_vec((2, 3), vec![24_000.0, 10.0, 0.0, 11_000.0, 50.0, 60.0]).unwrap();
        let target = TargetStates::new(states, Tap::Block(1), FloatFormat::Bf16).unwrap();
        let (yardstick, state) = (Yardstick::across_sink(&target, 1), target.state(1));
        // The right token's state is shorter by a third along the sink.
        let right = yardstick.measure(&[7_500.0, 52.0, 61.0], state);
        let wrong = yardstick.measure(&[11_000.0, 50.0, 140.0], state);
        assert!(right.fits && wrong.distance > 2.0 * right.distance, "{right:?} {wrong:?}");
        assert!(!yardstick.is_crowded());
        assert!(yardstick.basis(state).is_some_and(|basis| matches!(basis, Basis::Unknown)));
    }

    #[test]
    fn coordinates_beyond_the_format_do_not_count_and_the_others_do() {
        let mut states = vec![f64::INFINITY];
        states.extend(vec![0.5; 63]);
        let array = Array2::from_shape_vec((1, 64), states.clone()).unwrap();
        let target = TargetStates::new(array, Tap::Block(1), FloatFormat::F16).unwrap();
        let state = target.state(0);
        states[0] = 82_000.0;
        let mut others = states.clone();
        others[9] += 0.1;
        let rules = [
            Acceptance::default(),
            Acceptance::Ball { epsilon: 0.01 },
            Acceptance::AllClose { rtol: 1e-4, atol: 1e-3 },
        ];
        for rule in rules {
            let yardstick = Yardstick::new(rule, &NoiseModel::exactly(1e-9), &target, 0, 0.0);
            let floor = yardstick.floor(state);
            assert!(floor > 0.0 && floor <= 0.01, "{rule:?}: {floor}");
            assert!(yardstick.measure(&states, state).fits, "{rule:?}");
            let other = yardstick.measure(&others, state);
            assert!(!other.fits && (other.distance - 0.1).abs() < 1e-12, "{rule:?}: {other:?}");
        }
    }

    #[test]
    fn added_noise_widens_the_floor_by_its_size() {
        let (plain, state) = yardstick(vec![3.0, 4.0], FloatFormat::F64, Acceptance::default());
        let (noisy, _) = yardstick(vec![3.0, 4.0], FloatFormat::F64, Acceptance::NoiseFloor { added: 0.25 });
        let wider = noisy.floor(&state) - plain.floor(&state);
        assert!((wider - 0.25).abs() < 1e-12, "{wider}");
    }

    #[test]
    fn allclose_looks_at_every_coordinate() {
        let rule = Acceptance::AllClose { rtol: 1e-5, atol: 1e-5 };
        let (yardstick, state) = yardstick(vec![1.0, 100.0], FloatFormat::F32, rule);
        assert!(yardstick.measure(&[1.0, 100.000_9], &state).fits);
        assert!(!yardstick.measure(&[1.000_9, 100.0], &state).fits);
    }

    proptest::proptest! {
        #[test]
        fn the_truth_stays_within_the_floor_under_any_rounding(
            values in proptest::collection::vec(-3e4_f64..3e4, 1..40),
            dtype in proptest::sample::select(vec![FloatFormat::F16, FloatFormat::Bf16]),
        ) {
            let stored: Vec<f64> = values.iter().map(|&value| match dtype {
                FloatFormat::F16 => half::f16::from_f64(value).to_f64(),
                _ => half::bf16::from_f64(value).to_f64(),
            }).collect();
            let (yardstick, stored) = yardstick(stored, dtype, Acceptance::default());
            proptest::prop_assert!(yardstick.measure(&values, &stored).fits);
        }
    }
}
