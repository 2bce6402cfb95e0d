//! Limits on the memory and time that a `tokenizer.json` can ask for, checked before the tokenizers library reads it.
//!
//! A few bytes can ask the library (0.23.2) for gigabytes: a pattern with nested counts, patterns that replace a character by
//! many, one after another, a template that repeats long special tokens, a table whose length is only announced. Each limit is
//! several times what the tokenizers of published models need.

mod normalisations;
mod vocabulary;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

pub(crate) use self::{
    normalisations::check_table,
    vocabulary::{Merges, check_added, check_tokens, check_unknown},
};
use self::{
    normalisations::{TABLE, announced, growth_by_table, of_base64, trie_within},
    vocabulary::Lengths,
};

/// The largest `tokenizer.json` that is read has [`BYTES_OF_ANY`], because a small model may use the tokenizer of a large one. Each token of
/// the model adds this many bytes, up to [`MOST_BYTES`] in all.
/// Gemma 3's takes 33 MB, which is 128 bytes a token, merges included. Reading 40 MB of the shortest tokens takes 700 MB.
const BYTES_PER_TOKEN: u64 = 1 << 10;
const BYTES_OF_ANY: u64 = 40 << 20;
const MOST_BYTES: u64 = 256 << 20;

/// The same for files of SentencePiece. Gemma 3's takes 18 bytes a piece, and 5 MB.
const BYTES_PER_PIECE: u64 = 64;
const PIECES_OF_ANY: u64 = 6 << 20;
const MOST_PIECES_BYTES: u64 = 16 << 20;

/// The quantity in errors.
const LENGTH: &str = "the length of the file in bytes, whose limit grows with the model's vocab_size,";

/// Longest table of normalisations, in bytes. Those of T5 and XLM-RoBERTa take 300 KB as a text.
const LONGEST_TABLE: usize = 1 << 20;

/// Values in the parts beside the vocabulary. Known tokenizers have less than a hundred.
const MOST_VALUES: usize = 4096;

/// Longest text in these parts, in bytes. Patterns have up to a few hundred.
const LONGEST_TEXT: usize = 4096;

/// Most patterns. Known tokenizers have up to ten.
const MOST_PATTERNS: usize = 64;

/// Largest sum, over all patterns, of the length times the counts such as those of `{1,3}`. A compiled pattern may repeat its
/// parts as often.
const LARGEST_PATTERNS: usize = 1 << 16;

/// Most bytes that the parts before the model make of one, and those after it. Llama and Gemma put 3 bytes for a space.
const LARGEST_GROWTH: usize = 64;

/// Most tokens that a template adds to a text. Known ones add up to three.
const MOST_SPECIAL: usize = 256;

/// Longest text that the model puts before, after or in place of a token, in bytes.
const LONGEST_MARK: usize = 64;

/// Longest word that WordPiece divides, in characters; BERT has 100. The time for a word grows with the cube of its length.
const LONGEST_WORD: u64 = 256;

/// Longest added token, and all of them together, in bytes. Gemma 3 has 80 KB of them, and models of speech have up to 1 MB. The
/// library takes some hundred times as much memory to search for them.
const LONGEST_ADDED: usize = 1024;
const MOST_ADDED: usize = 4 << 20;

/// The reason why a `tokenizer.json` is not given to the tokenizers library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerLimit {
    /// It is not JSON, or its parts are not those of a tokenizer.
    #[error("expected a tokenizer")]
    Json(#[from] serde_json::Error),
    /// A part asks for more than a tokenizer needs.
    #[error("{asked} is {found}, expected at most {most}")]
    Exceeded {
        /// The limited quantity, as text for the message.
        asked: &'static str,
        /// The value that the file asks for.
        found: u64,
        /// The largest value that is accepted.
        most: u64,
    },
    /// A table of normalisations that ends before its announced length.
    #[error("`precompiled_charsmap` announces a trie of {found} bytes in a table of {table}")]
    Table {
        /// The length that the table announces, in bytes.
        found: u32,
        /// The length of the table in bytes.
        table: usize,
    },
}

