//! `tokenizer.json`, and what the files beside it change, as in Hugging Face transformers.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use super::{
    Built,
    added_tokens::{AddedTokens, Defaults},
    beside::Beside,
    class::{Class, OwnParts},
    guarded,
    limits::{self, TokenizerLimit},
    mistral, read_checked,
};
use crate::{error::ModelError, note::Note};

/// The parts of a file that a class of transformers takes from it, and those that it replaces.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Numbered>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<PostProcessorWrapper>,
    model: ModelWrapper,
}

#[derive(Deserialize)]
struct Numbered {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// A tokenizer before the tokens of other files are added to it.
struct Read {
    tokenizer: tokenizers::Tokenizer,
    /// The added tokens of the file.
    added: BTreeMap<u32, AddedToken>,
    /// The special tokens that it has if the files do not name others.
    defaults: Defaults<'static>,
    /// Whether special tokens lose their settings.
    forgets: bool,
    note: Option<Note>,
}

/// Reads a `tokenizer.json`, and hands it to the library only if the memory and time that it needs are bounded.
///
/// # Source
///
/// Hugging Face transformers 5.24, `tokenization_utils_tokenizers.py` (`convert_to_native_format`).
pub(super) fn build(path: &Path, beside: &Beside, vocab_size: usize) -> Result<Built, ModelError> {
    let refused =
        |source: TokenizerLimit| ModelError::Tokenizer { path: path.to_owned(), source: source.into() };
    let text = read_checked(path, |length| limits::check_length(length, vocab_size))?;
    limits::check(&text).map_err(refused)?;
    let hash = hex::encode(Sha256::digest(&text));
    let built = guarded(|| {
        let Read { mut tokenizer, added, defaults, forgets, note } = read(&text, beside)?;
        drop(text);
        let added = AddedTokens::of(beside, added, None, defaults);
        added.add_to(&mut tokenizer)?;
        if forgets {
            added.forget_settings(&mut tokenizer)?;
        }
        mistral::correct(&mut tokenizer, beside)?;
        Ok(Built { notes: note.into_iter().collect(), ..Built::new(tokenizer, hash) })
    });
    built.map_err(|source| ModelError::Tokenizer { path: path.to_owned(), source })
}

fn read(text: &[u8], beside: &Beside) -> tokenizers::Result<Read> {
    let is_byte_level = {
        let name = b"\"ByteLevel\"";
        text.windows(name.len()).any(|window| window == name)
    };
    let class = Class::of(beside, is_byte_level);
    // The vocabulary of the other kind lacks nearly every token that the class would look for.
    let parts = class.own_parts(beside).filter(|parts| parts.byte_fallback != is_byte_level);
    let rebuilt = parts.map(|parts| rebuilt(text, beside, &class, parts)).transpose()?.flatten();
    if let Some(rebuilt) = rebuilt {
        return Ok(rebuilt);
    }
    let note = class.may_differ(beside);
    let tokenizer = tokenizers::Tokenizer::from_bytes(text)?;
    if let ModelWrapper::BPE(model) = tokenizer.get_model()
        && let Some(dropout) = model.dropout.filter(|share| *share > 0.0)
    {
        return Err(
            format!("`model.dropout` is {dropout}, expected 0: the ids of a text would be random").into()
        );
    }
    let added = tokenizer.get_added_tokens_decoder().into_iter().collect();
    Ok(Read { tokenizer, added, defaults: &[], forgets: false, note })
}

/// Builds the tokenizer from the vocabulary of a file and the parts of a class. Returns `None` if the vocabulary is of another kind.
fn rebuilt(text: &[u8], beside: &Beside, class: &Class, parts: OwnParts) -> tokenizers::Result<Option<Read>> {
    let File { added_tokens, normalizer, pre_tokenizer, post_processor, model } =
        serde_json::from_slice(text)?;
    let ModelWrapper::BPE(mut model) = model else { return Ok(None) };
    let is_empty = |mark: &Option<String>| mark.as_ref().is_none_or(String::is_empty);
    if !is_empty(&model.continuing_subword_prefix) || !is_empty(&model.end_of_word_suffix) {
        return Ok(None);
    }
    let changes_ends = !matches!(post_processor, None | Some(PostProcessorWrapper::ByteLevel(_)));
    let replaced = [
        ("normalizer", !same::<NormalizerWrapper>(normalizer, parts.normalizer.clone())),
        ("pre_tokenizer", !same::<PreTokenizerWrapper>(pre_tokenizer, Some(parts.pre_tokenizer.clone()))),
        ("post_processor", changes_ends && !parts.keeps_ends),
        ("model.ignore_merges", model.ignore_merges),
        ("model.byte_fallback", model.byte_fallback != parts.byte_fallback),
    ];
    let replaced: Vec<&str> = replaced.into_iter().filter_map(|(part, is)| is.then_some(part)).collect();
    let note = (!replaced.is_empty())
        .then(|| Note::PartsReplaced { class: class.name().to_owned(), parts: replaced });

    // The class has the special token that the files name, whatever the model has.
    let special = AddedTokens::of(beside, BTreeMap::new(), None, class.special_tokens());
    model.unk_token = class.unknown(&special).map(str::to_owned);
    model.unk_token.as_deref().map_or(Ok(()), limits::check_unknown)?;
    model.byte_fallback = parts.byte_fallback;
    model.fuse_unk = parts.byte_fallback;
    model.ignore_merges = false;
    model.dropout = None;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer
        .with_normalizer(parts.normalizer.map(serde_json::from_value::<NormalizerWrapper>).transpose()?)?;
    tokenizer.with_pre_tokenizer(Some(serde_json::from_value::<PreTokenizerWrapper>(parts.pre_tokenizer)?));
    tokenizer.with_decoder(Some(serde_json::from_value::<DecoderWrapper>(parts.decoder)?));
    tokenizer.with_post_processor(post_processor.filter(|_| parts.keeps_ends));
    let added = added_tokens.into_iter().map(|Numbered { id, token }| (id, token)).collect();
    let forgets = *class == Class::Qwen2;
    Ok(Some(Read { tokenizer, added, defaults: class.special_tokens(), forgets, note }))
}

/// Returns whether two descriptions of a part have the same effect on ids.
fn same<T: DeserializeOwned + Serialize>(one: Option<Value>, other: Option<Value>) -> bool {
    let whole = |part: Option<Value>| {
        // With the settings that it leaves out.
        let mut part = serde_json::to_value(serde_json::from_value::<Option<T>>(part?).ok()?).ok()?;
        forget_offsets(&mut part);
        Some(part)
    };
    whole(one) == whole(other)
}

/// Removes the setting of byte-level parts that concerns places in the text only.
fn forget_offsets(part: &mut Value) {
    match part {
        Value::Object(settings) => {
            settings.remove("trim_offsets");
            settings.values_mut().for_each(forget_offsets);
        }
        Value::Array(parts) => parts.iter_mut().for_each(forget_offsets),
        _ => {}
    }
}
