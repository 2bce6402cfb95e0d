//! The checksum of a line: the last member of its object.

use xxhash_rust::xxh3::xxh3_64;

/// The text before the checksum.
const MEMBER: &str = "\"xxh3\":\"";

/// The text after the checksum, which ends the object.
const END: &str = "\"}";

/// The digits of the checksum.
const DIGITS: usize = 16;

/// Returns a line with its checksum, if the line is an object.
pub(super) fn added(line: String) -> String {
    let Some(open) = line.strip_prefix('{').and_then(|line| line.strip_suffix('}')) else { return line };
    let comma = if open.is_empty() { "" } else { "," };
    format!("{{{open}{comma}{MEMBER}{:016x}{END}", xxh3_64(line.as_bytes()))
}

/// Returns whether a line agrees with its checksum, or has none.
pub(super) fn agrees(line: &[u8]) -> bool {
    let Some((open, digits)) = split(line) else { return true };
    let body = [open.strip_suffix(b",").unwrap_or(open), b"}"].concat();
    digits == format!("{:016x}", xxh3_64(&body)).as_bytes()
}

/// Splits a line into what stands before the checksum and the digits of the checksum.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(END.as_bytes())?;
    let (line, digits) = line.split_at_checked(line.len().checked_sub(DIGITS)?)?;
    Some((line.strip_suffix(MEMBER.as_bytes())?, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_keeps_the_line_an_object() {
        for (line, members) in [("{}", 1), ("{\"a\":[1,{}]}", 2)] {
            let with = added(line.to_owned());
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&with).unwrap();
            assert_eq!(object.len(), members);
            assert!(agrees(with.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_an_object_has_no_checksum() {
        assert_eq!(added("\"header\"".to_owned()), "\"header\"");
        assert!(agrees(b"\"header\"") && agrees(b"{\"a\":1}") && agrees(b""));
    }
}