/// The parts of a `tokenizer.json` that are looked at.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    model: Option<Marks>,
}

#[derive(Deserialize)]
struct AddedToken {
    content: Option<String>,
}

/// The texts that a model puts beside or in place of tokens, the lengths of its tokens, and its merges, of which only the form is looked at.
#[derive(Deserialize)]
struct Marks {
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    max_input_chars_per_word: Option<u64>,
    vocab: Option<Lengths>,
    #[serde(rename = "merges")]
    _merges: Option<IgnoredAny>,
}

/// The sums of what the parts of a tokenizer ask for.
struct Asked {
    values: usize,
    patterns: usize,
    pattern_size: usize,
    growth: usize,
    special: usize,
    copies: usize,
}

/// Checks the length of a file for a vocabulary of `vocab_size` tokens.
pub(super) fn check_length(length: u64, vocab_size: usize) -> Result<(), TokenizerLimit> {
    let most = (vocab_size as u64).saturating_mul(BYTES_PER_TOKEN).saturating_add(BYTES_OF_ANY);
    at_most(LENGTH, length, most.min(MOST_BYTES))
}

/// Checks the length of a file of SentencePiece for a vocabulary of `vocab_size` tokens. A piece of two bytes takes twenty times as
/// much memory.
pub(super) fn check_pieces_length(length: u64, vocab_size: usize) -> Result<(), TokenizerLimit> {
    let most = (vocab_size as u64).saturating_mul(BYTES_PER_PIECE).saturating_add(PIECES_OF_ANY);
    at_most(LENGTH, length, most.min(MOST_PIECES_BYTES))
}

/// Checks the length of an expression that is made of tokens.
pub(super) fn check_expression(expression: &str) -> Result<(), TokenizerLimit> {
    size("the length of all tokens that users defined", expression.len(), LARGEST_PATTERNS)
}

/// Checks every limit that depends on the content.
pub(super) fn check(text: &[u8]) -> Result<(), TokenizerLimit> {
    let outline: Outline = serde_json::from_slice(text)?;
    let added = outline.added_tokens.iter().filter_map(|token| token.content.as_deref());
    added
        .clone()
        .try_for_each(|content| size("the length of an added token", content.len(), LONGEST_ADDED))?;
    check_added(added)?;
    if let Some(model) = &outline.model {
        let Marks { unk_token, continuing_subword_prefix, end_of_word_suffix, vocab, .. } = model;
        vocab.as_ref().map_or(Ok(()), Lengths::check)?;
        let marks = [
            ("the length of `unk_token`", unk_token),
            ("the length of `continuing_subword_prefix`", continuing_subword_prefix),
            ("the length of `end_of_word_suffix`", end_of_word_suffix),
        ];
        marks
            .iter()
            .try_for_each(|(name, mark)| size(name, mark.as_ref().map_or(0, String::len), LONGEST_MARK))?;
        at_most("`max_input_chars_per_word`", model.max_input_chars_per_word.unwrap_or(0), LONGEST_WORD)?;
    }
    let mut asked = Asked { values: 0, patterns: 0, pattern_size: 0, growth: 1, special: 0, copies: 1 };
    let before = [outline.normalizer, outline.pre_tokenizer];
    before.iter().flatten().try_for_each(|part| asked.add("", part))?;
    // The parts after the model have another text.
    asked.growth = 1;
    let after = [outline.post_processor, outline.decoder];
    after.iter().flatten().try_for_each(|part| asked.add("", part))
}

impl Asked {
    /// Adds what stands under a key.
    fn add(&mut self, key: &str, value: &Value) -> Result<(), TokenizerLimit> {
        self.values += 1;
        size("the number of values beside the vocabulary", self.values, MOST_VALUES)?;
        match value {
            Value::String(text) if key == TABLE => self.add_table(text),
            Value::String(text) => self.add_text(key, text),
            Value::Array(values) => values.iter().try_for_each(|value| self.add("", value)),
            Value::Object(object) => {
                if let Some(Value::Array(template)) = object.get("single") {
                    self.add_template(template, object.get("special_tokens"))?;
                }
                self.grow(growth(object))?;
                object.iter().try_for_each(|(key, value)| {
                    size("the length of a key", key.len(), LONGEST_TEXT)?;
                    self.add(key, value)
                })
            }
            _ => Ok(()),
        }
    }

