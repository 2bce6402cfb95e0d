//! JSON values of bounded size. Two bytes of text can ask for hundreds of bytes of memory.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The memory that the values of one prompt may take, in bytes. A prompt of a million token ids takes a quarter.
pub(super) const MOST: usize = 1 << 27;

/// The memory of the smallest object, in bytes: a node of its tree has place for eleven entries.
const OBJECT: usize = 11 * (size_of::<String>() + size_of::<Value>());

/// Reads a value that takes at most [`MOST`] bytes.
pub(super) fn value(text: &str) -> Result<Value, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Bounded(&mut { MOST }).deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// A value, and the bytes that it and its neighbours may still take.
pub(super) struct Bounded<'a>(pub(super) &'a mut usize);

impl Bounded<'_> {
    fn take<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        let left = self.0.checked_sub(bytes);
        *self.0 = left
            .ok_or_else(|| E::custom(format_args!("the values of a prompt take more than {MOST} bytes")))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(mut self, json: D) -> Result<Value, D::Error> {
        self.take(size_of::<Value>())?;
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<Value, E> {
        self.take(text.len())?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Bounded(self.0))? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        self.take(OBJECT)?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.take(size_of::<String>() + key.len())?;
            object.insert(key, entries.next_value_seed(Bounded(self.0))?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_serde_json() {
        for text in [
            "null",
            "[true, -1, 18446744073709551615, 0.1, 1e-300]",
            r#"{"a": {"b": ["é\n", {}]}, "a": [[]]}"#,
        ] {
            assert_eq!(value(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        for text in ["", "1 2", "[1,]", &"[".repeat(1000)] {
            let [found, expected] =
                [value(text).unwrap_err(), serde_json::from_str::<Value>(text).unwrap_err()];
            assert_eq!(found.to_string(), expected.to_string());
        }
    }

    #[test]
    fn small_values_that_take_much_memory_are_refused() {
        for (item, count) in [("{\"\":0},", 1 << 18), ("{},", 1 << 18), ("0,", 1 << 22), ("[],", 1 << 22)] {
            let text = format!("[{}0]", item.repeat(count));
            let error = value(&text).unwrap_err();
            assert!(error.to_string().contains("more than 134217728 bytes"), "{item}: {error}");
        }
        assert!(value(&format!("[{}0]", "4999,".repeat(999_999))).is_ok());
    }
}
