//! Floating-point numbers that survive JSON to the last bit.
//!
//! `serde_json` writes the shortest digits that mean the number, but reads them back up to one unit in the last place off
//! unless its feature `float_roundtrip` is on for the whole build. The standard library reads them exactly, so here a number
//! is an object with its digits as text.

use serde_json::{Map, Value};

const KEY: &str = "f64";

/// Replaces every number that is no integer.
pub(super) fn encode(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let digits = Value::String(number.to_string());
            Value::Object(Map::from_iter([(KEY.to_owned(), digits)]))
        }
        Value::Array(values) => values.into_iter().map(encode).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, encode(value))).collect(),
        other => other,
    }
}

/// Undoes [`encode`].
pub(super) fn decode(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(decode).collect(),
        Value::Object(fields) => {
            let number = match fields.get(KEY) {
                Some(Value::String(digits)) if fields.len() == 1 => digits.parse::<f64>().ok(),
                _ => None,
            };
            match number {
                Some(number) => Value::from(number),
                None => fields.into_iter().map(|(name, value)| (name, decode(value))).collect(),
            }
        }
        other => other,
    }
}
