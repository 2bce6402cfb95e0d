//! The problems of a config, named by the full key.

use serde_json::Value;

use super::Keys;
use crate::error::{ConfigProblem, ModelError};

impl Keys {
    fn problem(&self, problem: ConfigProblem) -> ModelError {
        ModelError::Config { path: self.shared.path.clone(), problems: vec![problem] }
    }

    /// The error for a missing key.
    pub(crate) fn missing(&self, key: &str, expected: &str) -> ModelError {
        self.problem(ConfigProblem::Missing { key: self.full(key), expected: expected.to_owned() })
    }

    /// The error for a `model_type` that is not known.
    pub(crate) fn unknown_family(&self, found: &str, expected: String) -> ModelError {
        self.problem(ConfigProblem::UnknownFamily { found: found.to_owned(), expected })
    }

    /// The error for a value that does not fit the others.
    pub(crate) fn misfit(&self, key: &str, found: &impl serde::Serialize, expected: &str) -> ModelError {
        self.shared.doubtful.set(self.shared.stood_in.get());
        self.bad(key, found, expected)
    }

    /// The error for an unusable value.
    pub(crate) fn bad(&self, key: &str, found: &impl serde::Serialize, expected: &str) -> ModelError {
        self.problem(ConfigProblem::Value {
            key: self.full(key),
            found: shortened(found),
            expected: expected.to_owned(),
        })
    }

    /// The error for two values that should be the same.
    pub(crate) fn contradiction(
        &self,
        key: &str,
        found: &Value,
        other: &str,
        other_found: &Value,
    ) -> ModelError {
        self.problem(ConfigProblem::Contradiction {
            key: self.full(key),
            found: shortened(found),
            other: other.to_owned(),
            other_found: shortened(other_found),
        })
    }
}

/// A value as JSON, cut to a length that fits an error message.
fn shortened(value: &impl serde::Serialize) -> String {
    const LIMIT: usize = 120;
    let text = serde_json::to_string(value).unwrap_or_else(|_| "not representable".to_owned());
    match text.char_indices().nth(LIMIT) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
