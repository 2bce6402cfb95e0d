//! Regular expressions over the paths of modules, as PEFT uses those of Python.

use fancy_regex::{Captures, Regex, RegexBuilder};

use super::AdapterError;

/// The steps after which the search for a match is given up. Published expressions take some hundred.
const MOST_STEPS: usize = 100_000;

/// A regular expression that the settings have, and the expression that PEFT makes of it.
#[derive(Debug)]
pub(super) struct Pattern {
    key: &'static str,
    pattern: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles the expression that has `pattern` between two texts, as an argument of Python's `re.match`. The texts are those of
    /// PEFT, because references count its groups too.
    ///
    /// # Errors
    ///
    /// Fails with the name of the setting.
    pub(super) fn new(
        key: &'static str,
        pattern: &str,
        [before, after]: [&str; 2],
    ) -> Result<Self, AdapterError> {
        let expression = format!(r"\A(?:{before}{pattern}{after})");
        match RegexBuilder::new(&expression).backtrack_limit(MOST_STEPS).build() {
            Ok(regex) => Ok(Pattern { key, pattern: pattern.to_owned(), regex }),
            Err(source) => {
                Err(AdapterError::Pattern { key, pattern: pattern.to_owned(), source: Box::new(source) })
            }
        }
    }

    /// Compiles an expression that fits whole paths, as an argument of Python's `re.fullmatch`.
    pub(super) fn of_whole_path(key: &'static str, pattern: &str) -> Result<Self, AdapterError> {
        Pattern::new(key, pattern, ["(?:", r")\z"])
    }

    /// Returns whether the expression fits a path.
    ///
    /// # Errors
    ///
    /// Fails if this takes too many steps.
    pub(super) fn fits(&self, path: &str) -> Result<bool, AdapterError> {
        self.captures(path).map(|captures| captures.is_some())
    }

    /// Returns the groups of the expression in a path, if it fits.
    ///
    /// # Errors
    ///
    /// Fails if this takes too many steps.
    pub(super) fn captures<'p>(&self, path: &'p str) -> Result<Option<Captures<'p>>, AdapterError> {
        self.regex.captures(path).map_err(|source| AdapterError::Pattern {
            key: self.key,
            pattern: self.pattern.clone(),
            source: Box::new(source),
        })
    }
}
