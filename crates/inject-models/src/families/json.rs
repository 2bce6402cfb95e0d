//! The text of a config.json.

use std::{borrow::Cow, path::Path};

use serde_json::{Map, Value};

use crate::error::ModelError;

/// Parses the text of a JSON object as Python does, which writes these files: a byte order mark is skipped, and `NaN` and
/// `Infinity` may stand for numbers. They become texts, so a key that is read cannot have them.
pub(super) fn parse(path: &Path, text: &str) -> Result<Map<String, Value>, ModelError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(&with_quoted_constants(text))
        .map_err(|source| ModelError::Json { path: path.to_owned(), source })
}

/// Puts the constants of Python's JSON between quotes.
fn with_quoted_constants(text: &str) -> Cow<'_, str> {
    const CONSTANTS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !CONSTANTS.iter().any(|constant| text.contains(constant)) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::with_capacity(text.len() + 16);
    let (mut rest, mut in_string) = (text, false);
    while let Some(character) = rest.chars().next() {
        let mut len = character.len_utf8();
        match CONSTANTS.iter().find(|constant| !in_string && rest.starts_with(**constant)) {
            Some(constant) => {
                quoted.extend(["\"", constant, "\""]);
                len = constant.len();
            }
            None if in_string && character == '\\' => {
                len += rest[1..].chars().next().map_or(0, char::len_utf8);
                quoted.push_str(&rest[..len]);
            }
            None => {
                in_string ^= character == '"';
                quoted.push(character);
            }
        }
        rest = &rest[len..];
    }
    Cow::Owned(quoted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn constants_outside_texts_become_texts() {
        let text = r#"{"a": [NaN, -Infinity, 1], "NaN \" Infinity": "Infinity \\", "b": Infinity}"#;
        let map = parse(Path::new("config.json"), text).unwrap();
        let expected =
            json!({"a": ["NaN", "-Infinity", 1], "NaN \" Infinity": "Infinity \\", "b": "Infinity"});
        assert_eq!(Value::from(map), expected);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(parse(Path::new("config.json"), "\u{feff}{}").unwrap().len(), 0);
    }
}
