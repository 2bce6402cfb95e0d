//! Quantiles of distances.

use inject_sipit::collisions::Distribution;

/// The distance that a share of the distances does not exceed.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Quantile {
    /// The share, from 0 to 1.
    pub share: f64,
    /// A lower bound of the quantile.
    pub lower: f64,
    /// An upper bound of the quantile: at most 1.6 % above the lower one, and equal to it if the quantile is exact.
    pub upper: f64,
}

impl Quantile {
    /// The shares that quantiles are given for.
    pub const SHARES: [f64; 9] = [0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0];

    /// Creates a quantile that is known exactly.
    pub const fn exact(share: f64, value: f64) -> Self {
        Quantile { share, lower: value, upper: value }
    }

    /// Returns the upper bound of the quantile at a share, if `quantiles` contains that share.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_studies::tap_distances::Quantile;
    ///
    /// let quantiles = [Quantile::exact(0.0, 1.0), Quantile::exact(0.5, 3.1)];
    /// assert_eq!(Quantile::upper_at(&quantiles, 0.5), Some(3.1));
    /// assert_eq!(Quantile::upper_at(&quantiles, 0.99), None);
    /// ```
    pub fn upper_at(quantiles: &[Quantile], share: f64) -> Option<f64> {
        quantiles.iter().find(|quantile| quantile.share == share).map(|quantile| quantile.upper)
    }
}

/// Returns the quantiles of a distribution that counts any distance.
pub(crate) fn quantiles(distribution: &Distribution) -> Vec<Quantile> {
    let quantile =
        |share| distribution.quantile(share).map(|at| Quantile { share, lower: at.lower, upper: at.upper });
    Quantile::SHARES.into_iter().filter_map(quantile).collect()
}

/// Returns the quantiles of a list of numbers. Each is one of the numbers, chosen as in [`Distribution::quantile`].
pub(crate) fn exact_quantiles(mut distances: Vec<f64>) -> Vec<Quantile> {
    distances.sort_by(f64::total_cmp);
    let Some(last) = distances.len().checked_sub(1) else { return Vec::new() };
    let at = |share: f64| {
        let rank = (share * distances.len() as f64).ceil() as usize;
        distances[rank.saturating_sub(1).min(last)]
    };
    Quantile::SHARES.into_iter().map(|share| Quantile { share, lower: at(share), upper: at(share) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_quantiles_are_members_at_their_rank() {
        let found = exact_quantiles((1..=100).rev().map(f64::from).collect());
        let expected = [1.0, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 100.0];
        assert_eq!(found.iter().map(|quantile| quantile.upper).collect::<Vec<_>>(), expected);
        assert_eq!(exact_quantiles(Vec::new()), []);
    }
}
