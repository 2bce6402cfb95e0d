//! Tests of the causes of errors.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use super::ModelError;
use crate::checkpoint::{Damage, GgufError, HeaderError, ShardIndexError};

fn path() -> PathBuf {
    PathBuf::from("folder/file")
}

fn io_error() -> io::Error {
    io::Error::other("the disk is on fire")
}

fn json_error() -> serde_json::Error {
    serde_json::from_str::<u32>("{").unwrap_err()
}

/// An error of every variant that has a cause.
fn with_causes() -> Vec<Box<dyn Error>> {
    let header = |error: HeaderError| ModelError::Damaged { path: path(), source: error.into() };
    let damaged = |source| ModelError::Damaged { path: path(), source };
    vec![
        Box::new(ModelError::Read { path: path(), source: io_error() }),
        Box::new(ModelError::Write { path: path(), source: io_error() }),
        Box::new(ModelError::Json { path: path(), source: json_error() }),
        Box::new(ModelError::Tokenizer { path: path(), source: "no model".into() }),
        Box::new(ModelError::Tokenize { path: path(), source: "no such token".into() }),
        Box::new(ModelError::UnusableTokenizer { source: Arc::new(ModelError::LfsPointer { path: path() }) }),
        Box::new(header(HeaderError::Io(io_error()))),
        Box::new(header(HeaderError::TooShort { found: 3 })),
        Box::new(header(HeaderError::Json(json_error()))),
        Box::new(header(HeaderError::Metadata(json_error()))),
        Box::new(header(HeaderError::Entry { tensor: "t".to_owned(), source: json_error() })),
        Box::new(damaged(Damage::Pickle("no archive".into()))),
        Box::new(damaged(Damage::Lost { tensor: "t".to_owned() })),
        Box::new(damaged(Damage::Gguf(GgufError::BigEndian))),
        Box::new(damaged(Damage::QuantState { tensor: "t".to_owned(), source: json_error() })),
        Box::new(ShardIndexError::Json(json_error())),
    ]
}

#[test]
fn a_cause_is_a_source_and_never_part_of_the_text() {
    for error in with_causes() {
        let mut error: &dyn Error = error.as_ref();
        assert!(error.source().is_some(), "{error:?}");
        while let Some(source) = error.source() {
            assert!(!error.to_string().contains(&source.to_string()), "{error}");
            error = source;
        }
    }
}
