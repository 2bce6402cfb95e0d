//! The text in a JSON value, by the name of its field.

use serde_json::Value;

/// The name of a field: keys and places in arrays, joined by dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field(String);

/// A value without the field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// The keys that are there instead.
    pub(super) found: Vec<String>,
}

impl Default for Field {
    fn default() -> Self {
        Field("text".to_owned())
    }
}

impl Field {
    pub(super) fn new(name: &str) -> Self {
        Field(name.to_owned())
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Returns the text of a value: that of the field of an object, or a text itself. A conversation is the texts of its messages, with a
    /// line break between each two.
    pub(super) fn text_of(&self, value: &Value) -> Result<String, Missing> {
        if let Value::String(text) = value {
            return Ok(text.clone());
        }
        // A key may have dots itself.
        let whole = value.as_object().and_then(|object| object.get(&self.0));
        let found = whole.or_else(|| self.0.split('.').try_fold(value, |value, key| step(value, key)));
        found.and_then(text).ok_or_else(|| Missing { found: keys(value) })
    }
}

fn step<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(object) => object.get(key),
        Value::Array(array) => array.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// A string, or the texts of a conversation.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(messages) if !messages.is_empty() => {
            let texts = messages.iter().map(|message| {
                let object = message.as_object()?;
                ["content", "value", "text"].iter().find_map(|&key| object.get(key)?.as_str())
            });
            Some(texts.collect::<Option<Vec<_>>>()?.join("\n"))
        }
        _ => None,
    }
}

/// The names of the fields of a value, for people who choose among them. Those that are not texts are marked.
fn keys(value: &Value) -> Vec<String> {
    const MOST: usize = 20;
    let named = |name: String, value: &Value| {
        if text(value).is_some() { name } else { format!("{name} (not a text)") }
    };
    let mut found = Vec::new();
    let Value::Object(object) = value else { return found };
    for (key, value) in object.iter().take(MOST) {
        match value {
            Value::Object(inner) => {
                found.extend(
                    inner.iter().take(MOST).map(|(name, value)| named(format!("{key}.{name}"), value)),
                );
            }
            _ => found.push(named(key.clone(), value)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_found_by_its_dotted_name() {
        let value = json!({"a": {"b": ["x", {"c": "y"}]}, "d.e": "z", "n": null});
        let text = |name| Field::new(name).text_of(&value);
        assert_eq!(text("a.b.0").unwrap(), "x");
        assert_eq!(text("a.b.1.c").unwrap(), "y");
        assert_eq!(text("d.e").unwrap(), "z");
        for name in ["a", "a.b.2", "n", "text", ""] {
            assert_eq!(
                text(name).unwrap_err().found,
                ["a.b (not a text)", "d.e", "n (not a text)"],
                "{name}"
            );
        }
    }

    #[test]
    fn a_conversation_is_the_texts_of_its_messages() {
        for messages in [
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
            json!([{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]),
        ] {
            assert_eq!(Field::new("messages").text_of(&json!({ "messages": messages })).unwrap(), "a\nb");
        }
    }
}
