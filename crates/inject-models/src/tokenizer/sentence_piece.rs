//! The files of SentencePiece, such as `tokenizer.model`: models of BPE and unigram models.

mod error;
mod file;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
};

use prost::Message;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokenizers::{
    AddedToken,
    models::bpe::{BPE, Vocab},
    normalizers::Precompiled,
};

pub use self::error::SentencePieceError;
use self::file::{Normalizer, SentencePieceFile, Trainer};
use super::{
    Built,
    added_tokens::AddedTokens,
    beside::Beside,
    class::{Class, OwnParts},
    guarded,
    limits::{self, TokenizerLimit},
    pieces::{Algorithm, Kind, Parts, Pieces, SPACE, Splits, spaces_for_signs},
    read_checked,
};
use crate::{checkpoint::refuse_pointer, error::ModelError};

/// The numbers of the algorithms: `TrainerSpec.ModelType` in SentencePiece's `sentencepiece_model.proto`.
const UNIGRAM: i32 = 1;
const BPE_MERGES: i32 = 2;

/// Returns whether a file is a list of ranks, which Llama 3 has under the same name. It begins with a token in base64 and its rank.
pub(super) fn is_tiktoken(path: &Path) -> bool {
    use std::io::Read;
    let mut begin = [0; 256];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut begin)).unwrap_or_default();
    let Some(line) = begin[..read].split(|byte| *byte == b'\n').next().filter(|line| line.len() < read)
    else {
        return false;
    };
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let (token, rank) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    !token.is_empty()
        && token.iter().all(is_base64)
        && !rank.is_empty()
        && rank.trim_ascii_end().iter().all(u8::is_ascii_digit)
}

/// A file whose pieces and settings are checked.
struct Read {
    pieces: Pieces,
    scores: Vec<f64>,
    /// The id of the piece for text that no piece covers.
    unknown: usize,
    trainer: Trainer,
    normalizer: Normalizer,
}

/// Builds the tokenizer that transformers makes of the file and those beside it.
///
/// # Source
///
/// Hugging Face transformers 5.24, `tokenization_utils_tokenizers.py` (`_convert_from_sentencepiece`) and
/// `convert_slow_tokenizer.py` (`SentencePieceExtractor`, `build_tokenizer_from_spm_proto`).
pub(super) fn build(path: &Path, beside: &Beside, vocab_size: usize) -> Result<Built, ModelError> {
    refuse_pointer(path)?;
    let refused =
        |source: SentencePieceError| ModelError::Tokenizer { path: path.to_owned(), source: source.into() };
    let bytes = read_checked(path, |length| limits::check_pieces_length(length, vocab_size))?;
    let hash = hex::encode(Sha256::digest(&bytes));
    let mut file = Read::of(&bytes).map_err(refused)?;
    drop(bytes);
    let class = Class::of(beside, false);
    // The classes merge. Probabilities are not merges.
    let own = class.own_parts(beside).filter(|own| own.byte_fallback && file.merges());
    let note = if own.is_none() { class.may_differ(beside) } else { None };
    let (parts, added) = match own {
        Some(own) => {
            let added =
                AddedTokens::of(beside, BTreeMap::new(), Some(file.added(true)), class.special_tokens());
            (file.parts_of_class(&class, own, &added).map_err(refused)?, added)
        }
        None => {
            let mut added =
                AddedTokens::of(beside, BTreeMap::new(), Some(file.added(false)), &file.special());
            if file.begins_with_space() {
                added.before_normalisation();
            }
            file.rename(added.numbered()).map_err(refused)?;
            (file.own_parts(beside).map_err(refused)?, added)
        }
    };
    let tokenizer = guarded(|| {
        let mut tokenizer = parts.build()?;
        added.add_to(&mut tokenizer)?;
        added.put_around(&mut tokenizer, beside)?;
        Ok(tokenizer)
    });
    let tokenizer = tokenizer.map_err(|source| ModelError::Tokenizer { path: path.to_owned(), source })?;
    added.check_ids(&tokenizer, beside, path)?;
    Ok(Built { notes: note.into_iter().collect(), ..Built::new(tokenizer, hash) })
}

