//! The checksum of a JSON object, which is its last member, [`NAME`].
//!
//! # Example
//!
//! ```
//! use inject_states::durable::checksum_member::{added, agrees};
//!
//! let text = added("{\"loss\":0.25}".to_owned());
//! assert!(agrees(text.as_bytes()) && !agrees(text.replace("0.25", "0.75").as_bytes()));
//! ```

use super::Checksum;

/// The name of the member.
pub const NAME: &str = "xxh3";

/// The digits of the checksum.
const DIGITS: usize = 16;

/// A way to lay out the text of an object.
struct Layout {
    /// The text between the members before the checksum, or their comma, and the checksum.
    member: &'static str,
    /// The text after the checksum.
    end: &'static str,
    /// The end of the object without its checksum.
    end_without: &'static str,
}

/// The object in several lines, and in one. The end of the first is an end of the second too, so the first is tried first.
const LAYOUTS: [Layout; 2] = [
    Layout { member: "\n  \"xxh3\": \"", end: "\"\n}", end_without: "\n}" },
    Layout { member: "\"xxh3\":\"", end: "\"}", end_without: "}" },
];

/// Returns the text with its checksum, if it is that of an object. The checksum is laid out like the other members, in a line of its own
/// or not.
pub fn added(text: String) -> String {
    added_after(&Checksum::new(), text)
}

/// Does the same with the checksum of other bytes and the text after them.
pub(super) fn added_after(before: &Checksum, text: String) -> String {
    let layout = LAYOUTS.iter().find_map(|layout| Some((layout, text.strip_suffix(layout.end_without)?)));
    let Some((Layout { member, end, .. }, open)) = layout.filter(|_| text.starts_with('{')) else {
        return text;
    };
    let comma = if open == "{" { "" } else { "," };
    let mut checksum = before.clone();
    checksum.update(text.as_bytes());
    format!("{open}{comma}{member}{checksum}{end}")
}

/// Returns whether a text agrees with its checksum, or has none.
pub fn agrees(text: &[u8]) -> bool {
    agrees_after(&Checksum::new(), text).unwrap_or(true)
}

/// Returns whether a text agrees with its checksum, which is that of other bytes and the text after them. `None` if it has none.
pub(super) fn agrees_after(before: &Checksum, text: &[u8]) -> Option<bool> {
    let found = LAYOUTS.iter().find_map(|layout| Some((layout, split(text, layout)?)));
    let Some((layout, (open, digits))) = found else { return names_one(text).then_some(false) };
    let mut checksum = before.clone();
    checksum.update(open.strip_suffix(b",").unwrap_or(open));
    checksum.update(layout.end_without.as_bytes());
    Some(digits == checksum.to_string().as_bytes())
}

/// Whether a text is an object with a checksum in another layout, as an editor leaves it that changes line ends or adds one.
fn names_one(text: &[u8]) -> bool {
    let name = format!("\"{NAME}\"").into_bytes();
    text.windows(name.len()).any(|window| window == name)
        && serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text)
            .is_ok_and(|object| object.contains_key(NAME))
}

/// Splits a text into what stands before the checksum and the digits of the checksum.
fn split<'a>(text: &'a [u8], layout: &Layout) -> Option<(&'a [u8], &'a [u8])> {
    let text = text.strip_suffix(layout.end.as_bytes())?;
    let (text, digits) = text.split_at_checked(text.len().checked_sub(DIGITS)?)?;
    Some((text.strip_suffix(layout.member.as_bytes())?, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_keeps_the_text_an_object() {
        for (text, members) in [("{}", 1), ("{\"a\":[1,{}]}", 2), ("{\n  \"a\": {\n    \"b\": 1\n  }\n}", 2)]
        {
            let with = added(text.to_owned());
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&with).unwrap();
            assert_eq!(object.len(), members);
            assert!(agrees(with.as_bytes()));
            for place in 0..with.len() {
                let mut changed = with.clone().into_bytes();
                changed[place] ^= 1;
                // Without the name of the checksum, or the end of the object, there is nothing to compare.
                let parsed = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&changed);
                let named = parsed.is_ok_and(|object| object.contains_key("xxh3"));
                assert!(!named || !agrees(&changed), "byte {place} of {with}");
            }
        }
    }

    #[test]
    fn the_layout_of_the_text_is_kept() {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "a": [1], "xxh3": "0123456789abcdef" }));
        let without = serde_json::to_string_pretty(&serde_json::json!({ "a": [1] })).unwrap();
        let expected =
            text.unwrap().replace("0123456789abcdef", &Checksum::of(without.as_bytes()).to_string());
        assert_eq!(added(without), expected);
    }

    #[test]
    fn what_is_not_an_object_has_no_checksum() {
        for text in ["\"header\"", "[{}]", ""] {
            assert_eq!(added(text.to_owned()), text);
        }
        assert!(agrees(b"\"header\"") && agrees(b"{\"a\":1}") && agrees(b""));
    }

    #[test]
    fn another_layout_of_a_checksum_is_not_none() {
        let line = added("{\"a\":1}".to_owned());
        for other in [format!("{line}\r"), format!("{line}\n"), line.replace(':', ": "), format!(" {line} ")]
        {
            assert!(!agrees(other.as_bytes()), "{other:?}");
        }
        assert!(agrees(br#"{"a":"\"xxh3\""}"#));
    }
}
