//! Byte-level BPE from `vocab.json` and `merges.txt`, the files of GPT-2's first releases.

use std::{fs, path::Path};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::{
    NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, models::bpe::BPE,
    pre_tokenizers::byte_level::ByteLevel,
};

use super::{
    Built,
    added_tokens::{self, Ends},
    cuts::{Cuts, QWEN2},
    flag, guarded, limits,
    pieces::Around,
};
use crate::{
    checkpoint::{file_hash, read_text, refuse_pointer},
    error::ModelError,
};

/// The classes of transformers that read these files for a family of models here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Gpt2,
    GptNeoX,
    Qwen2,
}

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
    let class = Class::of(vocab);
    let says = |key: &str| flag(&vocab.with_file_name("tokenizer_config.json"), key).unwrap_or_default();
    let tokenizer = guarded(|| {
        let [vocab_text, merges_text] = [vocab, merges].map(|path| path.to_string_lossy().into_owned());
        let model = BPE::from_file(&vocab_text, &merges_text).build()?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        let (normalizer, pre_tokenizer) = class.cuts().describe(says("add_prefix_space"));
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
    Ok(Built { tokenizer, hash: hex::encode(Sha256::digest(sums.as_bytes())) })
}

impl Class {
    /// Returns the class that `tokenizer_config.json` names, or else that of the model in `config.json`. Another class is taken for
    /// GPT-2's.
    fn of(vocab: &Path) -> Self {
        let named = |file: &str, key: &str| {
            let text = read_text(&vocab.with_file_name(file)).ok()?;
            let config: Value = serde_json::from_str(&text).ok()?;
            Some(config.get(key)?.as_str()?.to_owned())
        };
        let class = named("tokenizer_config.json", "tokenizer_class");
        match class.as_deref().map(|class| class.strip_suffix("Fast").unwrap_or(class)) {
            Some("Qwen2Tokenizer") => Class::Qwen2,
            Some("GPTNeoXTokenizer") => Class::GptNeoX,
            Some(_) => Class::Gpt2,
            None => match named("config.json", "model_type").as_deref() {
                Some("qwen2" | "qwen3") => Class::Qwen2,
                Some("gpt_neox") => Class::GptNeoX,
                _ => Class::Gpt2,
            },
        }
    }

    fn cuts(self) -> Cuts {
        match self {
            Class::Gpt2 => Cuts::Gpt2 { normal: None },
            Class::GptNeoX => Cuts::Gpt2 { normal: Some("NFC") },
            Class::Qwen2 => Cuts::Expression { normal: Some("NFC"), expression: QWEN2 },
        }
    }

    /// Returns the special tokens that the class has if the files do not name others.
    fn special_tokens(self) -> &'static [(&'static str, &'static str)] {
        const END: &str = "<|endoftext|>";
        match self {
            Class::Gpt2 => &[("unk_token", END), ("bos_token", END), ("eos_token", END)],
            Class::GptNeoX => {
                &[("unk_token", END), ("bos_token", END), ("eos_token", END), ("pad_token", "<|padding|>")]
            }
            Class::Qwen2 => &[("unk_token", END), ("eos_token", END), ("pad_token", END)],
        }
    }
}

/// Refuses a file that is longer than the vocabulary of the model gives reason for.
fn refuse_long(path: &Path, vocab_size: usize) -> Result<(), ModelError> {
    let length =
        fs::metadata(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?.len();
    limits::check_length(length, vocab_size)
        .map_err(|limit| ModelError::Tokenizer { path: path.to_owned(), source: limit.into() })
}
