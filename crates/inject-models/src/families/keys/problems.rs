//! The problems of a config, named by the full key.

use serde_json::Value;

use super::Keys;
use crate::error::ConfigProblem;

impl Keys {
    /// Adds a problem. A key has one, the first that was found, and none if its value is a stand-in.
    fn record(&self, problem: ConfigProblem) {
        if self.is_unknown(last(problem.key())) {
            return;
        }
        let mut problems = self.findings.problems.borrow_mut();
        if problems.iter().all(|known| known.key() != problem.key()) {
            problems.push(problem);
        }
    }

    /// Whether a key of this name has a problem, in whatever object, or a value of this name is unknown.
    pub(crate) fn is_faulty(&self, name: &str) -> bool {
        self.is_unknown(name)
            || self.findings.problems.borrow().iter().any(|problem| last(problem.key()) == name)
    }

    fn is_unknown(&self, name: &str) -> bool {
        self.findings.unknown.borrow().contains(&name)
    }

    /// Marks a value that follows from keys as unknown if one of them has a problem.
    pub(crate) fn follows(&self, name: &'static str, from: &[&str]) {
        if from.iter().any(|key| self.is_faulty(key)) {
            self.findings.unknown.borrow_mut().push(name);
        }
    }

    /// Records that a key is missing.
    pub(crate) fn missing(&self, key: &str, expected: &str) {
        self.record(ConfigProblem::Missing { key: self.full(key), expected: expected.to_owned() });
    }

    /// Records a `model_type` that is not known.
    pub(crate) fn unknown_family(&self, found: &str, expected: String) {
        self.record(ConfigProblem::UnknownFamily { found: found.to_owned(), expected });
    }

    /// Records that a value does not fit the others that are named, unless a stand-in has taken the place of one of them.
    pub(crate) fn misfit(&self, key: &str, found: &impl serde::Serialize, expected: &str, others: &[&str]) {
        if !others.iter().any(|other| self.is_faulty(other)) {
            self.bad(key, found, expected);
        }
    }

    /// Records a key whose value cannot be used, with the value that was found.
    pub(crate) fn bad(&self, key: &str, found: &impl serde::Serialize, expected: &str) {
        let expected = expected.to_owned();
        self.record(ConfigProblem::Value { key: self.full(key), found: shortened(found), expected });
    }

    /// Records two values that should be the same.
    pub(crate) fn contradiction(&self, key: &str, found: &Value, other: &str, other_found: &Value) {
        self.record(ConfigProblem::Contradiction {
            key: self.full(key),
            found: shortened(found),
            other: other.to_owned(),
            other_found: shortened(other_found),
        });
    }
}

/// The name of a key without those of the objects around it.
fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
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
