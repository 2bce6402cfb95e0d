//! BPE over characters with bytes for what is not a token: the tokenizers of Llama 2, Mistral, Phi-3 and Gemma, which
//! SentencePiece trained.

use std::cmp::Ordering;

use serde_json::json;
use tokenizers::models::bpe::{BPE, Vocab};

use super::{Parts, USER_DEFINED, Value, Vocabulary};
use crate::{
    error::ModelError,
    tokenizer::limits::{self, Merges},
};

/// The sign that stands for a space in tokens.
pub(super) const SPACE: char = '\u{2581}';

pub(super) fn parts(vocabulary: &Vocabulary<'_>) -> Result<Parts, ModelError> {
    let gguf = vocabulary.gguf;
    let table = vocabulary.table()?;
    let merges = merges(vocabulary, &table)?;
    let unknown = vocabulary.special("tokenizer.ggml.unknown_token_id")?.1.to_owned();
    limits::check_unknown(&unknown).map_err(|limit| gguf.refused(limit))?;
    let model =
        BPE::builder().vocab_and_merges(table, merges).unk_token(unknown).fuse_unk(true).byte_fallback(true);
    let replaced = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    let begins_with_space = gguf.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let normalizer = if begins_with_space {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        let prepended = json!({ "type": "Prepend", "prepend": SPACE });
        json!({ "type": "Sequence", "normalizers": [prepended, replaced] })
    } else {
        replaced
    };
    Ok(Parts {
        model,
        normalizer: Some(normalizer),
        pre_tokenizer: None,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        begins_with_bos: true,
    })
}

impl Vocabulary<'_> {
    /// Restores the tokens that users defined: the converter replaced their signs by spaces.
    pub(super) fn with_signs_for_spaces(mut self) -> Self {
        for (token, kind) in self.tokens.iter_mut().zip(&self.kinds) {
            if *kind == USER_DEFINED && token.chars().all(|sign| sign == ' ') {
                *token = token.replace(' ', "\u{2581}");
            }
        }
        self
    }
}

/// The merges that lead to each token, in the order in which SentencePiece prefers them.
///
/// A token of a higher score comes first. Tokens that users defined come before all others: SentencePiece looks for them before
/// it merges. Of several merges to one token, that with the longest first part comes first, as in Hugging Face
/// transformers 5.23, `tokenization_utils_base.py` (`generate_merges`).
fn merges(vocabulary: &Vocabulary<'_>, table: &Vocab) -> Result<Vec<(String, String)>, ModelError> {
    let scores =
        vocabulary.gguf.numbers("tokenizer.ggml.scores", vocabulary.tokens.len(), |value| match value {
            Value::Float(score) => Some(score),
            _ => None,
        })?;
    let rank = |id: u32| match vocabulary.kinds[id as usize] {
        USER_DEFINED => f64::INFINITY,
        _ => scores[id as usize],
    };
    let mut order: Vec<u32> = vocabulary.ids().map(|(id, _)| id).collect();
    order.sort_by(|&a, &b| rank(b).partial_cmp(&rank(a)).unwrap_or(Ordering::Equal));
    let mut merges = Merges::default();
    for id in order {
        let token = vocabulary.tokens[id as usize].as_str();
        for (cut, _) in token.char_indices().skip(1).collect::<Vec<_>>().into_iter().rev() {
            let (first, second) = token.split_at(cut);
            if table.contains_key(first) && table.contains_key(second) {
                merges.push(first, second).map_err(|limit| vocabulary.gguf.refused(limit))?;
            }
        }
    }
    Ok(merges.into_pairs())
}
