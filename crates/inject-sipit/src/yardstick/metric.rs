//! The measure of a difference between two states.

use std::sync::Arc;

use crate::{
    calibration::{LogNormal, PlaceNoise},
    collisions::{distance, norm, weighted_distance},
};

/// The measure of a difference between two states.
#[derive(Clone, Debug)]
pub(super) enum Metric {
    /// The L2 norm of the difference.
    Plain,
    /// A weight for each coordinate.
    Weighted(Vec<f64>),
    /// The directions of a producer's noise count less, and coordinates that exceeded the format not at all.
    Damped {
        place: Arc<PlaceNoise>,
        /// The length of the noise in this prompt, relative to the norm of the state.
        noise: LogNormal,
        unknown: Vec<usize>,
    },
    /// The direction of an attention sink does not count, and coordinates that exceeded the format do not either.
    Across {
        /// The direction, of norm 1.
        sink: Vec<f64>,
        unknown: Vec<usize>,
    },
}

impl Metric {
    /// L2 that leaves out the direction of a first state.
    pub(super) fn across(first: &[f64], unknown: Vec<usize>) -> Self {
        let length = norm(first);
        Metric::Across { sink: first.iter().map(|value| value / length).collect(), unknown }
    }

    /// The distance between two states.
    pub(super) fn distance(&self, candidate: &[f64], state: &[f64]) -> f64 {
        match self {
            Metric::Plain => distance(candidate, state),
            Metric::Weighted(weights) => weighted_distance(candidate, state, weights),
            Metric::Damped { place, unknown, .. } => place.length(&difference(candidate, state, unknown)),
            Metric::Across { sink, unknown } => {
                let difference = difference(candidate, state, unknown);
                let along: f64 = difference.iter().zip(sink).map(|(d, s)| d * s).sum();
                (difference.iter().map(|d| d * d).sum::<f64>() - along * along).max(0.0).sqrt()
            }
        }
    }

    /// Whether a coordinate is known, so that its weight is not zero.
    pub(super) fn knows(&self, coordinate: usize) -> bool {
        match self {
            Metric::Plain => true,
            Metric::Weighted(weights) => weights[coordinate] > 0.0,
            Metric::Damped { unknown, .. } | Metric::Across { unknown, .. } => !unknown.contains(&coordinate),
        }
    }

    /// The number of coordinates that are known.
    pub(super) fn known(&self, d_model: usize) -> usize {
        match self {
            Metric::Plain => d_model,
            Metric::Weighted(weights) => weights.iter().filter(|weight| **weight > 0.0).count(),
            Metric::Damped { unknown, .. } | Metric::Across { unknown, .. } => d_model - unknown.len(),
        }
    }

    /// The weights of the coordinates. None if the measure is not L2 with such weights.
    pub(super) fn weights(&self, d_model: usize) -> Option<Vec<f64>> {
        match self {
            Metric::Plain => Some(vec![1.0; d_model]),
            Metric::Weighted(weights) => Some(weights.clone()),
            Metric::Damped { .. } | Metric::Across { .. } => None,
        }
    }
}

/// The difference of two states, with zeros at the coordinates that do not count.
fn difference(candidate: &[f64], state: &[f64], unknown: &[usize]) -> Vec<f64> {
    let mut difference: Vec<f64> = candidate.iter().zip(state).map(|(c, s)| c - s).collect();
    unknown.iter().for_each(|&coordinate| difference[coordinate] = 0.0);
    difference
}
