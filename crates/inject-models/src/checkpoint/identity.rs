//! The hash that identifies the weights of a checkpoint.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Checkpoint, KnownHashes};
use crate::error::ModelError;

/// Computes the SHA-256 of the weights in a folder, in hexadecimal: of the one weight file itself (so it equals the
/// checksum that the Hub shows), or, for several shards, of their sorted `name:checksum` lines. Several files are read at once.
pub(crate) fn weight_hash(folder: &Path, known: Option<&KnownHashes>) -> Result<String, ModelError> {
    let mut paths: Vec<PathBuf> = Checkpoint::open(folder)?.files.into_iter().map(|file| file.path).collect();
    paths.sort();
    let hash = |path: &PathBuf| match known {
        None => file_hash(path),
        Some(known) => known.file_hash(path),
    };
    let hashes = paths.par_iter().map(hash).collect::<Result<Vec<String>, _>>()?;
    if let [hash] = hashes.as_slice() {
        return Ok(hash.clone());
    }
    let mut lines = String::new();
    for (path, hash) in paths.iter().zip(&hashes) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        lines += &format!("{name}:{hash}\n");
    }
    Ok(hex::encode(Sha256::digest(lines.as_bytes())))
}

/// Computes the SHA-256 of a file, in hexadecimal.
pub(crate) fn file_hash(path: &Path) -> Result<String, ModelError> {
    let io_error = |source| ModelError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io_error)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(io_error)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
