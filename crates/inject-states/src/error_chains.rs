//! The text of an error does not repeat its cause.

use std::{error::Error, io, path::PathBuf};

use inject_models::{Tap, checkpoint::HeaderError};

use crate::{
    durable::{FileError, JsonLinesError},
    extract::ExtractError,
    foreign::{ForeignError, ForeignProblem},
    prompts::{PromptError, PromptProblem},
    store::StoreError,
};

/// One error for each variant that has a cause.
fn errors() -> Vec<Box<dyn Error>> {
    let path = || PathBuf::from("states");
    let io = || io::Error::other("the disk is on fire");
    let json = || serde_json::from_str::<u32>("x").unwrap_err();
    let header = || HeaderError::Json(json());
    let file = || FileError::of("write", &path())(io());
    let store = || StoreError::Io { path: path(), action: "open", source: io() };
    let foreign = |problem| Box::new(ForeignError { path: path(), problem });
    let prompt = |problem| Box::new(PromptError { path: path(), problem });
    let tap = "block-0".parse::<Tap>().unwrap_err();
    vec![
        Box::new(file()),
        Box::new(JsonLinesError::File(file())),
        Box::new(JsonLinesError::Syntax { path: path(), line: 3, source: json() }),
        Box::new(store()),
        Box::new(StoreError::Json { path: path(), source: json() }),
        Box::new(StoreError::Header { path: path(), source: header() }),
        Box::new(StoreError::Checksums(JsonLinesError::File(file()))),
        foreign(ForeignProblem::Io(io())),
        foreign(ForeignProblem::SafetensorsHeader { source: header() }),
        foreign(ForeignProblem::TapName { source: tap }),
        prompt(PromptProblem::Io(io())),
        prompt(PromptProblem::Json { line: 1, column: 2, reason: "expected value".to_owned() }),
        #[cfg(feature = "parquet")]
        prompt(PromptProblem::Parquet(parquet::errors::ParquetError::General("no footer".to_owned()))),
        Box::new(ExtractError::Store(store())),
    ]
}

#[test]
fn every_cause_is_told_once() {
    for error in errors() {
        let mut link: &dyn Error = error.as_ref();
        assert!(link.source().is_some(), "{link:?} has no source");
        while let Some(source) = link.source() {
            let (text, cause) = (link.to_string(), source.to_string());
            assert!(!text.contains(&cause), "`{text}` repeats `{cause}`");
            link = source;
        }
    }
}
