//! The options of a search.

use crate::metric::Metric;

/// The arithmetic that multiplies the rows with each other. It decides how long a search takes, never what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arithmetic {
    /// f32 on the device.
    F32OnDevice,
    /// 16-bit integers on the processor, which takes half the time. It needs AVX-512 VNNI. Without that, and for
    /// [`Search::distribution`](crate::Search::distribution), which needs more digits, the device multiplies.
    I16OnProcessor,
    /// The same integers on any processor, with the same bits in every product.
    I16Portable,
}

/// The metric, arithmetic and memory of a search.
///
/// # Example
///
/// ```
/// use inject_collisions::{Metric, SearchOptions};
///
/// let options = SearchOptions::default().with_metric(Metric::Cosine);
/// assert_eq!(options.memory_budget, 2 << 30);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchOptions {
    /// The distance that is measured.
    pub metric: Metric,
    /// The arithmetic that multiplies the rows with each other.
    pub arithmetic: Arithmetic,
    /// The memory for everything but the rows themselves.
    ///
    /// # Units
    ///
    /// Bytes.
    pub memory_budget: usize,
}

impl SearchOptions {
    /// Returns the same options with another metric.
    pub const fn with_metric(self, metric: Metric) -> Self {
        SearchOptions { metric, ..self }
    }

    /// Returns the same options with another arithmetic.
    pub const fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        SearchOptions { arithmetic, ..self }
    }

    /// Returns the same options with a memory budget in bytes.
    pub const fn with_memory_budget(self, memory_budget: usize) -> Self {
        SearchOptions { memory_budget, ..self }
    }
}

impl Default for SearchOptions {
    /// L2, integers on the processor, and 2 GiB.
    fn default() -> Self {
        SearchOptions { metric: Metric::L2, arithmetic: Arithmetic::I16OnProcessor, memory_budget: 2 << 30 }
    }
}
