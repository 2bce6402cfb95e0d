//! The tokenizer of a model: usable, unusable for a reason, or missing.

use std::{path::Path, sync::Arc};

use super::Origin;
use crate::{
    error::ModelError,
    note::Note,
    tokenizer::{Tokenizer, has_tiktoken},
};

/// The tokenizer of a model, which only texts need.
#[derive(Clone, Debug)]
pub(super) enum OwnTokenizer {
    Usable(Box<Tokenizer>),
    /// There is one that cannot be used, for this reason.
    Unusable(Arc<ModelError>),
    Missing,
}

impl From<Result<Option<Tokenizer>, ModelError>> for OwnTokenizer {
    fn from(opened: Result<Option<Tokenizer>, ModelError>) -> Self {
        match opened {
            Ok(Some(tokenizer)) => OwnTokenizer::from(tokenizer),
            Ok(None) => OwnTokenizer::Missing,
            Err(reason) => OwnTokenizer::Unusable(Arc::new(reason)),
        }
    }
}

impl From<Tokenizer> for OwnTokenizer {
    fn from(tokenizer: Tokenizer) -> Self {
        OwnTokenizer::Usable(Box::new(tokenizer))
    }
}

impl OwnTokenizer {
    pub(super) fn notes(&self) -> Vec<Note> {
        match self {
            OwnTokenizer::Usable(tokenizer) => tokenizer.notes(),
            OwnTokenizer::Unusable(reason) => vec![Note::unusable_tokenizer(reason)],
            OwnTokenizer::Missing => Vec::new(),
        }
    }
}

/// Opens the tokenizer in a place that must have one.
pub(super) fn opened(
    place: &Path,
    vocab_size: usize,
    bos_token_id: Option<u32>,
    config_path: &Path,
) -> Result<Tokenizer, ModelError> {
    Tokenizer::check_place(place)?;
    Tokenizer::open(place, vocab_size, bos_token_id, config_path)?.ok_or_else(|| no_tokenizer(place))
}

/// Checks that there is a tokenizer in the place that the user names.
pub(super) fn find_named(origin: &Origin) -> Result<(), ModelError> {
    origin.tokenizer.as_deref().map_or(Ok(()), Tokenizer::check_place)
}

pub(super) fn no_tokenizer(place: &Path) -> ModelError {
    ModelError::NoTokenizer { folder: place.to_owned(), tiktoken: has_tiktoken(place) }
}