    fn add_text(&mut self, key: &str, text: &str) -> Result<(), TokenizerLimit> {
        size("the length of a text beside the vocabulary", text.len(), LONGEST_TEXT)?;
        match key {
            "Regex" | "String" => {
                self.patterns += 1;
                size("the number of patterns", self.patterns, MOST_PATTERNS)?;
                let counts = if key == "Regex" { counts(text) } else { 1 };
                self.pattern_size = self.pattern_size.saturating_add(text.len().saturating_mul(counts));
                size("the size of all patterns with their counts", self.pattern_size, LARGEST_PATTERNS)
            }
            _ => Ok(()),
        }
    }

    fn grow(&mut self, factor: usize) -> Result<(), TokenizerLimit> {
        self.growth = self.growth.saturating_mul(factor.max(1));
        size("the growth of a text by replacements", self.growth, LARGEST_GROWTH)
    }

    fn add_table(&mut self, text: &str) -> Result<(), TokenizerLimit> {
        size("the length of `precompiled_charsmap`", text.len(), LONGEST_TABLE)?;
        let table = of_base64(text);
        trie_within(announced(&table), text.len() / 4 * 3)?;
        self.grow(growth_by_table(&table))
    }

    /// Adds a template. One after another, each takes the tokens of the one before.
    fn add_template(&mut self, template: &[Value], special: Option<&Value>) -> Result<(), TokenizerLimit> {
        let ids = |piece: &Value| {
            let id = piece.get("SpecialToken")?.get("id")?.as_str()?;
            Some(special?.get(id)?.get("ids")?.as_array()?.len())
        };
        self.special = template.iter().filter_map(ids).fold(self.special, usize::saturating_add);
        size("the number of tokens that templates add", self.special, MOST_SPECIAL)?;
        let texts = template.iter().filter(|piece| piece.get("Sequence").is_some()).count();
        self.copies = self.copies.saturating_mul(texts.max(1));
        size("the number of copies of a text that templates make", self.copies, 2)
    }
}

/// The product of all counts of a pattern. Text in braces that is not a count may raise it.
pub(crate) fn counts(pattern: &str) -> usize {
    let braces = pattern.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    let count = |(inside, _): (&str, &str)| {
        inside.split(',').filter_map(|number| number.trim().parse::<usize>().ok()).max()
    };
    braces.filter_map(count).fold(1, |product, count| product.saturating_mul(count.max(1)))
}

/// The most bytes that a part makes of one.
fn growth(part: &Map<String, Value>) -> usize {
    let text = |key: &str| part.get(key).and_then(Value::as_str);
    if let (Some(pattern), Some(content)) = (part.get("pattern"), text("content")) {
        // A pattern that fits nothing fits between any two characters.
        let fits_nothing = pattern.get("String").and_then(Value::as_str).is_none_or(str::is_empty);
        return content.len().saturating_add(usize::from(fits_nothing));
    }
    match (text("prepend"), text("type")) {
        (Some(prepend), _) => prepend.len(),
        // A letter of two bytes for a byte, and spaces around a letter of three.
        (None, Some("ByteLevel" | "BertNormalizer")) => 2,
        // The library knows these two by their keys too.
        (None, None) if part.contains_key("trim_offsets") || part.contains_key("handle_chinese_chars") => 2,
        _ => 1,
    }
}

fn size(asked: &'static str, found: usize, most: usize) -> Result<(), TokenizerLimit> {
    at_most(asked, found as u64, most as u64)
}

fn at_most(asked: &'static str, found: u64, most: u64) -> Result<(), TokenizerLimit> {
    if found <= most { Ok(()) } else { Err(TokenizerLimit::Exceeded { asked, found, most }) }
}
