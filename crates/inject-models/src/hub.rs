//! A model's files, fetched from a Hugging Face Hub into a local folder.
//!
//! The idea: a revision is resolved to a commit once, and every file then comes from that commit's snapshot
//! folder. The cache is laid out as Python's `huggingface_hub` lays it out, so models that are already on the
//! machine are found, and models fetched here are found by Python.
//!
//! - [`HubRepo`]: a repository and revision, parsed from `owner/name@revision`.
//!
//! With the feature `hub`:
//!
//! - `HubOptions`: endpoint, cache folder, token, offline mode, timeouts; from the usual `HF_*` variables.
//! - `fetch`: fetches the files that are missing and returns the `Snapshot`.
//! - `HubError`: everything that can go wrong on the way.
//!
//! Without the feature no network code is compiled.

#[cfg(feature = "hub")]
mod client;
mod repo;

#[cfg(feature = "hub")]
pub use client::{HttpError, HubError, HubFile, HubOptions, Snapshot, TimeoutPhase, fetch, fetch_tokenizer};
pub use repo::{HubRepo, RepoIdError};
