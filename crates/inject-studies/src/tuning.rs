//! The constants that were chosen by measuring or by judgement.

use std::num::NonZeroUsize;

/// Prompts that are computed again for a noise floor. Not measured: each is computed three times.
pub(crate) const NOISE_SAMPLE: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// Most candidates computed together. More did not make the products faster. Measured again by
/// `cargo bench -p inject-benches --bench candidates`.
pub(crate) const MOST_CANDIDATES: usize = 4096;
/// Fewest candidates that a thread compares. Not measured.
pub(crate) const CANDIDATES_A_THREAD: usize = 64;
/// Candidates among which margins are taken where noise is measured by them. Not measured.
pub(crate) const MARGIN_RIVALS: usize = 256;
/// Lost positions that are listed for each view. Not measured: enough to look at, few enough to read.
pub(crate) const LISTED: usize = 8;
/// The length of the sequence on which a model's noise is measured. Not measured.
#[cfg(feature = "training")]
pub(crate) const NOISE_POSITIONS: usize = 16;
/// Windows whose loss is computed together. Not measured.
#[cfg(feature = "training")]
pub(crate) const WINDOWS_AT_ONCE: usize = 16;
/// Pairs of prompts of each degenerate case. Not measured.
#[cfg(feature = "training")]
pub(crate) const CASE_PAIRS: usize = 8;
