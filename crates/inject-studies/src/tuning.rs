//! The constants that were chosen by measuring or by judgement.

use std::num::NonZeroUsize;

/// The number of prompts that are computed again for a noise floor, each of them three times. Not measured.
pub(crate) const NOISE_SAMPLE: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// The largest number of candidates computed together. A larger one did not make the products faster. Measured by
/// `cargo bench -p inject-benches --bench candidates`.
pub(crate) const MOST_CANDIDATES: usize = 4096;
/// The smallest number of candidates that a thread compares. Not measured.
pub(crate) const CANDIDATES_A_THREAD: usize = 64;
/// The number of candidates among which a prompt's margin is measured, if noise is given in margins. Not measured.
pub(crate) const MARGIN_RIVALS: usize = 256;
/// The largest number of lost positions listed for each view. Not measured.
pub(crate) const LISTED: usize = 8;
/// The length of the sequence on which a model's noise is measured. Not measured.
#[cfg(feature = "training")]
pub(crate) const NOISE_POSITIONS: usize = 16;
/// The number of windows whose loss is computed together. Not measured.
#[cfg(feature = "training")]
pub(crate) const WINDOWS_AT_ONCE: usize = 16;
/// The number of pairs of prompts in each degenerate case. Not measured.
#[cfg(feature = "training")]
pub(crate) const CASE_PAIRS: usize = 8;
