//! The files of SentencePiece, such as `tokenizer.model`: models of BPE and unigram models.

mod error;
mod file;

use std::{collections::BTreeSet, fs, path::Path};

use prost::Message;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokenizers::{models::bpe::BPE, normalizers::Precompiled};

pub use self::error::SentencePieceError;
use self::file::{Normalizer, SentencePieceFile, Trainer};
use super::{
    Built, added_tokens, flag, guarded, limits,
    pieces::{Algorithm, Around, Kind, Parts, Pieces, SPACE, signs_for_spaces, spaces_for_signs},
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

/// The settings of `tokenizer_config.json` about spaces that are put into a text.
#[derive(Clone, Copy, Debug)]
struct Spaces {
    /// Whether a text begins with one (`add_prefix_space`). If it does not say, the file does.
    first: Option<bool>,
    /// Whether what follows a token that was found in the text begins with one.
    legacy: bool,
}

/// Builds the tokenizer.
///
/// A text gets the tokens that SentencePiece itself gives it, with one exception, as after transformers' conversion: control tokens
/// and the unknown token are found where they stand in a text. `legacy` in `tokenizer_config.json` is a second: what follows a
/// token that is found so then begins with a space. `add_prefix_space` there decides whether a text does, if it is set.
///
/// # Source
///
/// Hugging Face transformers 5.24, `convert_slow_tokenizer.py` (`SpmConverter`, `LlamaConverter`).
pub(super) fn build(path: &Path, vocab_size: usize) -> Result<Built, ModelError> {
    refuse_pointer(path)?;
    let refused =
        |source: SentencePieceError| ModelError::Tokenizer { path: path.to_owned(), source: source.into() };
    let bytes = read_checked(path, |length| limits::check_pieces_length(length, vocab_size))?;
    let flag = |key: &str| flag(&path.with_file_name("tokenizer_config.json"), key);
    let says = |key: &str| flag(key).unwrap_or_default();
    let spaces = Spaces { first: flag("add_prefix_space"), legacy: says("legacy") };
    let (pieces, parts, [bos, eos]) = read(&bytes, spaces).map_err(refused)?;
    let end = |key: &str, id: Option<u32>| {
        id.filter(|_| says(key)).map(|id| (id, pieces.tokens[id as usize].as_str()))
    };
    let around = Around { before: end("add_bos_token", bos), after: end("add_eos_token", eos) };
    let tokenizer = pieces.assemble(parts, around).and_then(|mut tokenizer| {
        let unknown = pieces.tokens.iter().zip(&pieces.kinds).find(|(_, kind)| **kind == Kind::Unknown);
        let defaults: Vec<(&str, &str)> =
            unknown.map(|(token, _)| ("unk_token", token.as_str())).into_iter().collect();
        guarded(|| added_tokens::add(&mut tokenizer, path, &defaults))?;
        Ok(tokenizer)
    });
    let tokenizer = tokenizer.map_err(|source| ModelError::Tokenizer { path: path.to_owned(), source })?;
    Ok(Built { tokenizer, hash: hex::encode(Sha256::digest(&bytes)), note: None })
}

/// Reads the pieces, the parts of the tokenizer, and the ids of BOS and EOS if they exist.
fn read(bytes: &[u8], spaces: Spaces) -> Result<(Pieces, Parts, [Option<u32>; 2]), SentencePieceError> {
    let SentencePieceFile { pieces: listed, trainer, normalizer } = SentencePieceFile::decode(bytes)?;
    let (trainer, normalizer) = (trainer.unwrap_or_default(), normalizer.unwrap_or_default());
    if trainer.treat_whitespace_as_suffix.unwrap_or(false) {
        return Err(SentencePieceError::Setting { name: "treat_whitespace_as_suffix", found: true });
    }
    if !normalizer.escape_whitespaces.unwrap_or(true) {
        return Err(SentencePieceError::Setting { name: "escape_whitespaces", found: false });
    }
    let kinds = listed.iter().map(|piece| Kind::of(i64::from(piece.kind.unwrap_or(1)))).collect();
    let scores: Vec<f64> = listed.iter().map(|piece| f64::from(piece.score.unwrap_or_default())).collect();
    let tokens: Vec<String> = listed.into_iter().map(|piece| piece.piece.unwrap_or_default()).collect();
    limits::check_tokens(tokens.iter().map(String::as_str))?;
    if let Some((token, &found)) = tokens.iter().zip(&scores).find(|(_, score)| !score.is_finite()) {
        return Err(SentencePieceError::Score { token: token.clone(), found });
    }
    let pieces = Pieces { tokens, kinds };
    let algorithm = algorithm(&pieces, &scores, &trainer)?;
    let begins_with_space = spaces.first.or(normalizer.add_dummy_prefix).unwrap_or(true);
    let before_signs = before_signs(&normalizer)?;
    let mut cuts = match begins_with_space {
        true => first_space(spaces.legacy, !before_signs.is_empty()),
        false => Vec::new(),
    };
    let normalizer = Some(signs_for_spaces(before_signs));
    cuts.extend(runs_of_spaces(&pieces));
    let pre_tokenizer = (!cuts.is_empty()).then(|| json!({ "type": "Sequence", "pretokenizers": cuts }));
    let parts = Parts { algorithm, normalizer, pre_tokenizer, decoder: spaces_for_signs(begins_with_space) };
    let ends = [trainer.bos_id.unwrap_or(1), trainer.eos_id.unwrap_or(2)]
        .map(|id| u32::try_from(id).ok().filter(|&id| (id as usize) < pieces.tokens.len()));
    Ok((pieces, parts, ends))
}

/// Returns the way in which pieces are found in a text.
fn algorithm(pieces: &Pieces, scores: &[f64], trainer: &Trainer) -> Result<Algorithm, SentencePieceError> {
    let byte_fallback = trainer.byte_fallback.unwrap_or(false);
    let unknown = pieces.kinds.iter().position(|kind| *kind == Kind::Unknown);
    let unknown = unknown.ok_or(SentencePieceError::NoUnknown { pieces: pieces.tokens.len() })?;
    // A repeated piece would take the id of the other.
    let table = pieces.table().map_err(|(token, [first, second])| SentencePieceError::Repeated {
        token: token.to_owned(),
        first,
        second,
    })?;
    match trainer.model_type.unwrap_or(UNIGRAM) {
        UNIGRAM => {
            let pieces = pieces.tokens.iter().cloned().zip(scores.iter().copied()).collect();
            Ok(Algorithm::Unigram { pieces, unknown, byte_fallback })
        }
        BPE_MERGES => {
            let token = pieces.tokens[unknown].clone();
            limits::check_unknown(&token)?;
            let merges = pieces.merges(scores, &table)?;
            let model = BPE::builder().vocab_and_merges(table, merges).unk_token(token).fuse_unk(true);
            Ok(Algorithm::Bpe(Box::new(model.byte_fallback(byte_fallback))))
        }
        found => Err(SentencePieceError::ModelType { found }),
    }
}

/// Returns the steps that put a sign for a space before a text. A token that was found in the text divides it, and what follows
/// begins with a sign only if `legacy` is set and it does not begin with one. If the text is normalised, the begin of a text is not
/// told from that of such a part, and each of them gets a sign.
///
/// # Source
///
/// Hugging Face transformers 5.24, `tokenization_utils_base.py` (`_get_prepend_scheme`). There a text that begins with a space gets
/// no other. SentencePiece gives it one.
fn first_space(legacy: bool, normalised: bool) -> Vec<Value> {
    let step = |replacement: char, scheme: &str| json!({ "type": "Metaspace", "replacement": replacement, "prepend_scheme": scheme, "split": false });
    // The first step finds no sign of its own in the text, because all spaces are signs by now.
    match (normalised, legacy) {
        (true, _) => vec![step(' ', "always"), step(SPACE, "never")],
        (false, true) => vec![step(' ', "first"), step(SPACE, "always")],
        (false, false) => vec![step(' ', "first"), step(SPACE, "never")],
    }
}

/// Returns the cuts around runs of signs for spaces that users defined. The longest of them that fits comes first, and nothing is
/// merged with it.
fn runs_of_spaces(pieces: &Pieces) -> Option<Value> {
    let defined = pieces.tokens.iter().zip(&pieces.kinds).filter(|(_, kind)| **kind == Kind::UserDefined);
    let runs = defined.filter(|(token, _)| !token.is_empty() && token.chars().all(|sign| sign == SPACE));
    let lengths: BTreeSet<usize> = runs.map(|(token, _)| token.chars().count()).collect();
    let expressions: Vec<String> =
        lengths.iter().rev().map(|length| format!("{SPACE}{{{length}}}")).collect();
    (!expressions.is_empty()).then(|| {
        json!({ "type": "Split", "pattern": { "Regex": expressions.join("|") }, "behavior": "Isolated", "invert": false })
    })
}

/// Returns the normalisers that come before signs are written for spaces.
fn before_signs(normalizer: &Normalizer) -> Result<Vec<Value>, SentencePieceError> {
    let mut normalizers = Vec::new();
    if let Some(table) = normalizer.precompiled_charsmap.as_ref().filter(|table| !table.is_empty()) {
        limits::check_table(table)?;
        let table = guarded(|| Ok(Precompiled::from(table)?)).map_err(SentencePieceError::Table)?;
        normalizers
            .push(serde_json::to_value(table).map_err(|error| SentencePieceError::Table(error.into()))?);
    }
    if normalizer.remove_extra_whitespaces.unwrap_or(true) {
        let replaced = |expression: &str, content: &str| json!({ "type": "Replace", "pattern": { "Regex": expression }, "content": content });
        normalizers.extend([replaced("^ +| +$", ""), replaced(" {2,}", " ")]);
    }
    Ok(normalizers)
}
