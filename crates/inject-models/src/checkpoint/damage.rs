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
    /// A tensor beside a quantised weight does not fit it, or the weight itself is not what they say.
    #[error("tensor `{tensor}` is {found}, expected {expected}")]
    Companion {
        /// The tensor.
        tensor: String,
        /// Its format and shape.
        found: String,
        /// The expected ones.
        expected: String,
    },
    /// The description of a quantised weight is not what bitsandbytes writes.
    #[error("tensor `{tensor}` does not describe a quantised weight")]
    QuantState {
        /// The tensor.
        tensor: String,
        /// The parser's error.
        source: serde_json::Error,
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
