//! The first field in which two JSON values differ.

use serde_json::Value;

/// The longest text of a value in an error.
const LONGEST: usize = 120;

/// A field in which two JSON values differ, and its two values as JSON.
///
/// The field is a path such as `spec.taps`. It is empty if the values are not both objects.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference {
    pub(crate) field: String,
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl Difference {
    /// Returns the first difference. A field that only one of the two has counts as `nothing` in the other.
    pub(crate) fn first(found: &Value, expected: &Value) -> Option<Difference> {
        first("", Some(found), Some(expected))
    }

    /// Returns the last name of the path.
    pub(crate) fn name(&self) -> &str {
        self.field.rsplit('.').next().unwrap_or_default()
    }
}

fn first(field: &str, found: Option<&Value>, expected: Option<&Value>) -> Option<Difference> {
    if let (Some(Value::Object(found)), Some(Value::Object(expected))) = (found, expected) {
        let more = found.keys().filter(|&name| !expected.contains_key(name));
        return expected.keys().chain(more).find_map(|name| {
            let path = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
            first(&path, found.get(name), expected.get(name))
        });
    }
    let differs = || Difference { field: field.to_owned(), found: text(found), expected: text(expected) };
    (found != expected).then(differs)
}

/// Returns a value as JSON, cut where it is long.
fn text(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_innermost_field_is_named() {
        let found = json!({ "a": 1, "b": { "c": [1, 2] } });
        assert_eq!(Difference::first(&found, &found), None);
        let expected = json!({ "a": 1, "b": { "c": [1, 3] } });
        let difference = Difference::first(&found, &expected).unwrap();
        assert_eq!(
            (difference.field.as_str(), difference.found.as_str(), difference.expected.as_str()),
            ("b.c", "[1,2]", "[1,3]")
        );
        assert_eq!(difference.name(), "c");
        let difference = Difference::first(&found, &json!({ "a": 1 })).unwrap();
        assert_eq!((difference.field.as_str(), difference.expected.as_str()), ("b", "nothing"));
    }

    #[test]
    fn long_values_are_cut() {
        let difference = Difference::first(&json!("a".repeat(10_000)), &json!("b")).unwrap();
        assert_eq!(difference.found.len(), 120 + "... (10002 bytes)".len());
    }
}
