//! Contradictions in weight files.

use std::error::Error;

use super::{GgufError, HeaderError};

/// A contradiction in a weight file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The header of a safetensors file is wrong.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A GGUF file is wrong.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A pickled file cannot be understood.
    #[error("its pickle cannot be read")]
    Pickle(#[source] Box<dyn Error + Send + Sync>),
    /// A shard lacks a tensor that the index places there.
    #[error("the index says that tensor `{tensor}` is here, and it is not")]
    MissingFromShard {
        /// The tensor.
        tensor: String,
    },
    /// A pickled tensor is listed and cannot be found.
    #[error("tensor `{tensor}` is listed and cannot be found")]
    Lost {
        /// The tensor.
        tensor: String,
    },
    /// A pickled tensor has more or fewer bytes than its shape and number format need.
    #[error("tensor `{tensor}` has {found} bytes, expected {expected}")]
    Size {
        /// The tensor.
        tensor: String,
        /// Its bytes.
        found: usize,
        /// The bytes of its shape and number format.
        expected: usize,
    },
}
