//! The constants that were chosen by measuring or by judgement.

use std::num::NonZeroUsize;

/// The number of prompts that are computed again for a noise floor, each of them three times. Not compared with other values: the
/// floor is the largest noise among them, and a study must not spend its time on it.
pub(crate) const NOISE_SAMPLE: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// The largest number of candidates computed together. A larger one did not make the products faster. Measured by
/// `cargo bench -p inject-benches --bench candidates`.
pub(crate) const MOST_CANDIDATES: usize = 4096;
/// The smallest number of candidates that a thread compares. Not compared with other values: fewer are compared in the time that it takes to
/// wake a thread.
pub(crate) const CANDIDATES_A_THREAD: usize = 64;
/// The number of candidates among which a prompt's margin is measured, if noise is given in margins. Not compared with other
/// values: the whole vocabulary would give the exact margin, at the cost of certifying the prompt.
pub(crate) const MARGIN_RIVALS: usize = 256;
/// The largest number of lost positions listed for each view: as many as a reader looks at.
pub(crate) const LISTED: usize = 8;
/// The length of the sequence on which a model's noise is measured: that of the inverter.
#[cfg(feature = "training")]
pub(crate) const NOISE_POSITIONS: usize = 16;
/// The number of windows whose loss is computed together. It bounds the memory, and not the result.
#[cfg(feature = "training")]
pub(crate) const WINDOWS_AT_ONCE: usize = 16;
/// The number of pairs of prompts in each degenerate case. Not compared with other values: all pairs of a case have the same fate.
#[cfg(feature = "training")]
pub(crate) const CASE_PAIRS: usize = 8;
