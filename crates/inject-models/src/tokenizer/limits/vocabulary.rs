//! The limits of a vocabulary and its merges, checked before they are copied for the tokenizers library.
//!
//! The library takes a merge as two texts of its own, so that a few bytes in a file become hundreds in memory. Merges that are
//! derived from tokens can be many times as long as the tokens.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{LONGEST_MARK, MOST_ADDED, TokenizerLimit, size};

/// Most tokens. Gemma 3 has 262 thousand.
const MOST_TOKENS: usize = 1 << 20;

/// Longest token, in bytes. Known vocabularies have runs of up to a few hundred spaces.
const LONGEST_TOKEN: usize = 1024;

/// Longest sum of all tokens, in bytes. Gemma 3 has 2 MB.
const MOST_TOKEN_BYTES: usize = 16 << 20;

/// Longest sum of the pieces of a Unigram model, in bytes. XLM-RoBERTa has 2 MB. The library takes about 400 times as much memory to search for
/// them, and frees it by a recursion as deep as the longest piece.
const MOST_PIECE_BYTES: usize = 4 << 20;

/// Most merges. Gemma 3 has 580 thousand.
const MOST_MERGES: usize = 1 << 21;

/// Longest sum of all merges, in bytes. Gemma 3 has 5 MB.
const MOST_MERGE_BYTES: usize = 32 << 20;

/// Merges, counted as they are added.
#[derive(Debug, Default)]
pub(crate) struct Merges {
    pairs: Vec<(String, String)>,
    bytes: usize,
}

impl Merges {
    pub(crate) fn push(&mut self, first: &str, second: &str) -> Result<(), TokenizerLimit> {
        self.bytes += first.len() + second.len();
        size("the number of merges", self.pairs.len() + 1, MOST_MERGES)?;
        size("the length of all merges", self.bytes, MOST_MERGE_BYTES)?;
        self.pairs.push((first.to_owned(), second.to_owned()));
        Ok(())
    }

    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.pairs
    }
}

/// Checks the tokens of a vocabulary.
pub(crate) fn check_tokens<'a>(tokens: impl Iterator<Item = &'a str>) -> Result<(), TokenizerLimit> {
    let mut lengths = Lengths::default();
    for token in tokens {
        lengths.add(token);
        lengths.check()?;
    }
    Ok(())
}

/// The lengths of the tokens of a vocabulary. In a `tokenizer.json` that is an object of ids by token, or a list of the pieces of a
/// Unigram model.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    tokens: usize,
    longest: usize,
    all: usize,
    are_pieces: bool,
}

impl Lengths {
    fn add(&mut self, token: &str) {
        self.tokens += 1;
        self.longest = self.longest.max(token.len());
        self.all += token.len();
    }

    pub(super) fn check(&self) -> Result<(), TokenizerLimit> {
        size("the number of tokens", self.tokens, MOST_TOKENS)?;
        size("the length of a token", self.longest, LONGEST_TOKEN)?;
        let most = if self.are_pieces { MOST_PIECE_BYTES } else { MOST_TOKEN_BYTES };
        size("the length of all tokens", self.all, most)
    }
}

impl<'de> Deserialize<'de> for Lengths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tokens;
        impl<'de> Visitor<'de> for Tokens {
            type Value = Lengths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("ids by token, or a list of pieces and scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lengths, A::Error> {
                let mut lengths = Lengths::default();
                while let Some((token, _)) = map.next_entry::<Cow<'_, str>, IgnoredAny>()? {
                    lengths.add(&token);
                }
                Ok(lengths)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pieces: A) -> Result<Lengths, A::Error> {
                let mut lengths = Lengths { are_pieces: true, ..Lengths::default() };
                while let Some((piece, _)) = pieces.next_element::<(Cow<'_, str>, IgnoredAny)>()? {
                    lengths.add(&piece);
                }
                Ok(lengths)
            }
        }
        deserializer.deserialize_any(Tokens)
    }
}

/// Checks the tokens that text is searched for before anything else.
pub(crate) fn check_added<'a>(tokens: impl Iterator<Item = &'a str>) -> Result<(), TokenizerLimit> {
    let bytes = tokens.map(str::len).fold(0, usize::saturating_add);
    size("the length of all added tokens", bytes, MOST_ADDED)
}

/// Checks the token that stands for unknown text.
pub(crate) fn check_unknown(token: &str) -> Result<(), TokenizerLimit> {
    size("the length of the unknown token", token.len(), LONGEST_MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_known_models_are_within_the_limits() {
        let spaces = "\u{2581}".repeat(128);
        let tokens = std::iter::repeat_n("piece", 300_000).chain([spaces.as_str()]);
        check_tokens(tokens).unwrap();
    }

    #[test]
    fn tokens_that_are_too_many_or_too_long_are_refused() {
        let message =
            |tokens: &mut dyn Iterator<Item = &'static str>| check_tokens(tokens).unwrap_err().to_string();
        let many = message(&mut std::iter::repeat_n("a", MOST_TOKENS + 1));
        assert_eq!(many, "the number of tokens is 1048577, expected at most 1048576");
        let long: &'static str = "a".repeat(LONGEST_TOKEN + 1).leak();
        assert_eq!(message(&mut [long].into_iter()), "the length of a token is 1025, expected at most 1024");
        let all = message(&mut std::iter::repeat_n(&long[1..], MOST_TOKEN_BYTES / LONGEST_TOKEN + 1));
        assert!(all.starts_with("the length of all tokens is"), "{all}");
    }

    #[test]
    fn the_tokens_of_a_file_have_the_same_limits_and_pieces_a_smaller_one() {
        let check = |vocab: serde_json::Value| serde_json::from_value::<Lengths>(vocab).unwrap().check();
        let message = |vocab: serde_json::Value| check(vocab).unwrap_err().to_string();
        check(serde_json::json!({"a": 0, "\u{2581}b": 1})).unwrap();
        check(serde_json::json!([["a", -1.0], ["b", -2.5]])).unwrap();
        let long = "a".repeat(LONGEST_TOKEN + 1);
        assert_eq!(
            message(serde_json::json!({long.as_str(): 0})),
            "the length of a token is 1025, expected at most 1024"
        );
        assert_eq!(
            message(serde_json::json!([[long, 0.0]])),
            "the length of a token is 1025, expected at most 1024"
        );
        let pieces = vec![("a".repeat(LONGEST_TOKEN), 0.0); MOST_PIECE_BYTES / LONGEST_TOKEN + 1];
        let all = message(serde_json::json!(pieces));
        assert!(all.starts_with("the length of all tokens is"), "{all}");
    }

    #[test]
    fn merges_are_counted_before_they_are_kept() {
        let long = "a".repeat(LONGEST_TOKEN);
        let mut merges = Merges::default();
        let error = (0..).find_map(|_| merges.push(&long, &long).err()).unwrap().to_string();
        assert!(error.starts_with("the length of all merges is"), "{error}");
        assert_eq!(merges.into_pairs().len(), MOST_MERGE_BYTES / (2 * LONGEST_TOKEN));
        let mut merges = Merges::default();
        let error = (0..).find_map(|_| merges.push("a", "b").err()).unwrap().to_string();
        assert_eq!(error, "the number of merges is 2097153, expected at most 2097152");
    }
}
