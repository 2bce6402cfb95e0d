//! The files of a tokenizer.

use std::path::{Path, PathBuf};

use crate::checkpoint::Gguf;

/// The files that hold a tokenizer.
#[derive(Debug)]
pub(super) enum TokenizerFiles {
    /// A `tokenizer.json`, of whatever name.
    Json(PathBuf),
    /// `vocab.json` and `merges.txt`: byte-level BPE.
    ByteLevel { vocab: PathBuf, merges: PathBuf },
    /// The metadata of a GGUF file.
    Gguf(PathBuf),
}

impl TokenizerFiles {
    /// Looks for a tokenizer: in a folder, or in the file itself.
    pub(super) fn find(place: &Path) -> Option<Self> {
        if place.is_dir() {
            let [json, vocab, merges] =
                ["tokenizer.json", "vocab.json", "merges.txt"].map(|name| place.join(name));
            return if json.is_file() {
                Some(TokenizerFiles::Json(json))
            } else if vocab.is_file() && merges.is_file() {
                Some(TokenizerFiles::ByteLevel { vocab, merges })
            } else {
                Gguf::find(place).map(TokenizerFiles::Gguf)
            };
        }
        let merges = place.with_file_name("merges.txt");
        let named = |name: &str| place.file_name().is_some_and(|found| found == name);
        if !place.is_file() || named("tokenizer.model") {
            None
        } else if let Some(path) = Gguf::find(place) {
            Some(TokenizerFiles::Gguf(path))
        } else if named("vocab.json") && merges.is_file() {
            Some(TokenizerFiles::ByteLevel { vocab: place.to_owned(), merges })
        } else {
            Some(TokenizerFiles::Json(place.to_owned()))
        }
    }

    /// The file that errors name.
    pub(super) fn path(&self) -> &Path {
        match self {
            TokenizerFiles::Json(path) | TokenizerFiles::Gguf(path) => path,
            TokenizerFiles::ByteLevel { vocab, .. } => vocab,
        }
    }
}
