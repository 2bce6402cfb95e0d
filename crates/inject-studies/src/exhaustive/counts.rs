//! The numbers of pairs of extensions.

/// Returns the number of pairs of extensions of the same prompt, for `prefixes` prompts: `k C(V, 2)`.
///
/// # Source
///
/// arXiv 2510.15511, section 4.1. Ten prompts give 343.6e9 pairs for Gemma-3's vocabulary of 262,144 tokens. The same protocol
/// gives 12.6e9 for GPT-2's vocabulary of 50,257 tokens.
///
/// # Example
///
/// ```
/// use inject_studies::exhaustive::pairs_within;
///
/// assert_eq!(pairs_within(10, 262_144), 343_596_072_960);
/// assert_eq!(pairs_within(10, 50_257), 12_628_578_960);
/// ```
pub fn pairs_within(prefixes: u64, vocab_size: u64) -> u64 {
    prefixes * (vocab_size * vocab_size.saturating_sub(1) / 2)
}

/// Returns the number of pairs of extensions of different prompts. The sum with [`pairs_within`] is `C(k V, 2)`.
///
/// # Example
///
/// ```
/// use inject_studies::exhaustive::{pairs_across, pairs_within};
///
/// let (k, v) = (10, 50_257);
/// assert_eq!(pairs_within(k, v) + pairs_across(k, v), k * v * (k * v - 1) / 2);
/// ```
pub fn pairs_across(prefixes: u64, vocab_size: u64) -> u64 {
    prefixes * prefixes.saturating_sub(1) / 2 * vocab_size * vocab_size
}
