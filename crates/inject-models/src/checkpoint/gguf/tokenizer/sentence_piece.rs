//! BPE over characters with bytes for what is not a token: the tokenizers of Llama 2, Mistral, Phi-3 and Gemma, which
//! SentencePiece trained.

use serde_json::json;
use tokenizers::models::bpe::BPE;

use super::{Kind, Parts, Vocabulary};
use crate::{
    error::ModelError,
    tokenizer::{
        limits,
        pieces::{Algorithm, SPACE, signs_for_spaces, spaces_for_signs},
    },
};

pub(super) fn parts(vocabulary: &Vocabulary<'_>) -> Result<Parts, ModelError> {
    let (gguf, pieces) = (vocabulary.gguf, &vocabulary.pieces);
    let table = vocabulary.table()?;
    let scores = gguf.numbers("tokenizer.ggml.scores", pieces.tokens.len(), |score| score.number())?;
    let merges = pieces.merges_by_score(&scores, &table).map_err(|limit| gguf.refused(limit))?;
    let unknown = vocabulary.special("tokenizer.ggml.unknown_token_id")?.1.to_owned();
    limits::check_unknown(&unknown).map_err(|limit| gguf.refused(limit))?;
    let model =
        BPE::builder().vocab_and_merges(table, merges).unk_token(unknown).fuse_unk(true).byte_fallback(true);
    let begins_with_space = gguf.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let prepend = begins_with_space.then(|| json!({ "type": "Prepend", "prepend": SPACE }));
    Ok(Parts {
        algorithm: Algorithm::Bpe(Box::new(model)),
        normalizer: Some(signs_for_spaces(prepend.into_iter().collect())),
        pre_tokenizer: None,
        decoder: spaces_for_signs(begins_with_space),
    })
}

impl Vocabulary<'_> {
    /// Restores the tokens that users defined: the converter replaced their signs by spaces.
    pub(super) fn with_signs_for_spaces(mut self) -> Self {
        for (token, kind) in self.pieces.tokens.iter_mut().zip(&self.pieces.kinds) {
            if *kind == Kind::UserDefined && token.chars().all(|sign| sign == ' ') {
                *token = token.replace(' ', "\u{2581}");
            }
        }
        self
    }
}
