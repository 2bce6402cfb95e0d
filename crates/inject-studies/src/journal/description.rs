//! The description of a study.

use std::fmt;

use serde_json::{Map, Value};

use crate::name::StudyName;

/// The description of a study: its name, and everything that its results depend on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Description {
    study: StudyName,
    #[serde(flatten)]
    dependencies: Map<String, Value>,
}

/// The first field in which two descriptions differ, and its values, shortened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The path of the field, such as `options.closest`.
    pub field: String,
    /// The value found, as JSON.
    pub found: String,
    /// The value expected.
    pub expected: String,
}

impl Description {
    /// Describes a study. `dependencies` is a JSON object with everything that its results depend on.
    ///
    /// # Panics
    ///
    /// If `dependencies` is not an object.
    pub fn new(study: StudyName, dependencies: Value) -> Self {
        match dependencies {
            Value::Object(dependencies) => Description { study, dependencies },
            other => panic!("the dependencies of a study are {other}, expected an object"),
        }
    }

    /// The name of the study.
    pub fn study(&self) -> StudyName {
        self.study
    }

    /// The first difference from the expected description.
    pub(super) fn difference(&self, expected: &Description) -> Option<Difference> {
        if self.study != expected.study {
            let [found, expected] = [self, expected].map(|about| about.study.to_string());
            return Some(Difference { field: "study".to_owned(), found, expected });
        }
        first_difference(&self.dependencies, &expected.dependencies, "")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, expected {}", self.field, self.found, self.expected)
    }
}

fn first_difference(
    found: &Map<String, Value>,
    expected: &Map<String, Value>,
    path: &str,
) -> Option<Difference> {
    let mut keys = found.keys().chain(expected.keys().filter(|key| !found.contains_key(*key)));
    keys.find_map(|key| {
        let field = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        compare(found.get(key), expected.get(key), field)
    })
}

fn compare(found: Option<&Value>, expected: Option<&Value>, field: String) -> Option<Difference> {
    match (found, expected) {
        (a, b) if a == b => None,
        (Some(Value::Object(a)), Some(Value::Object(b))) => first_difference(a, b, &field),
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            let mut values = a.iter().zip(b).enumerate();
            values.find_map(|(place, (a, b))| compare(Some(a), Some(b), format!("{field}[{place}]")))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            let [found, expected] = [a, b].map(|values| format!("a list of {}", values.len()));
            Some(Difference { field, found, expected })
        }
        (a, b) => Some(Difference { field, found: shortened(a), expected: shortened(b) }),
    }
}

/// A value as JSON, cut after some characters.
fn shortened(value: Option<&Value>) -> String {
    const LONGEST: usize = 60;
    let Some(value) = value else { return "absent".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference(found: Value, expected: Value) -> String {
        let [found, expected] = [found, expected].map(|value| Description::new(StudyName::Corpus, value));
        found.difference(&expected).map_or_else(|| "none".to_owned(), |difference| difference.to_string())
    }

    #[test]
    fn the_field_that_differs_is_named_with_both_values() {
        let about = json!({ "model": "a", "options": { "closest": 10, "taps": ["embedding"] } });
        assert_eq!(difference(about.clone(), about.clone()), "none");
        let mut other = about.clone();
        other["options"]["closest"] = json!(5);
        assert_eq!(difference(about.clone(), other), "`options.closest` is 10, expected 5");
        let mut other = about.clone();
        other["options"]["taps"] = json!(["block-1"]);
        assert_eq!(
            difference(about.clone(), other),
            "`options.taps[0]` is \"embedding\", expected \"block-1\""
        );
        assert_eq!(
            difference(about.clone(), json!({ "model": "a" })).split(" is ").next(),
            Some("`options`")
        );
        let other = json!({ "model": "a", "options": about["options"], "new": 1 });
        assert_eq!(difference(about, other), "`new` is absent, expected 1");
    }

    #[test]
    fn long_values_are_shortened_and_long_lists_counted() {
        let long =
            |count: usize| json!({ "prefixes": vec![vec![1; 1000]; count], "text": "ä".repeat(10_000) });
        assert_eq!(difference(long(3), long(4)), "`prefixes` is a list of 3, expected a list of 4");
        let message = difference(long(3), json!({ "prefixes": vec![vec![1; 1000]; 3], "text": "b" }));
        assert!(message.len() < 300 && message.ends_with("..., expected \"b\""), "{message}");
    }

    #[test]
    fn the_study_is_compared_first() {
        let found = Description::new(StudyName::Margins, json!({ "a": 1 }));
        let expected = Description::new(StudyName::Corpus, json!({ "a": 2 }));
        assert_eq!(found.difference(&expected).unwrap().to_string(), "`study` is margins, expected corpus");
    }
}