impl Read {
    fn of(bytes: &[u8]) -> Result<Self, SentencePieceError> {
        let SentencePieceFile { pieces: listed, trainer, normalizer } = SentencePieceFile::decode(bytes)?;
        let (trainer, normalizer) = (trainer.unwrap_or_default(), normalizer.unwrap_or_default());
        if trainer.treat_whitespace_as_suffix.unwrap_or(false) {
            return Err(SentencePieceError::Setting { name: "treat_whitespace_as_suffix", found: true });
        }
        if !normalizer.escape_whitespaces.unwrap_or(true) {
            return Err(SentencePieceError::Setting { name: "escape_whitespaces", found: false });
        }
        let kinds = listed.iter().map(|piece| Kind::of(i64::from(piece.kind.unwrap_or(1)))).collect();
        let scores: Vec<f64> =
            listed.iter().map(|piece| f64::from(piece.score.unwrap_or_default())).collect();
        let tokens: Vec<String> = listed.into_iter().map(|piece| piece.piece.unwrap_or_default()).collect();
        limits::check_tokens(tokens.iter().map(String::as_str))?;
        if let Some((token, &found)) = tokens.iter().zip(&scores).find(|(_, score)| !score.is_finite()) {
            return Err(SentencePieceError::Score { token: token.clone(), found });
        }
        let pieces = Pieces { tokens, kinds };
        let unknown = pieces.kinds.iter().position(|kind| *kind == Kind::Unknown);
        let unknown = unknown.ok_or(SentencePieceError::NoUnknown { pieces: pieces.tokens.len() })?;
        match trainer.model_type.unwrap_or(UNIGRAM) {
            UNIGRAM | BPE_MERGES => Ok(Read { pieces, scores, unknown, trainer, normalizer }),
            found => Err(SentencePieceError::ModelType { found }),
        }
    }

    /// Whether pieces are found in a text by merges.
    fn merges(&self) -> bool {
        self.trainer.model_type == Some(BPE_MERGES)
    }

    /// Whether a text begins with a space.
    fn begins_with_space(&self) -> bool {
        self.normalizer.add_dummy_prefix.unwrap_or(true)
    }

    /// Returns the id of each piece. A repeated piece would take the id of the other.
    fn table(&self) -> Result<Vocab, SentencePieceError> {
        self.pieces.table().map_err(|(token, [first, second])| SentencePieceError::Repeated {
            token: token.to_owned(),
            first,
            second,
        })
    }

    /// Returns the control pieces, and those that users defined if they are wanted, as tokens that a text is searched for.
    fn added(&self, users_too: bool) -> Vec<AddedToken> {
        let pieces = self.pieces.kinds.iter().zip(&self.pieces.tokens);
        let added = pieces.filter_map(|(kind, token)| match kind {
            Kind::Control => Some(AddedToken::from(token.as_str(), true)),
            Kind::UserDefined if users_too => Some(AddedToken::from(token.as_str(), false).normalized(false)),
            Kind::UserDefined | Kind::Plain | Kind::Unknown | Kind::Unmerged => None,
        });
        added.collect()
    }

    /// Returns the special tokens that the file has if the files beside it do not name others, by their keys.
    fn special(&self) -> Vec<(&'static str, &str)> {
        let Trainer { unk_id, bos_id, eos_id, unk_piece, bos_piece, eos_piece, .. } = &self.trainer;
        let named = [
            ("unk_token", unk_id, 0, unk_piece, "<unk>"),
            ("bos_token", bos_id, 1, bos_piece, "<s>"),
            ("eos_token", eos_id, 2, eos_piece, "</s>"),
        ];
        let exists = named.into_iter().filter(|(_, id, usual, ..)| id.unwrap_or(*usual) >= 0);
        exists
            .map(|(key, _, _, piece, usual)| {
                (key, piece.as_deref().filter(|piece| !piece.is_empty()).unwrap_or(usual))
            })
            .collect()
    }

    /// Gives pieces the names that other files have for their ids, unless another piece has that name and keeps it.
    fn rename(&mut self, names: &BTreeMap<u32, AddedToken>) -> Result<(), SentencePieceError> {
        let kept: HashSet<&str> =
            self.pieces.ids().filter(|(id, _)| !names.contains_key(id)).map(|(_, token)| token).collect();
        let renamed = names.iter().filter(|(id, token)| {
            (**id as usize) < self.pieces.tokens.len() && !kept.contains(token.content.as_str())
        });
        let renamed: Vec<(usize, String)> =
            renamed.map(|(id, token)| (*id as usize, token.content.clone())).collect();
        for (id, token) in renamed {
            self.pieces.tokens[id] = token;
        }
        Ok(limits::check_tokens(self.pieces.tokens.iter().map(String::as_str))?)
    }

    /// Returns the parts that a class has, with the pieces of the file.
    fn parts_of_class(
        &self,
        class: &Class,
        own: OwnParts,
        added: &AddedTokens,
    ) -> Result<Parts, SentencePieceError> {
        let table = self.table()?;
        // In the order of their ids.
        let tokens = self.pieces.ids().map(|(id, _)| id);
        let merges = self.pieces.merges(tokens, Splits::ShortestFirst, |part| table.contains_key(part))?;
        let mut model = BPE::builder().vocab_and_merges(table, merges).fuse_unk(true);
        if let Some(unknown) = class.unknown(added) {
            limits::check_unknown(unknown)?;
            model = model.unk_token(unknown.to_owned());
        }
        let OwnParts { normalizer, pre_tokenizer, decoder, byte_fallback, keeps_ends: _ } = own;
        let algorithm = Algorithm::Bpe(Box::new(model.byte_fallback(byte_fallback)));
        Ok(Parts { algorithm, normalizer, pre_tokenizer: Some(pre_tokenizer), decoder })
    }

