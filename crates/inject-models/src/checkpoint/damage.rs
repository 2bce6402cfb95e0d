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
    /// A pickled file has a tensor twice, under one name.
    #[error(
        "tensor `{tensor}` is there twice: under its whole name, and in a dictionary with the beginning of its name"
    )]
    HeldTwice {
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor has other values in a second shard.
    #[error(
        "tensor `{tensor}` has other values in `{}` than in `{}`, where the index places it: remove one of the two",
        files[1], files[0]
    )]
    TwoValues {
        /// Name of the tensor.
        tensor: String,
        /// The shard that the index names, and the other.
        files: [String; 2],
    },
    /// A tensor beside a quantised weight does not fit it, or the weight itself contradicts them.
    #[error("tensor `{tensor}` is {found}, expected {expected}")]
    Companion {
        /// Name of the tensor beside the weight.
        tensor: String,
        /// Its number format and shape in the file.
        found: String,
        /// The format and shape that fit the weight.
        expected: String,
    },
    /// The description of a quantised weight is not what bitsandbytes writes.
    #[error("tensor `{tensor}` does not describe a quantised weight")]
    QuantState {
        /// Name of the tensor that holds the description.
        tensor: String,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// A pickled tensor is listed and cannot be found.
    #[error("tensor `{tensor}` is listed and cannot be found")]
    Lost {
        /// Name that the pickled file lists without a tensor.
        tensor: String,
    },
    /// A pickled tensor has more or fewer bytes than its shape and number format need.
    #[error("tensor `{tensor}` has {found} bytes, expected {expected}")]
    Size {
        /// Name of the pickled tensor.
        tensor: String,
        /// The number of bytes stored.
        found: usize,
        /// The bytes of its shape and number format.
        expected: usize,
    },
}
