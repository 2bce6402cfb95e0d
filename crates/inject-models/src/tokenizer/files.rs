//! The files of a tokenizer.

use std::path::{Path, PathBuf};

use super::{place::NoTokenizerHere, sentence_piece::is_tiktoken, versioned::versioned_file};
use crate::checkpoint::Gguf;

/// The files that hold a tokenizer.
#[derive(Debug)]
pub(super) enum TokenizerFiles {
    /// A `tokenizer.json`, of whatever name.
    Json(PathBuf),
    /// `vocab.json` and `merges.txt`: byte-level BPE.
    ByteLevel { vocab: PathBuf, merges: PathBuf },
    /// The `tokenizer.model` or `spiece.model` of SentencePiece.
    SentencePiece(PathBuf),
    /// The metadata of a GGUF file.
    Gguf(PathBuf),
}

/// The names that files of SentencePiece have in folders.
const SENTENCE_PIECE: [&str; 2] = ["tokenizer.model", "spiece.model"];

impl TokenizerFiles {
    /// Looks for a tokenizer: in a folder, or in the file itself.
    pub(super) fn find(place: &Path) -> Option<Self> {
        if place.is_dir() {
            let selected = versioned_file(&place.join("tokenizer_config.json"));
            let json = place.join(selected.as_deref().unwrap_or("tokenizer.json"));
            let [vocab, merges] = ["vocab.json", "merges.txt"].map(|name| place.join(name));
            // A link that leads nowhere is a tokenizer that cannot be read, and so is a file that is selected and missing.
            return if json.is_file() || json.is_symlink() || selected.is_some() {
                Some(TokenizerFiles::Json(json))
            } else if vocab.is_file() && merges.is_file() {
                Some(TokenizerFiles::ByteLevel { vocab, merges })
            } else if let Some(path) = sentence_piece(place) {
                Some(TokenizerFiles::SentencePiece(path)).filter(|_| !has_tiktoken(place))
            } else {
                Gguf::find(place).map(TokenizerFiles::Gguf)
            };
        }
        let [vocab, merges] = ["vocab.json", "merges.txt"].map(|name| place.with_file_name(name));
        if !place.is_file() || has_tiktoken(place) {
            None
        } else if sentence_piece(place).is_some() {
            Some(TokenizerFiles::SentencePiece(place.to_owned()))
        } else if let Some(path) = Gguf::find(place) {
            Some(TokenizerFiles::Gguf(path))
        } else if (place == vocab || place == merges) && vocab.is_file() && merges.is_file() {
            Some(TokenizerFiles::ByteLevel { vocab, merges })
        } else if NoTokenizerHere::may_be_json(place) {
            Some(TokenizerFiles::Json(place.to_owned()))
        } else {
            None
        }
    }

    /// The file that errors name.
    pub(super) fn path(&self) -> &Path {
        match self {
            TokenizerFiles::Json(path) | TokenizerFiles::SentencePiece(path) | TokenizerFiles::Gguf(path) => {
                path
            }
            TokenizerFiles::ByteLevel { vocab, .. } => vocab,
        }
    }
}

/// Returns the file of SentencePiece that a place is or has.
fn sentence_piece(place: &Path) -> Option<PathBuf> {
    if place.is_file() {
        // Mistral's files end in `.model.v3` and the like.
        let name = place.file_name()?.to_string_lossy();
        return (name.ends_with(".model") || name.contains(".model.v")).then(|| place.to_owned());
    }
    SENTENCE_PIECE.map(|name| place.join(name)).into_iter().find(|path| path.is_file())
}

/// Returns whether the `tokenizer.model` is a list of ranks instead of a file of SentencePiece.
pub(crate) fn has_tiktoken(place: &Path) -> bool {
    sentence_piece(place).is_some_and(|path| is_tiktoken(&path))
}
