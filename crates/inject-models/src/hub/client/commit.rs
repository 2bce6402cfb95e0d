//! The name of a commit.

use std::fmt;

/// A full commit hash: 40 lower-case hexadecimal digits. It is safe as the name of a folder and in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit(String);

impl Commit {
    /// `None` for anything other than a full hash.
    pub(super) fn parse(text: &str) -> Option<Self> {
        is_hex(text, 40).then(|| Commit(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text consists of `digits` lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_lower_case_hash_is_a_commit() {
        assert!(Commit::parse("607a30d783dfa663caf39e06633721c8d4cfcd7e").is_some());
        for text in ["", "607a30d", "607A30D783DFA663CAF39E06633721C8D4CFCD7E", "../..", "main"] {
            assert_eq!(Commit::parse(text), None, "{text}");
        }
        assert_eq!(Commit::parse(&format!("{}\n", "a".repeat(40))), None);
        assert_eq!(Commit::parse(&"a".repeat(41)), None);
    }
}
