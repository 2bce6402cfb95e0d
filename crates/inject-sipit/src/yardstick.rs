//! The distance of candidates from one state, and the floor within which they fit.

mod metric;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{
    acceptance::{Acceptance, NoiseOrigin},
    calibration::{LogNormal, PlaceNoise},
    chance::{Basis, Volume, separation},
    collisions::norm,
    noise::NoiseModel,
    target::TargetStates,
    tuning::{
        ALONE_BY_SAMPLE, LIKELY_DEVIATIONS, MARGIN_DEVIATIONS, NOISE_DEVIATIONS, PARTIAL_SINK_FLOOR,
        SEPARATED, SEPARATED_ALONE,
    },
};

use self::metric::Metric;

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
    /// Whether the state may be an attention sink.
    sink: bool,
}

/// The condition under which a candidate fits.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// It is within this distance.
    Within(f64),
    /// It is within the floor, and at most `ratio` times as far away as the nearest candidate.
    Nearest {
        floor: f64,
        ratio: f64,
        /// The distance up to which noise alone explains that a token is not exactly at the state.
        likely: f64,
        /// Wrong tokens are expected from this distance.
        wrong: f64,
    },
    /// Every coordinate is close by itself: [`Acceptance::AllClose`].
    AllClose { rtol: f64, atol: f64 },
}

/// The distance of one candidate's state from the given state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) distance: f64,
    pub(crate) fits: bool,
}

