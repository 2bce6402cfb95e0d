//! Regular expressions over the paths of modules, as PEFT uses those of Python.

use fancy_regex::{Captures, Regex, RegexBuilder};

use serde_json::Value;

use super::{AdapterError, settings::setting};
use crate::tokenizer::limits::counts;

/// The steps after which the search for a match is given up. Published expressions take a few hundred.
const MOST_STEPS: usize = 100_000;

/// Most expressions of an adapter. Adapters with a rank for each module have several hundred.
const MOST: usize = 4096;

/// Largest sum of the [sizes](size) of all expressions of an adapter. A unit may take some 70 bytes once it is compiled.
const LARGEST: usize = 1 << 20;

/// The size of a class such as `\w`, which stands for the letters of all languages, in signs.
const SIZE_OF_CLASS: usize = 400;

/// Checks that the expressions of an adapter take little memory once they are compiled.
///
/// # Errors
///
/// Fails with the number that is too large.
pub(super) fn check_sizes<'p>(patterns: impl Iterator<Item = &'p str>) -> Result<(), AdapterError> {
    let (mut number, mut sum) = (0, 0_usize);
    for pattern in patterns {
        number += 1;
        sum = sum.saturating_add(size(pattern));
    }
    let of_all = [
        ("the number of regular expressions", number, MOST),
        ("the size of all regular expressions with their counts", sum, LARGEST),
    ];
    match of_all.into_iter().find(|(_, found, most)| found > most) {
        Some((asked, found, most)) => Err(AdapterError::PatternLimit { asked, found, most }),
        None => Ok(()),
    }
}

/// The signs of an expression, as often as it may repeat them.
fn size(pattern: &str) -> usize {
    let classes = pattern.matches('\\').count() + pattern.matches("[^").count();
    (pattern.len() + SIZE_OF_CLASS * classes).saturating_mul(counts(pattern))
}

/// A regular expression that the settings have, and the expression that PEFT makes of it.
#[derive(Debug)]
pub(super) struct Pattern {
    key: &'static str,
    pattern: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles the expression that has `pattern` between two texts, as an argument of Python's `re.match`. The texts are those of
    /// PEFT, because references count its groups too. Flags at the beginning of the pattern hold for all of it.
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
        let Flags { flags, pattern: rest } = Flags::take(key, pattern)?;
        // A comment ends with its line.
        let end = if flags.contains('x') { "\n" } else { "" };
        let flags = if flags.is_empty() { flags } else { format!("(?{flags})") };
        let expression = format!(r"{flags}\A(?:{before}{rest}{end}{after})");
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

/// A pattern and the flags at its beginning.
struct Flags<'p> {
    /// Those that change something here.
    flags: String,
    pattern: &'p str,
}

impl<'p> Flags<'p> {
    /// Takes flags such as `(?i)` off the beginning of a pattern.
    ///
    /// `i`, `m`, `s` and `x` mean the same here as in Python, but for letters beyond ASCII and for spaces within braces. `a` and `u`
    /// change nothing, because the paths of modules are ASCII.
    ///
    /// # Errors
    ///
    /// Fails with the name of the setting if a flag may mean something else.
    fn take(key: &str, pattern: &'p str) -> Result<Self, AdapterError> {
        let refuse = |expected| Err(setting(key, &Value::from(pattern), expected));
        let (mut flags, mut rest) = (String::new(), pattern);
        while let Some((more, after)) = rest.strip_prefix("(?").and_then(|rest| rest.split_once(')')) {
            if more.is_empty() || !more.chars().all(|flag| flag.is_ascii_alphabetic()) {
                break;
            }
            if more.chars().any(|flag| !"aimsux".contains(flag)) {
                return refuse(
                    "no flags but `a`, `i`, `m`, `s`, `u` and `x`, which mean here what they mean in Python",
                );
            }
            flags.extend(more.chars().filter(|flag| !"au".contains(*flag)));
            rest = after;
        }
        if flags.contains('i') && !rest.is_ascii() {
            return refuse(
                "ASCII beside the flag `i`: Python folds the case of other letters in its own way",
            );
        }
        let has_space =
            |braces: &str| braces.split('}').next().is_some_and(|inner| inner.contains(char::is_whitespace));
        if flags.contains('x') && rest.split('{').skip(1).any(has_space) {
            return refuse(
                "no spaces in braces beside the flag `x`: Python does not take such braces for a number of repetitions",
            );
        }
        Ok(Flags { flags, pattern: rest })
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

    /// As Python 3.11's `re.fullmatch`.
    #[test]
    fn flags_at_the_beginning_mean_what_they_mean_in_python() {
        for (pattern, path, fits) in [
            (r"(?a).*\.[qv]_proj", "a.q_proj", true),
            (r"(?u)\w+", "q_proj", true),
            ("(?i).*Q_PROJ", "a.q_proj", true),
            (".*Q_PROJ", "a.q_proj", false),
            ("(?is)(?x) .* Q_ PROJ", "a.q_proj", true),
            ("(?x) .* \\. [qv]_proj  # q and v", "a.q_proj", true),
            ("(?x) .* \\. # one of two\n [qv]_proj", "a.k_proj", false),
            ("(?x)a[ #]b", "a b", true),
            ("(?ms)^a.b$", "a.b", true),
            ("(?aims)(?P<n>Q)(?P=n)", "qQ", true),
        ] {
            let found = Pattern::of_whole_path("target_modules", pattern).unwrap().fits(path).unwrap();
            assert_eq!(found, fits, "{pattern}");
        }
        for (pattern, expected) in [
            ("(?L)a", "no flags but"),
            ("(?U)a+", "no flags but"),
            ("(?iR)a", "no flags but"),
            ("(?i)\u{130}", "ASCII beside"),
            ("(?x)a{1, 2}", "no spaces in braces"),
        ] {
            let error = Pattern::of_whole_path("target_modules", pattern).unwrap_err().to_string();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
    }

    #[test]
    fn expressions_that_would_take_gigabytes_are_refused() {
        let names: Vec<String> = (0..64).map(|at| format!("x{at}(?:a{{900}}){{100}}")).collect();
        let classes: Vec<String> = (0..64).map(|at| format!(r"x{at}\w{{80}}")).collect();
        let many: Vec<String> = (0..=MOST).map(|at| format!("x{at}")).collect();
        for (patterns, expected) in
            [(&names, "the size of"), (&classes, "the size of"), (&many, "the number of")]
        {
            let error = check_sizes(patterns.iter().map(String::as_str)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let each = |at: usize| format!(r"^model\.layers\.{at}\.self_attn\.q_proj");
        let usual: Vec<String> = (0..512).map(each).collect();
        check_sizes(usual.iter().map(String::as_str)).unwrap();
    }

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
