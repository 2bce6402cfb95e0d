//! The affine combination of tested states that comes closest to a state.

use inject_collisions::weighted_distance;
use nalgebra::{DMatrix, DVector};

use crate::{Place, median::centre_and_spread};

/// From which tested candidates a combination is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// Those around the state looked for, the nearest most.
    Nearby,
    /// A sample of the vocabulary, all alike.
    Everywhere,
}

impl Basis {
    /// Tested candidates used, the nearest first.
    fn most(self) -> usize {
        match self {
            Basis::Nearby => 256,
            Basis::Everywhere => 768,
        }
    }
}

/// Tested tokens and what each counts for; together one. Around the state looked for, a token's state is roughly a linear function of
/// whatever points tell tokens apart, so the same combination of their points is a guess of the point looked for.
#[derive(Clone, Debug)]
pub(super) struct Combination {
    pub(super) ids: Vec<u32>,
    pub(super) shares: DVector<f64>,
    /// The state looked for less the combination of the tested ones, in the unit that [`Basis`] gives each coordinate.
    pub(super) rest: DVector<f64>,
}

/// Ridge, as a share of the mean square of the tested states' distances.
const RIDGE: f64 = 1e-2;

impl Combination {
    /// Of candidates tested at a position, the one that comes closest to the state given there.
    ///
    /// With `x_i` the difference of a tested state and the one given, `G` their products and `w_i` weights that fall with distance,
    /// it is `z / sum(z)` with `(G + lambda / w) z = 1`: ridge regression's intercept at the state given.
    pub(super) fn of(place: &Place<'_>, basis: Basis) -> Self {
        let wanted = place.target.state(place.position());
        // At an attention sink, as the first position is in most models, a few coordinates are a thousand times the others and say
        // little about the token, so each counts in units of its own spread. Around one state plain distances point better.
        let weights: Vec<f64> = match basis {
            Basis::Everywhere => by_spread(place.tested.sample(), wanted.len()),
            Basis::Nearby => vec![1.0; wanted.len()],
        };
        let mut near: Vec<(f64, &(u32, Vec<f64>))> = place
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
        let scale = RIDGE * products.trace() / n as f64;
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

    /// The same combination of the tokens' points, which come one after the other.
    pub(super) fn of_points(&self, points: &[f64]) -> Vec<f64> {
        let n = self.ids.len();
        let points = DMatrix::from_column_slice(points.len() / n, n, points);
        (points * &self.shares).iter().copied().collect()
    }
}

/// What makes each coordinate count in units of its spread over some states; one that does not vary says nothing.
fn by_spread(sample: &[(u32, Vec<f64>)], d_model: usize) -> Vec<f64> {
    let spread = |i: usize| centre_and_spread(sample.iter().map(|(_, state)| state[i]).collect()).1;
    (0..d_model).map(spread).map(|spread| if spread > 0.0 { 1.0 / spread } else { 0.0 }).collect()
}
