//! Byte-level BPE from `vocab.json` and `merges.txt`, the files of GPT-2's first releases.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};
use tokenizers::{models::bpe::BPE, pre_tokenizers::byte_level::ByteLevel};

use super::{Built, added_tokens, guarded, limits};
use crate::{
    checkpoint::{file_hash, refuse_pointer},
    error::ModelError,
};

/// Builds the tokenizer.
///
/// # Source
///
/// Hugging Face transformers 5.24, `models/gpt2/tokenization_gpt2.py`: no normaliser, no space before the text, and
/// `<|endoftext|>` among the special tokens.
pub(super) fn build(vocab: &Path, merges: &Path, vocab_size: usize) -> Result<Built, ModelError> {
    let mut sums = String::new();
    for path in [vocab, merges] {
        refuse_pointer(path)?;
        refuse_long(path, vocab_size)?;
        sums += &file_hash(path)?;
        sums.push('\n');
    }
    let tokenizer = guarded(|| {
        let [vocab_text, merges_text] = [vocab, merges].map(|path| path.to_string_lossy().into_owned());
        let model = BPE::from_file(&vocab_text, &merges_text).build()?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        let bytes = ByteLevel::new(false, true, true);
        tokenizer.with_pre_tokenizer(Some(bytes)).with_decoder(Some(bytes)).with_post_processor(Some(bytes));
        added_tokens::add(&mut tokenizer, vocab, &["<|endoftext|>"])?;
        Ok(tokenizer)
    })
    .map_err(|source| ModelError::Tokenizer { path: vocab.to_owned(), source })?;
    Ok(Built { tokenizer, hash: hex::encode(Sha256::digest(sums.as_bytes())) })
}

/// Refuses a file that is longer than the vocabulary of the model gives reason for.
fn refuse_long(path: &Path, vocab_size: usize) -> Result<(), ModelError> {
    let length =
        fs::metadata(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?.len();
    limits::check_length(length, vocab_size)
        .map_err(|limit| ModelError::Tokenizer { path: path.to_owned(), source: limit.into() })
}