    /// Returns the parts that the file itself describes.
    fn own_parts(&self, beside: &Beside) -> Result<Parts, SentencePieceError> {
        // A setting that is null is not the usual one.
        let legacy = beside.settings.get("legacy").is_none_or(|_| beside.flag("legacy").unwrap_or(false));
        let user_defined = self.user_defined()?;
        let first_space = self.begins_with_space().then(|| {
            let scheme = if legacy { "always" } else { "first" };
            json!({ "type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": false })
        });
        // Nothing is merged with pieces that users defined.
        let whole = user_defined.as_ref().map(|expression| {
            json!({ "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated", "invert": false })
        });
        let cuts: Vec<Value> = first_space.into_iter().chain(whole).collect();
        Ok(Parts {
            algorithm: self.algorithm(user_defined.is_some())?,
            normalizer: Some(self.normalizer(legacy)?),
            pre_tokenizer: (!cuts.is_empty()).then(|| json!({ "type": "Sequence", "pretokenizers": cuts })),
            decoder: spaces_for_signs(self.begins_with_space()),
        })
    }

    /// Returns the way in which pieces are found in a text. `keeps_whole` says whether a part of the text that is a piece is not merged.
    fn algorithm(&self, keeps_whole: bool) -> Result<Algorithm, SentencePieceError> {
        let Read { pieces, scores, unknown, trainer, .. } = self;
        let byte_fallback = trainer.byte_fallback.unwrap_or(false);
        let table = self.table()?;
        if !self.merges() {
            let pieces = pieces.tokens.iter().cloned().zip(scores.iter().copied()).collect();
            return Ok(Algorithm::Unigram { pieces, unknown: *unknown, byte_fallback });
        }
        let token = pieces.tokens[*unknown].clone();
        limits::check_unknown(&token)?;
        let is_plain = |id: u32| pieces.kinds[id as usize] == Kind::Plain;
        let mut order: Vec<u32> = pieces.ids().map(|(id, _)| id).filter(|&id| is_plain(id)).collect();
        // Zero has no sign here.
        let score = |id: u32| scores[id as usize] + 0.0;
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        let is_part = |part: &str| table.get(part).is_some_and(|&id| is_plain(id));
        let merges = pieces.merges(order.into_iter(), Splits::ShortestFirst, is_part)?;
        let model = BPE::builder().vocab_and_merges(table, merges).unk_token(token).fuse_unk(true);
        Ok(Algorithm::Bpe(Box::new(model.byte_fallback(byte_fallback).ignore_merges(keeps_whole))))
    }

    /// Returns an expression that finds the pieces that users defined, the longest of several first.
    fn user_defined(&self) -> Result<Option<String>, TokenizerLimit> {
        let pieces = self.pieces.kinds.iter().zip(&self.pieces.tokens);
        let mut defined: Vec<&str> = pieces
            .filter(|(kind, token)| **kind == Kind::UserDefined && !token.is_empty())
            .map(|(_, token)| token.as_str())
            .collect();
        defined.sort_by_key(|token| Reverse(token.chars().count()));
        let escaped: Vec<_> = defined.into_iter().map(fancy_regex::escape).collect();
        let expression = escaped.join("|");
        limits::check_expression(&expression)?;
        Ok((!escaped.is_empty()).then_some(expression))
    }

    /// Returns the normaliser, which writes signs for spaces at last.
    fn normalizer(&self, legacy: bool) -> Result<Value, SentencePieceError> {
        let replaced = |expression: &str, content: &str| json!({ "type": "Replace", "pattern": { "Regex": expression }, "content": content });
        let mut normalizers = Vec::new();
        let table = self.normalizer.precompiled_charsmap.as_ref();
        if let Some(table) = table.filter(|table| !table.is_empty()) {
            limits::check_table(table)?;
            let table = guarded(|| Ok(Precompiled::from(table)?)).map_err(SentencePieceError::Table)?;
            normalizers
                .push(serde_json::to_value(table).map_err(|error| SentencePieceError::Table(error.into()))?);
        }
        if self.normalizer.remove_extra_whitespaces.unwrap_or(true) {
            normalizers.extend([replaced(r"\A +| +\z", ""), replaced(" {2,}", " ")]);
        }
        normalizers.push(json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE }));
        if self.begins_with_space() && legacy {
            // SentencePiece puts a space before one, which the step that puts it there does not.
            normalizers.push(replaced(&format!(r"\A{SPACE}"), &format!("{SPACE}{SPACE}")));
        }
        Ok(json!({ "type": "Sequence", "normalizers": normalizers }))
    }
}
