//! The affine combination of tested states that is closest to a given state.

use crate::{
    collisions::weighted_distance,
    median::centre_and_spread,
    tuning::{COMBINATION_RIDGE, COMBINED_EVERYWHERE, COMBINED_NEARBY},
};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::OpenPosition;

/// The tested candidates from which a combination is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// The candidates near the given state. Nearer ones have more weight.
    Nearby,
    /// A sample of the vocabulary, with equal weights.
    Everywhere,
}

impl Basis {
    /// Returns the largest number of candidates used. The nearest are used first.
    fn most(self) -> usize {
        match self {
            Basis::Nearby => COMBINED_NEARBY,
            Basis::Everywhere => COMBINED_EVERYWHERE,
        }
    }
}

/// Tested tokens and the share of each. The shares sum to one. Near the given state, a token's state is roughly a linear function
/// of any points that distinguish tokens. So the same combination of the tokens' points is a guess of the right token's point.
#[derive(Clone, Debug)]
pub(super) struct Combination {
    pub(super) ids: Vec<u32>,
    pub(super) shares: DVector<f64>,
    /// The given state minus the combination of the tested ones, in the unit that [`Basis`] gives each coordinate.
    pub(super) rest: DVector<f64>,
}

impl Combination {
    /// Returns the combination of the candidates tested at a position that is closest to the given state.
    ///
    /// Let `x_i` be the difference of a tested state and the given one, `G` the products of these differences, and `w_i` weights
    /// that decrease with distance. The combination is `z / sum(z)` with `(G + lambda / w) z = 1`: the intercept of a ridge
    /// regression at the given state.
    pub(super) fn of(at: &OpenPosition<'_>, basis: Basis) -> Self {
        let wanted = at.wanted();
        // At an attention sink, such as the first position in most models, a few coordinates are a thousand times larger than the
        // others and contain little information about the token. So each coordinate is measured in units of its own spread. Near
        // one state, plain distances give better guesses.
        let weights: Vec<f64> = match basis {
            Basis::Everywhere => by_spread(at.tested.sample(), wanted.len()),
            Basis::Nearby => vec![1.0; wanted.len()],
        };
        let mut near: Vec<(f64, &(u32, Vec<f64>))> = at
            .tested
            .sample()
            .iter()
            .map(|tested| (weighted_distance(&tested.1, wanted, &weights), tested))
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.truncate(basis.most());
        let (n, d) = (near.len(), wanted.len());
        let differences = DMatrix::from_fn(d, n, |i, j| (near[j].1.1[i] - wanted[i]) * weights[i]);
        let mut products = differences.transpose() * &differences;
        let nearest = near.first().map_or(0.0, |(away, _)| *away).max(f64::MIN_POSITIVE);
        let scale = COMBINATION_RIDGE * products.trace() / n as f64;
        for (i, (away, _)) in near.iter().enumerate() {
            let mistrust = match basis {
                Basis::Everywhere => 1.0,
                Basis::Nearby => (away / nearest).powi(2),
            };
            products[(i, i)] += scale * mistrust + f64::MIN_POSITIVE;
        }
        let ones = DVector::from_element(n, 1.0);
        let z = match products.cholesky() {
            Some(factor) => factor.solve(&ones),
            None => ones,
        };
        let shares = &z / z.sum();
        let rest = -differences * &shares;
        Combination { ids: near.iter().map(|(_, tested)| tested.0).collect(), shares, rest }
    }

    /// Returns the same combination of the tokens' points. `points` is their concatenation.
    pub(super) fn of_points(&self, points: &[f64]) -> Vec<f64> {
        let n = self.ids.len();
        let points = DMatrix::from_column_slice(points.len() / n, n, points);
        (points * &self.shares).iter().copied().collect()
    }
}

/// Returns weights that measure each coordinate in units of its spread over some states. The weight of a coordinate that does not
/// vary is zero.
pub(super) fn by_spread(sample: &[(u32, Vec<f64>)], d_model: usize) -> Vec<f64> {
    let spread = |i: usize| centre_and_spread(sample.iter().map(|(_, state)| state[i]).collect()).1;
    let spreads: Vec<f64> = (0..d_model).into_par_iter().map(spread).collect();
    spreads.into_iter().map(|spread| if spread > 0.0 { 1.0 / spread } else { 0.0 }).collect()
}
