//! Objects of JSON whose members keep the order of the file.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

/// The members of an object, in the order of the file. As in Python, a key that occurs twice has its last value, in its first place.
#[derive(Clone, Debug)]
pub(crate) struct InOrder<T>(Vec<(String, T)>);

/// A value whose members keep their order if it is an object.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Member {
    Object(InOrder<Value>),
    Other(Value),
}

impl<T> InOrder<T> {
    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<T> {
        let place = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(place).1)
    }

    /// Sets a member, in the place that its key has, or as the last.
    pub(crate) fn insert(&mut self, key: String, value: T) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => self.0.push((key, value)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        InOrder(Vec::new())
    }
}

impl<T> IntoIterator for InOrder<T> {
    type Item = (String, T);
    type IntoIter = std::vec::IntoIter<(String, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T> FromIterator<(String, T)> for InOrder<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(members: I) -> Self {
        let mut all: Vec<(String, T)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (key, value) in members {
            match places.entry(key) {
                Entry::Occupied(place) => all[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    all.push((place.key().clone(), value));
                    place.insert(all.len() - 1);
                }
            }
        }
        InOrder(all)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for InOrder<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = InOrder<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder<T>, A::Error> {
                std::iter::from_fn(|| map.next_entry().transpose()).collect()
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl Member {
    /// Returns a value that is not an object.
    pub(crate) fn plain(&self) -> Option<&Value> {
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
        let members: InOrder<Member> = serde_json::from_str(text).unwrap();
        let keys: Vec<&str> = members.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["z", "b", "c"]);
        assert_eq!(members.get("z").and_then(Member::plain), Some(&Value::from(4)));
        let Some(Member::Object(inner)) = members.get("b") else { panic!("{members:?}") };
        assert_eq!(inner.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["y", "a"]);
    }
}
