//! How many pairs lie below thresholds.

use crate::CollisionError;

/// How many pairs lie below a threshold.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Below {
    /// The threshold.
    pub threshold: f64,
    /// How many pairs have a distance smaller than it.
    pub pairs: u64,
}

/// How many pairs lie below each of some thresholds, and of how many.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairsBelow {
    /// One for each threshold, in the order asked.
    pub below: Vec<Below>,
    /// How many pairs count, and so were decided on.
    pub decided: u64,
    /// How many of these were computed directly in f64; a bound excluded the others.
    pub computed: u64,
}

impl PairsBelow {
    /// # Errors
    ///
    /// [`CollisionError::InvalidThreshold`] for NaN.
    pub(crate) fn of(thresholds: &[f64]) -> Result<Self, CollisionError> {
        if let Some(&found) = thresholds.iter().find(|threshold| threshold.is_nan()) {
            return Err(CollisionError::InvalidThreshold { found });
        }
        let below = thresholds.iter().map(|&threshold| Below { threshold, pairs: 0 }).collect();
        Ok(PairsBelow { below, decided: 0, computed: 0 })
    }

    pub(crate) fn push(&mut self, distance: f64) {
        for below in &mut self.below {
            below.pairs += u64::from(distance < below.threshold);
        }
    }

    /// Adds the counts among other pairs.
    ///
    /// # Panics
    ///
    /// If the other has other thresholds.
    pub fn merge(&mut self, other: &PairsBelow) {
        assert_eq!(self.below.len(), other.below.len(), "counts below different thresholds");
        for (held, other) in self.below.iter_mut().zip(&other.below) {
            assert_eq!(held.threshold, other.threshold, "counts below different thresholds");
            held.pairs += other.pairs;
        }
        self.decided += other.decided;
        self.computed += other.computed;
    }
}
