//! A table of normalisations, the `precompiled_charsmap` of SentencePiece: a trie whose length is announced, and after it the
//! replacements.

use super::{LARGEST_GROWTH, LONGEST_TABLE, TokenizerLimit, size};

/// The only text that may be longer than others: a table of normalisations, in base64.
pub(super) const TABLE: &str = "precompiled_charsmap";

/// The bytes of a text that a table of normalisations is taken to need for this many of its replacement. The longest of published
/// tables takes 33, for a character of three bytes.
const BYTES_OF_REPLACEMENT: usize = 4;

/// The bytes of a text in base64, of which the library checks the form.
pub(super) fn of_base64(text: &str) -> Vec<u8> {
    let digit = |digit: &u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let of_four = |digits: &[u8]| {
        let bits = digits.iter().fold(0_u32, |bits, four| bits << 6 | u32::from(digit(four)));
        let [_, bytes @ ..] = (bits << (6 * (4 - digits.len()))).to_be_bytes();
        bytes
    };
    text.as_bytes().chunks(4).flat_map(of_four).collect()
}

/// The length in bytes that a table announces for its trie. The library reserves twice as much.
pub(super) fn announced(table: &[u8]) -> u32 {
    table.first_chunk().map_or(0, |first| u32::from_le_bytes(*first))
}

/// The most bytes that a table of normalisations makes of one, roughly. After its trie, replacements end with a zero.
pub(super) fn growth_by_table(table: &[u8]) -> usize {
    let begin = (announced(table) as usize).saturating_add(size_of::<u32>());
    let replacements = table.get(begin..).unwrap_or_default().split(|byte| *byte == 0);
    replacements.map(<[u8]>::len).max().unwrap_or(0) / BYTES_OF_REPLACEMENT
}

/// Checks a table of normalisations: the length that it announces for its trie, and its longest replacement.
pub(crate) fn check_table(table: &[u8]) -> Result<(), TokenizerLimit> {
    size("the length of `precompiled_charsmap`", table.len(), LONGEST_TABLE)?;
    trie_within(announced(table), table.len())?;
    size("the growth of a text by replacements", growth_by_table(table), LARGEST_GROWTH)
}

pub(super) fn trie_within(found: u32, table: usize) -> Result<(), TokenizerLimit> {
    if found as usize <= table { Ok(()) } else { Err(TokenizerLimit::Table { found, table }) }
}
