//! The number of pairs below thresholds.

use crate::error::CollisionError;

/// The number of pairs below one threshold.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ThresholdCount {
    /// The distance below which pairs are counted.
    pub threshold: f64,
    /// The number of pairs whose distance is smaller.
    pub pairs: u64,
}

/// The number of pairs below each of some thresholds.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ThresholdCounts {
    /// The count of each threshold, in the order of the question.
    #[serde(alias = "below")]
    pub counts: Vec<ThresholdCount>,
    /// The number of pairs that count. All of them were examined.
    pub decided: u64,
    /// The number of distances computed directly in f64. The remaining pairs were excluded by bounds.
    pub computed: u64,
}

impl ThresholdCounts {
    /// Creates counts of zero pairs below each threshold.
    ///
    /// # Errors
    ///
    /// [`CollisionError::InvalidThreshold`] for NaN.
    pub(crate) fn of(thresholds: &[f64]) -> Result<Self, CollisionError> {
        if let Some(&found) = thresholds.iter().find(|threshold| threshold.is_nan()) {
            return Err(CollisionError::InvalidThreshold { found });
        }
        let counts = thresholds.iter().map(|&threshold| ThresholdCount { threshold, pairs: 0 }).collect();
        Ok(ThresholdCounts { counts, decided: 0, computed: 0 })
    }

    pub(crate) fn push(&mut self, distance: f64) {
        for count in &mut self.counts {
            count.pairs += u64::from(distance < count.threshold);
        }
    }

    /// Returns counts of zero pairs for the same thresholds.
    pub(crate) fn emptied(&self) -> Self {
        let counts = self.counts.iter().map(|count| ThresholdCount { pairs: 0, ..*count }).collect();
        ThresholdCounts { counts, decided: 0, computed: 0 }
    }

    /// Adds the counts of a disjoint set of pairs.
    ///
    /// # Panics
    ///
    /// Panics if the thresholds differ.
    pub fn merge(&mut self, other: &ThresholdCounts) {
        assert_eq!(self.counts.len(), other.counts.len(), "counts below different thresholds");
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            assert_eq!(count.threshold, other.threshold, "counts below different thresholds");
            count.pairs += other.pairs;
        }
        self.decided += other.decided;
        self.computed += other.computed;
    }
}