impl Yardstick {
    /// The yardstick of one position. `seen` is the distance between two computations of the candidate in question, if there were two.
    pub(crate) fn new(
        acceptance: Acceptance,
        noise: &NoiseModel,
        target: &TargetStates,
        position: usize,
        seen: Option<f64>,
    ) -> Self {
        let rounding: Vec<f64> = target.roundings(position).collect();
        let state = target.state(position);
        let sink = noise.may_be_sink(position, norm(state));
        let added = match acceptance {
            Acceptance::NoiseFloor { added } => added,
            Acceptance::Ball { epsilon } => {
                return Yardstick::fixed(Rule::Within(epsilon), &rounding, sink);
            }
            Acceptance::AllClose { rtol, atol } => {
                return Yardstick::fixed(Rule::AllClose { rtol, atol }, &rounding, sink);
            }
        };
        let relative = target.transformation().error();
        let computing = match seen {
            None => noise.bound(norm(state), 0.0),
            Some(seen) => noise.bound_examined(norm(state), seen),
        };
        let bound = computing + target.in_units(position, added) + relative * norm(state);
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
            return Yardstick { metric: Metric::Plain, rule, origin: NoiseOrigin::Computing, sink };
        }
        let weights: Vec<f64> = rounding.iter().map(|r| quietest / scale(r)).collect();
        // A coordinate that exceeded its format has no weight and adds nothing.
        let known = rounding.iter().zip(&weights).filter(|(_, weight)| **weight > 0.0);
        let rounded = known.map(|(r, w)| (r * w).powi(2)).sum::<f64>().sqrt();
        let rule = Rule::Within(bound + rounded);
        Yardstick { metric: Metric::Weighted(weights), rule, origin: NoiseOrigin::Computing, sink }
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
        let usual = LogNormal { mean: place.noise.mean + shift, ..place.noise };
        let [noise, likely] = [NOISE_DEVIATIONS, LIKELY_DEVIATIONS].map(|most| usual.above(most));
        let wrong = place.margin.above(-MARGIN_DEVIATIONS);
        let floor = norm(state) * if noise < wrong { (noise * wrong).sqrt() } else { noise };
        let [likely, wrong] = [likely, wrong].map(|relative| norm(state) * relative);
        let unknown: Vec<usize> = target.beyond_format(position).collect();
        let ratio = separation(SEPARATED, state.len() - unknown.len());
        let rule = Rule::Nearest { floor, ratio, likely, wrong };
        let metric = Metric::Damped { place: place.clone(), noise: usual, unknown };
        Yardstick { metric, rule, origin: NoiseOrigin::Producer, sink: false }
    }

    /// The yardstick of a later position that is an attention sink in part. Noise moves such a state along the direction of the first
    /// state by up to half its length, so that direction is left out. The noise across it is not known, so the floor is wide, and
    /// only the tokens tested show where the wrong ones lie.
    pub(crate) fn across_sink(target: &TargetStates, position: usize) -> Self {
        let floor = PARTIAL_SINK_FLOOR * norm(target.state(position));
        let unknown: Vec<usize> = target.beyond_format(position).collect();
        let ratio = separation(SEPARATED_ALONE, target.d_model() - unknown.len());
        let rule = Rule::Nearest { floor, ratio, likely: floor, wrong: f64::INFINITY };
        let metric = Metric::across(target.state(0), unknown);
        Yardstick { metric, rule, origin: NoiseOrigin::Producer, sink: false }
    }

    /// The same yardstick with a floor that just admits this distance, which noise does not explain, and rules out candidates that are
    /// farther by this factor.
    pub(crate) fn admitting(mut self, distance: f64, ratio: f64) -> Self {
        self.rule = Rule::Nearest { floor: distance, ratio, likely: 0.0, wrong: f64::INFINITY };
        self
    }

    /// Returns the [`separation`] that takes the place of a factor at a state of this width.
    pub(crate) fn separation(&self, factor: f64, d_model: usize) -> f64 {
        separation(factor, self.metric.known(d_model))
    }

    /// Whether wrong tokens are expected within the floor, so that a fit says little.
    pub(crate) fn is_crowded(&self) -> bool {
        matches!(self.rule, Rule::Nearest { floor, wrong, .. } if floor >= wrong)
    }

    /// Whether noise alone explains a distance. A candidate may fit that is much farther away than most right tokens are.
    pub(crate) fn is_likely(&self, distance: f64) -> bool {
        match self.rule {
            Rule::Nearest { likely, .. } => distance <= likely,
            Rule::Within(_) | Rule::AllClose { .. } => true,
        }
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
    fn fixed(rule: Rule, rounding: &[f64], sink: bool) -> Self {
        let weight = |r: &f64| if r.is_finite() { 1.0 } else { 0.0 };
        let all_known = rounding.iter().all(|r| r.is_finite());
        let metric = match all_known {
            true => Metric::Plain,
            false => Metric::Weighted(rounding.iter().map(weight).collect()),
        };
        Yardstick { metric, rule, origin: NoiseOrigin::Rule, sink }
    }

    /// Whether distances are plain L2.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.metric, Metric::Plain)
    }

    /// The weights of the coordinates. None if distances are not L2 with such weights.
    pub(crate) fn weights(&self, d_model: usize) -> Option<Vec<f64>> {
        self.metric.weights(d_model)
    }

    /// Measures the distance of a candidate's state from the given state.
    pub(crate) fn measure(&self, candidate: &[f64], state: &[f64]) -> Measured {
        let distance = self.metric.distance(candidate, state);
        let fits = match self.rule {
            Rule::Within(floor) | Rule::Nearest { floor, .. } => distance <= floor,
            Rule::AllClose { rtol, atol } => {
                let close = |(c, s): (&f64, &f64)| (c - s).abs() <= atol + rtol * s.abs();
                candidate.iter().zip(state).enumerate().all(|(i, pair)| !self.metric.knows(i) || close(pair))
            }
        };
        Measured { distance, fits }
    }

    /// The quantities that the chance of another fit depends on.
    pub(crate) fn basis(&self, state: &[f64]) -> Basis {
        let floor = self.floor(state);
        match &self.metric {
            Metric::Plain => {
                Basis::Volume(Volume { floor, length: norm(state), known: state.len(), sink: self.sink })
            }
            Metric::Weighted(weights) => {
                let squares = state.iter().zip(weights).map(|(value, weight)| (value * weight).powi(2));
                let (length, known) = (squares.sum::<f64>().sqrt(), self.metric.known(state.len()));
                Basis::Volume(Volume { floor, length, known, sink: self.sink })
            }
            Metric::Damped { place, noise, unknown } if unknown.is_empty() => {
                Basis::Twins { floor, length: norm(state), noise: *noise, margin: place.margin }
            }
            // The margins were measured with all coordinates, and relative to a norm that is not known here.
            Metric::Damped { .. } | Metric::Across { .. } => {
                Basis::Tested { apart: self.separation(ALONE_BY_SAMPLE, state.len()) }
            }
        }
    }

    /// The distance beyond which no candidate fits.
    pub(crate) fn floor(&self, state: &[f64]) -> f64 {
        match self.rule {
            Rule::Within(floor) | Rule::Nearest { floor, .. } => floor,
            Rule::AllClose { rtol, atol } => {
                let known = state.iter().enumerate().filter(|(i, _)| self.metric.knows(*i));
                known.map(|(_, s)| (atol + rtol * s.abs()).powi(2)).sum::<f64>().sqrt()
            }
        }
    }
}
