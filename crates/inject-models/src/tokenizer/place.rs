//! The contents of a place that is named for a tokenizer and has none.

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{files::TokenizerFiles, sentence_piece::is_tiktoken};
use crate::error::ModelError;

/// The contents of a place that is named for a tokenizer and has none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoTokenizerHere {
    /// Nothing is there, and the name is not a Hub id.
    Nothing,
    /// A folder without the files of a tokenizer.
    Folder,
    /// One of the two files of byte-level BPE, without the other.
    Half {
        /// Name of the file that is missing beside it.
        missing: &'static str,
    },
    /// A list of ranks (tiktoken).
    Ranks,
    /// Mistral's own format, `tekken.json`.
    Tekken,
    /// A vocabulary of WordPiece, `vocab.txt`.
    WordPiece,
    /// A file of settings or tokens, which counts beside a tokenizer.
    Beside,
    /// A file of weights, which holds no tokenizer.
    Weights,
    /// A file of another kind.
    Other,
}

/// The names of files found beside a tokenizer, or beside a model.
const BESIDE: [&str; 10] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
];

/// The endings of files of weights.
const WEIGHTS: [&str; 8] = ["safetensors", "bin", "pt", "pth", "ckpt", "h5", "msgpack", "onnx"];

impl NoTokenizerHere {
    /// Returns why a place has no tokenizer. The place is one in which none was found.
    pub(super) fn look(place: &Path) -> Self {
        if place.is_dir() {
            let is_there = |name: &str| place.join(name).is_file();
            return match (is_there("vocab.json"), is_there("merges.txt")) {
                (true, _) => NoTokenizerHere::Half { missing: "merges.txt" },
                (false, true) => NoTokenizerHere::Half { missing: "vocab.json" },
                _ if is_tiktoken(&place.join("tokenizer.model")) => NoTokenizerHere::Ranks,
                _ if is_there("tekken.json") => NoTokenizerHere::Tekken,
                _ if is_there("vocab.txt") => NoTokenizerHere::WordPiece,
                _ => NoTokenizerHere::Folder,
            };
        }
        if !place.is_file() {
            return NoTokenizerHere::Nothing;
        }
        let ending = place.extension().unwrap_or_default();
        match place.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
            "vocab.json" => NoTokenizerHere::Half { missing: "merges.txt" },
            "merges.txt" => NoTokenizerHere::Half { missing: "vocab.json" },
            "tekken.json" => NoTokenizerHere::Tekken,
            "vocab.txt" => NoTokenizerHere::WordPiece,
            name if BESIDE.contains(&name) => NoTokenizerHere::Beside,
            _ if is_tiktoken(place) => NoTokenizerHere::Ranks,
            _ if WEIGHTS.iter().any(|known| ending.eq_ignore_ascii_case(known)) => NoTokenizerHere::Weights,
            _ => NoTokenizerHere::Other,
        }
    }

    /// Returns whether a file can be a `tokenizer.json` of another name: by its ending, or as a JSON object or the pointer
    /// that stands in for one.
    pub(super) fn may_be_json(path: &Path) -> bool {
        if !matches!(NoTokenizerHere::look(path), NoTokenizerHere::Other) {
            return false;
        }
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            return true;
        }
        let mut begin = [0; 64];
        let read = File::open(path).and_then(|mut file| file.read(&mut begin));
        // One that cannot be read is named with its error.
        let Ok(read) = read else { return true };
        let begin = begin[..read].trim_ascii_start();
        begin.starts_with(b"{") || begin.starts_with(b"version https://git-lfs") || begin.is_empty()
    }

    /// Returns the error for a place that has no tokenizer. It names the tokenizer that lies beside it.
    pub(super) fn error(place: &Path) -> ModelError {
        let here = |folder| if folder == Path::new("") { Path::new(".") } else { folder };
        let folder = place.parent().map(here).filter(|folder| !place.is_dir() && folder.is_dir());
        let beside = folder.and_then(TokenizerFiles::find).map(|files| files.path().to_owned());
        ModelError::NotATokenizer {
            place: place.to_owned(),
            found: NoTokenizerHere::look(place),
            instead: beside.filter(|path| path != place),
        }
    }
}

/// The end of an error that names the tokenizer to give.
pub(crate) fn advice(instead: Option<&PathBuf>) -> String {
    instead.map(|path| format!("; give {}", path.display())).unwrap_or_default()
}

impl fmt::Display for NoTokenizerHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoTokenizerHere::Nothing => {
                f.write_str("does not exist, and is not a Hub id owner/name[@revision]")
            }
            NoTokenizerHere::Folder => f.write_str("has no tokenizer"),
            NoTokenizerHere::Half { missing } => {
                write!(f, "has one of the two files of byte-level BPE, and {missing} is missing beside it")
            }
            NoTokenizerHere::Ranks => f.write_str("has a list of ranks (tiktoken), which is not read"),
            NoTokenizerHere::Tekken => {
                f.write_str("has a tokenizer in Mistral's own format (tekken), which is not read")
            }
            NoTokenizerHere::WordPiece => f.write_str("has a vocabulary of WordPiece, which is not read"),
            NoTokenizerHere::Beside => f.write_str("is a file that counts beside a tokenizer and is none"),
            NoTokenizerHere::Weights => f.write_str("is a file of weights"),
            NoTokenizerHere::Other => f.write_str("is not a tokenizer"),
        }
    }
}
