//! The problems of a config file.

/// A problem of a config file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// The checkpoint belongs to no known family.
    #[error("`model_type` is `{found}`, expected one of {expected}")]
    UnknownFamily {
        /// The `model_type` that was found.
        found: String,
        /// The known values of `model_type`.
        expected: String,
    },
    /// A key that the computation needs is missing.
    #[error("key `{key}` is missing, expected {expected}")]
    Missing {
        /// The key, with dots for nesting.
        key: String,
        /// A description of the expected value.
        expected: String,
    },
    /// A value is malformed or asks for a computation that this crate does not have.
    #[error("key `{key}` is {found}, expected {expected}")]
    Value {
        /// The key, with dots for nesting.
        key: String,
        /// The value that was found.
        found: String,
        /// A description of the supported values.
        expected: String,
    },
    /// Two keys that mean the same have different values.
    #[error("key `{key}` is {found} and key `{other}` is {other_found}, expected the same value")]
    Contradiction {
        /// The first key, with dots for nesting.
        key: String,
        /// The value of the first key.
        found: String,
        /// The other key, with dots for nesting.
        other: String,
        /// The value of the other key.
        other_found: String,
    },
    /// The weights are quantised in a way that is not read.
    #[error("the weights are quantised ({method}), which is not read: give the unquantised checkpoint")]
    Quantised {
        /// The key that says so.
        key: String,
        /// The method and the bits.
        method: String,
    },
}

impl ConfigProblem {
    /// Returns the key, with dots for nesting.
    pub fn key(&self) -> &str {
        match self {
            ConfigProblem::UnknownFamily { .. } => "model_type",
            ConfigProblem::Missing { key, .. }
            | ConfigProblem::Value { key, .. }
            | ConfigProblem::Contradiction { key, .. }
            | ConfigProblem::Quantised { key, .. } => key,
        }
    }
}

/// The problems of a file on one line.
pub(super) fn listed(problems: &[ConfigProblem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [text] => text.clone(),
        texts => format!("{} problems: {}", texts.len(), texts.join("; ")),
    }
}
