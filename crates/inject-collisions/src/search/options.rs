//! The options of a search.

use crate::metric::Metric;

/// The arithmetic that multiplies the rows with each other. It affects the duration of a search, but never its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arithmetic {
    /// f32 on the caller's device, a processor or a GPU.
    F32OnDevice,
    /// 16-bit integers on the processor, which takes half the time. It requires AVX-512 VNNI. On other processors, and for
    /// [`Search::distribution`](crate::Search::distribution), which requires more precision, the device multiplies in f32.
    I16OnProcessor,
    /// 16-bit integers on any processor. The products have the same bits as those by AVX-512 VNNI.
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
    /// The metric in which distances are measured.
    pub metric: Metric,
    /// The arithmetic that multiplies the rows with each other.
    pub arithmetic: Arithmetic,
    /// The memory for everything except the rows themselves.
    ///
    /// # Units
    ///
    /// Bytes.
    pub memory_budget: usize,
}

impl SearchOptions {
    /// Sets [`SearchOptions::metric`].
    pub const fn with_metric(self, metric: Metric) -> Self {
        SearchOptions { metric, ..self }
    }

    /// Sets [`SearchOptions::arithmetic`].
    pub const fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        SearchOptions { arithmetic, ..self }
    }

    /// Sets [`SearchOptions::memory_budget`], in bytes.
    pub const fn with_memory_budget(self, memory_budget: usize) -> Self {
        SearchOptions { memory_budget, ..self }
    }
}

impl Default for SearchOptions {
    /// Returns the options for L2, integers on the processor, and a memory budget of 2 GiB.
    fn default() -> Self {
        SearchOptions { metric: Metric::L2, arithmetic: Arithmetic::I16OnProcessor, memory_budget: 2 << 30 }
    }
}
