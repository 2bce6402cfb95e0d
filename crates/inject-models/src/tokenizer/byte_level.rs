//! Byte-level BPE from `vocab.json` and `merges.txt`, the files of GPT-2's first releases.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::{AddedToken, models::bpe::BPE, pre_tokenizers::byte_level::ByteLevel};

use super::{Built, guarded, limits};
use crate::{
    checkpoint::{file_hash, read_text, refuse_pointer},
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
        add_tokens(&mut tokenizer, vocab)?;
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

/// Adds the tokens of `added_tokens.json`, and makes those that the files beside it call special so.
fn add_tokens(tokenizer: &mut tokenizers::Tokenizer, vocab: &Path) -> tokenizers::Result<()> {
    let beside = |name: &str| json(&vocab.with_file_name(name));
    let added: BTreeMap<String, u32> = match beside("added_tokens.json")? {
        None => BTreeMap::new(),
        Some(value) => serde_json::from_value(value)?,
    };
    limits::check_added(added.keys().map(String::as_str))?;
    let mut by_id: Vec<(u32, String)> = added.into_iter().map(|(token, id)| (id, token)).collect();
    by_id.sort_unstable();
    for (id, token) in by_id {
        tokenizer.add_tokens([AddedToken::from(token.clone(), false).normalized(false)])?;
        let found = tokenizer.token_to_id(&token);
        if found != Some(id) {
            let found = found.map_or_else(|| "no id".to_owned(), |found| format!("id {found}"));
            return Err(format!("added_tokens.json: token `{token}` has id {id}, expected {found}").into());
        }
    }
    let maps = [beside("special_tokens_map.json")?, beside("tokenizer_config.json")?];
    let named = maps.iter().flatten().flat_map(special_tokens);
    let mut special: Vec<String> = named.chain(["<|endoftext|>".to_owned()]).collect();
    special.retain(|token| tokenizer.token_to_id(token).is_some());
    tokenizer.add_special_tokens(special.into_iter().map(|token| AddedToken::from(token, true)))?;
    Ok(())
}

/// Reads a file of JSON. Returns `None` if there is no such file.
fn json(path: &Path) -> tokenizers::Result<Option<Value>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(path)?;
    let value = serde_json::from_str(&text)
        .map_err(|error| format!("{}: {error}", path.file_name().unwrap_or_default().display()))?;
    Ok(Some(value))
}

/// The tokens that a file calls special, as texts or as objects with a `content`.
fn special_tokens(map: &Value) -> Vec<String> {
    const KINDS: [&str; 4] = ["bos_token", "eos_token", "unk_token", "pad_token"];
    let content =
        |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
    KINDS.iter().filter_map(|kind| content(map.get(kind)?)).collect()
}
