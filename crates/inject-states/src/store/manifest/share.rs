//! The share of a larger job that a store holds.

use crate::share::Share;

/// The share of a job that a store holds, and the facts that identify the whole job.
///
/// The stores of all shares are put together by [`merge`](crate::store::merge()).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StoreShare {
    /// The number of the share, and the number of shares.
    pub share: Share,
    /// The number of the store's first prompt among all prompts, from 0.
    pub first_prompt: usize,
    /// The number of prompts of all shares.
    pub prompt_count: usize,
    /// The hash of the prompts of all shares, as in [`Manifest`](crate::store::Manifest).
    pub prompts_sha256: String,
    /// The bytes that one batch could take. They decide which prompts were computed together, which changes states by rounding.
    pub batch_bytes: usize,
}
