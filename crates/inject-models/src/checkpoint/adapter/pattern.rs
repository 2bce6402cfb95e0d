//! Regular expressions over the paths of modules, as PEFT uses those of Python.

use fancy_regex::{Captures, Regex, RegexBuilder};

use serde_json::Value;

use super::{AdapterError, settings::setting};

/// The steps after which the search for a match is given up. Published expressions take a few hundred.
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
        if has_set(pattern) {
            let expected =
                "classes without `[`, `&&`, `--` and `~~`, which mean single signs in Python and sets here";
            return Err(setting(key, &Value::from(pattern), expected));
        }
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

/// Whether a class of the expression has a sign that means a set of signs to `regex`, and only itself to Python.
fn has_set(pattern: &str) -> bool {
    let mut signs = pattern.chars();
    // Within a class, the sign before, and whether it is the first.
    let mut class: Option<(Option<char>, bool)> = None;
    while let Some(sign) = signs.next() {
        class = match (class, sign) {
            (class, '\\') => {
                signs.next();
                class.map(|_| (None, false))
            }
            (None, '[') => Some((None, true)),
            (None, _) => None,
            (Some((None, true)), '^') => Some((None, true)),
            (Some((_, false)), ']') => None,
            (Some(_), '[') => return true,
            (Some((Some(before), _)), sign) if before == sign && "&-~".contains(sign) => return true,
            (Some(_), sign) => Some((Some(sign), false)),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_are_not_those_of_python_are_refused() {
        for pattern in [r".*\.[qv&&v]_proj", "[q-z--v]", "[qk~~k]", "[[qk]_proj", "[a-z&&[^q]]", "[^[a]"] {
            let error = Pattern::of_whole_path("target_modules", pattern).unwrap_err().to_string();
            assert!(error.contains("classes without `[`"), "{pattern}: {error}");
        }
        for pattern in [r".*\.[qv]_proj", "[^a-c]--&&", r"[\[a]", "[]a]", "[^]-a]", "[a&]&[&b]"] {
            Pattern::of_whole_path("target_modules", pattern).unwrap();
        }
    }
}
