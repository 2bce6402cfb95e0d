//! Byte-level BPE from `vocab.json` and `merges.txt`, the files of GPT-2's first releases.

use std::{collections::BTreeMap, fs, path::Path};

use sha2::{Digest, Sha256};
use tokenizers::{
    NormalizerWrapper, PreTokenizerWrapper,
    models::bpe::{self, BPE},
    pre_tokenizers::byte_level::ByteLevel,
};

use super::{Built, added_tokens::AddedTokens, beside::Beside, class::Class, cuts::Cuts, guarded, limits};
use crate::{
    checkpoint::{file_hash, read_text, refuse_pointer},
    error::ModelError,
};

/// Builds the tokenizer.
///
/// # Source
///
/// Hugging Face transformers 5.24, `tokenization_gpt2.py`, `tokenization_gpt_neox.py` and `tokenization_qwen2.py`.
pub(super) fn build(
    vocab: &Path,
    merges: &Path,
    beside: &Beside,
    vocab_size: usize,
) -> Result<Built, ModelError> {
    let mut sums = String::new();
    for path in [vocab, merges] {
        refuse_pointer(path)?;
        refuse_long(path, vocab_size)?;
        sums += &file_hash(path)?;
        sums.push('\n');
    }
    refuse_lines(merges)?;
    let (class, cuts) = class_of(beside);
    let added = AddedTokens::of(beside, BTreeMap::new(), None, class.special_tokens());
    let tokenizer = guarded(|| {
        let [vocab_text, merges_text] = [vocab, merges].map(|path| path.to_string_lossy().into_owned());
        let model = BPE::from_file(&vocab_text, &merges_text).build()?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        let (normalizer, pre_tokenizer) = cuts.describe(beside.flag("add_prefix_space").unwrap_or_default());
        tokenizer
            .with_normalizer(normalizer.map(serde_json::from_value::<NormalizerWrapper>).transpose()?)?;
        tokenizer.with_pre_tokenizer(Some(serde_json::from_value::<PreTokenizerWrapper>(pre_tokenizer)?));
        let bytes = ByteLevel::new(false, true, true);
        tokenizer.with_decoder(Some(bytes)).with_post_processor(Some(bytes));
        added.add_to(&mut tokenizer)?;
        if class == Class::Qwen2 {
            added.forget_settings(&mut tokenizer)?;
        }
        added.put_around(&mut tokenizer, beside)?;
        Ok(tokenizer)
    })
    .map_err(|source| {
        let of_merges = matches!(source.downcast_ref(), Some(bpe::Error::MergeTokenOutOfVocabulary(_)));
        ModelError::Tokenizer { path: if of_merges { merges } else { vocab }.to_owned(), source }
    })?;
    added.check_ids(&tokenizer, beside, vocab)?;
    Ok(Built::new(tokenizer, hex::encode(Sha256::digest(sums.as_bytes()))))
}

/// Returns the class that reads these files, and its cuts. A class that is not a byte-level one is taken for GPT-2's.
fn class_of(beside: &Beside) -> (Class, Cuts) {
    let class = Class::of(beside, true);
    match class.cuts() {
        Some(cuts) => (class, cuts),
        None => (Class::Gpt2, Cuts::Gpt2 { normal: None }),
    }
}

/// Refuses merges with a line that is not two pieces. The library counts its lines without the version, and does not name the file.
fn refuse_lines(merges: &Path) -> Result<(), ModelError> {
    let text = read_text(merges)?;
    let is_wrong = |line: &str| !line.starts_with("#version") && line.split(' ').count() != 2;
    match text.lines().position(is_wrong) {
        None => Ok(()),
        Some(before) => Err(ModelError::Tokenizer {
            path: merges.to_owned(),
            source: format!("line {}: expected two pieces with one space between them", before + 1).into(),
        }),
    }
}

/// Refuses a file that is longer than the vocabulary of the model gives reason for.
fn refuse_long(path: &Path, vocab_size: usize) -> Result<(), ModelError> {
    let length =
        fs::metadata(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?.len();
    limits::check_length(length, vocab_size)
        .map_err(|limit| ModelError::Tokenizer { path: path.to_owned(), source: limit.into() })
}
