//! Byte-level BPE from `vocab.json` and `merges.txt`, the files of GPT-2's first releases.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};
use tokenizers::{
    NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, models::bpe::BPE,
    pre_tokenizers::byte_level::ByteLevel,
};

use super::{
    Built,
    added_tokens::{self, Ends},
    class::Class,
    cuts::Cuts,
    flag, guarded, limits,
    pieces::Around,
};
use crate::{
    checkpoint::{file_hash, refuse_pointer},
    error::ModelError,
};

/// Builds the tokenizer.
///
/// # Source
///
/// Hugging Face transformers 5.24, `tokenization_gpt2.py`, `tokenization_gpt_neox.py` and `tokenization_qwen2.py`.
pub(super) fn build(vocab: &Path, merges: &Path, vocab_size: usize) -> Result<Built, ModelError> {
    let mut sums = String::new();
    for path in [vocab, merges] {
        refuse_pointer(path)?;
        refuse_long(path, vocab_size)?;
        sums += &file_hash(path)?;
        sums.push('\n');
    }
    let (class, cuts) = class_of(vocab);
    let says = |key: &str| flag(&vocab.with_file_name("tokenizer_config.json"), key).unwrap_or_default();
    let tokenizer = guarded(|| {
        let [vocab_text, merges_text] = [vocab, merges].map(|path| path.to_string_lossy().into_owned());
        let model = BPE::from_file(&vocab_text, &merges_text).build()?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        let (normalizer, pre_tokenizer) = cuts.describe(says("add_prefix_space"));
        tokenizer
            .with_normalizer(normalizer.map(serde_json::from_value::<NormalizerWrapper>).transpose()?)?;
        tokenizer.with_pre_tokenizer(Some(serde_json::from_value::<PreTokenizerWrapper>(pre_tokenizer)?));
        let bytes = ByteLevel::new(false, true, true);
        tokenizer.with_decoder(Some(bytes)).with_post_processor(Some(bytes));
        let Ends { bos, eos } = added_tokens::add(&mut tokenizer, vocab, class.special_tokens())?;
        let end = |key: &str, token: &'_ Option<String>| {
            token.as_deref().filter(|_| says(key)).and_then(|token| tokenizer.token_to_id(token))
        };
        let (before, after) = (end("add_bos_token", &bos), end("add_eos_token", &eos));
        if before.or(after).is_some() {
            let around = Around { before: before.zip(bos.as_deref()), after: after.zip(eos.as_deref()) };
            let template = serde_json::from_value::<PostProcessorWrapper>(around.template())?;
            tokenizer.with_post_processor(Some(template));
        }
        Ok(tokenizer)
    })
    .map_err(|source| ModelError::Tokenizer { path: vocab.to_owned(), source })?;
    Ok(Built { tokenizer, hash: hex::encode(Sha256::digest(sums.as_bytes())), note: None })
}

/// Returns the class that reads these files, and its cuts. A class that is not a byte-level one is taken for GPT-2's.
fn class_of(vocab: &Path) -> (Class, Cuts) {
    let class = Class::of(vocab, true);
    match class.cuts() {
        Some(cuts) => (class, cuts),
        None => (Class::Gpt2, Cuts::Gpt2 { normal: None }),
    }
}

/// Refuses a file that is longer than the vocabulary of the model gives reason for.
fn refuse_long(path: &Path, vocab_size: usize) -> Result<(), ModelError> {
    let length =
        fs::metadata(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?.len();
    limits::check_length(length, vocab_size)
        .map_err(|limit| ModelError::Tokenizer { path: path.to_owned(), source: limit.into() })
}
