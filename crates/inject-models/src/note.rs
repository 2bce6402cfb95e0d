//! What a user should know about a model that loads all the same.

use std::{fmt, path::PathBuf};

/// A fact about a checkpoint that does not prevent its use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Keys of the config that neither this crate nor Hugging Face transformers reads.
    UnreadKeys {
        /// The config file.
        path: PathBuf,
        /// The keys, with dots for nesting.
        keys: Vec<String>,
    },
    /// The config has no `model_type`, and the family follows from something else.
    FamilyGuessed {
        /// The config file.
        path: PathBuf,
        /// The `model_type` that it is taken to have.
        model_type: &'static str,
        /// The reason.
        evidence: Evidence,
    },
}

/// Why a config without `model_type` belongs to a family.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// A name among its `architectures`.
    Architecture(String),
    /// Keys that no other family has.
    Keys,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::UnreadKeys { keys, .. } => {
                write!(f, "config.json: keys that transformers does not read either: {}", keys.join(", "))
            }
            Note::FamilyGuessed { model_type, evidence, .. } => {
                write!(f, "config.json has no model_type, taken for `{model_type}` because of its ")?;
                match evidence {
                    Evidence::Architecture(class) => write!(f, "architecture {class}"),
                    Evidence::Keys => f.write_str("keys"),
                }
            }
        }
    }
}
