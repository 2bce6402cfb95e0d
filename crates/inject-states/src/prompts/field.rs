//! The text in a JSON value, by the name of its field.

use serde_json::Value;

/// The name of a field: keys and places in arrays, joined by dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field(String);

/// A value without the field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// The keys found instead.
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
            let texts: Vec<String> = messages.iter().map(message_text).collect::<Option<Vec<_>>>()?.concat();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        _ => None,
    }
}

/// The texts of a message: one, none if it only calls a tool, or those among its parts.
///
/// # Source
///
/// The messages of OpenAI's chat completions: `content` is a text, null beside `tool_calls`, or a list of parts such as
/// `{"type": "text", "text": ..}` and images.
fn message_text(message: &Value) -> Option<Vec<String>> {
    let object = message.as_object()?;
    let contents = || ["content", "value", "text"].iter().filter_map(|&key| object.get(key));
    match contents().find(|content| !content.is_null()).or_else(|| contents().next())? {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Null => Some(Vec::new()),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| match part {
                Value::String(text) => Some(Some(text.clone())),
                Value::Object(part) => Some(part.get("text").and_then(Value::as_str).map(str::to_owned)),
                _ => None,
            });
            Some(texts.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

/// The names of the fields of a value, for people who choose among them. Those that are not texts are marked.
fn keys(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_keys(value, "", 0, &mut found);
    found
}

/// The most names of fields that are listed, and the deepest.
const MOST_KEYS: usize = 40;
const DEEPEST_KEY: usize = 6;

fn collect_keys(value: &Value, name: &str, depth: usize, found: &mut Vec<String>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        _ if found.len() >= MOST_KEYS => {}
        _ if text(value).is_some() && !name.is_empty() => found.push(name.to_owned()),
        Value::Object(object) if depth < DEEPEST_KEY && !object.is_empty() => {
            object.iter().for_each(|(key, value)| collect_keys(value, &below(key), depth + 1, found));
        }
        // The items of an array are mostly alike, so the first stands for all.
        Value::Array(items) if depth < DEEPEST_KEY && items.iter().any(has_text) => {
            items.iter().take(1).for_each(|item| collect_keys(item, &below("0"), depth + 1, found));
        }
        _ if name.is_empty() => {}
        _ => found.push(format!("{name} (not a text)")),
    }
}

/// Whether a value is a text or may have one within.
fn has_text(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Object(_) | Value::Array(_))
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
            assert_eq!(text(name).unwrap_err().found, ["a.b.0", "d.e", "n (not a text)"], "{name}");
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

    #[test]
    fn the_content_of_a_message_is_null_or_has_parts() {
        let messages = json!([
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, "b"]},
            {"role": "assistant", "content": null, "tool_calls": []},
            {"role": "assistant", "content": "c"},
        ]);
        let text = |messages: &Value| Field::new("messages").text_of(&json!({ "messages": messages }));
        assert_eq!(text(&messages).unwrap(), "a\nb\nc");
        let role = "messages.0.role";
        for (nothing, found) in [
            (
                json!([{"role": "assistant", "content": null}]),
                ["messages.0.content (not a text)", role].as_slice(),
            ),
            (json!([{"content": [1]}]), &["messages.0.content (not a text)"]),
        ] {
            assert_eq!(text(&nothing).unwrap_err().found, found, "{nothing}");
        }
    }

    #[test]
    fn the_keys_of_every_depth_are_listed() {
        let value = json!({"a": {"b": {"c": {"d": "x", "e": 1}}}, "f": [{"g": {"h": "y"}}], "i": [1, 2]});
        let found = Field::new("text").text_of(&value).unwrap_err().found;
        assert_eq!(found, ["a.b.c.d", "a.b.c.e (not a text)", "f.0.g.h", "i (not a text)"]);
    }
}
