//! Members of objects in the JSON files of tokenizers.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

/// A value whose members keep the order of the file if it is an object.
///
/// As in Python, a key that occurs twice has its last value, in its first place.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Member {
    Object(IndexMap<String, Value>),
    Other(Value),
}

impl Member {
    /// Returns a value that is not an object.
    pub(super) fn plain(&self) -> Option<&Value> {
        match self {
            Member::Object(_) => None,
            Member::Other(value) => Some(value),
        }
    }
}

impl From<Member> for Value {
    fn from(member: Member) -> Self {
        match member {
            Member::Object(members) => Value::Object(members.into_iter().collect()),
            Member::Other(value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_the_last_of_two_counts_in_the_place_of_the_first() {
        let text = r#"{"z": 1, "b": {"y": 2, "a": 3}, "z": 4, "c": [5]}"#;
        let members: IndexMap<String, Member> = serde_json::from_str(text).unwrap();
        assert_eq!(members.keys().collect::<Vec<_>>(), ["z", "b", "c"]);
        assert_eq!(members["z"].plain(), Some(&Value::from(4)));
        let Member::Object(inner) = &members["b"] else { panic!("{members:?}") };
        assert_eq!(inner.keys().collect::<Vec<_>>(), ["y", "a"]);
    }
}
