//! The files of a model, looked for one by one.

use std::{fs, path::PathBuf};

use super::{
    commit::Commit,
    error::HubError,
    index::{self, is_plain_path},
    limits::{
        CONFIG, MERGES, PICKLE, PICKLE_INDEX, SAFETENSORS, SAFETENSORS_INDEX, SENTENCE_PIECE, TOKENIZER,
        TOKENIZER_CONFIG, VOCABULARY,
    },
    site::Site,
};
use crate::{
    progress::{Progress, Unit},
    tokenizer::versioned_file,
};

/// A local folder that holds a model's files, all of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Path of the folder: `<cache>/models--<owner>--<name>/snapshots/<commit>`.
    pub folder: PathBuf,
    /// The commit the revision stood for.
    pub commit: String,
    /// The reason, on one line, if the Hub gave no usable answer and the cache stood in for it: a branch or tag stands for the commit
    /// that it stood for when it was last fetched, and files that the cache does not hold count as absent.
    pub from_cache: Option<String>,
}

/// The part of a repository that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Model,
    Tokenizer,
}

/// The files of one commit: those in the cache, or those of the Hub.
pub(super) trait Files {
    fn site(&self) -> &Site<'_>;

    fn commit(&self) -> &Commit;

    /// The local path of a file, or `None` if the repository (as far as it is known) has no such file.
    fn find(&self, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Option<PathBuf>, HubError>;

    /// The error for a file that a model cannot do without.
    fn missing(&self, file: &str) -> HubError;

    /// Takes note that a file was found, but cannot be used.
    fn reject(&self, file: &str);
}

/// Finds every file of the model. The weights come last, so a snapshot that has them has everything.
pub(super) fn gather(
    files: &dyn Files,
    wanted: Wanted,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Snapshot, HubError> {
    let mut find = |file: &str| -> Result<Option<PathBuf>, HubError> {
        let path = files.find(file, progress)?;
        if let Some(path) = &path {
            let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
            progress(Progress::new(file, Unit::Bytes, size, size));
        }
        Ok(path)
    };

    if wanted == Wanted::Model {
        find(CONFIG)?.ok_or_else(|| files.missing(CONFIG))?;
    }
    let mut tokenizer = find(TOKENIZER)?.is_some()
        || (find(VOCABULARY)?.is_some() && find(MERGES)?.is_some())
        || find(SENTENCE_PIECE)?.is_some();
    let settings = find(TOKENIZER_CONFIG)?;
    let versioned =
        settings.and_then(|settings| versioned_file(&settings)).filter(|file| is_plain_path(file));
    if let Some(file) = versioned {
        tokenizer |= find(&file)?.is_some();
    }
    match wanted {
        Wanted::Tokenizer if tokenizer => {}
        Wanted::Tokenizer => return Err(files.missing(TOKENIZER)),
        Wanted::Model => weights(files, &mut find)?,
    }

    let (commit, site) = (files.commit(), files.site());
    site.cache.check_links(commit).map_err(|trouble| site.trouble(CONFIG, trouble))?;
    let folder = site.cache.snapshot(commit);
    Ok(Snapshot { folder, commit: commit.to_string(), from_cache: None })
}

/// Finds the weights of the model.
fn weights(
    files: &dyn Files,
    find: &mut dyn FnMut(&str) -> Result<Option<PathBuf>, HubError>,
) -> Result<(), HubError> {
    let (path, index) = if let Some(path) = find(SAFETENSORS_INDEX)? {
        (path, SAFETENSORS_INDEX)
    } else if find(SAFETENSORS)?.is_some() || find(PICKLE)?.is_some() {
        return Ok(());
    } else {
        (find(PICKLE_INDEX)?.ok_or_else(|| files.missing(SAFETENSORS))?, PICKLE_INDEX)
    };
    let shards = index::shards(&path, files.site().at(index));
    for shard in shards.inspect_err(|_| files.reject(index))? {
        find(&shard)?.ok_or_else(|| files.missing(&shard))?;
    }
    Ok(())
}
