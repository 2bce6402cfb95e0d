//! The kinds of files, by their endings.

use std::{fs::File, io::Read, path::Path};

use flate2::read::GzDecoder;

use super::{
    ForeignProblem,
    arrays::{Archive, Content},
    npy, npz, safetensors, torch,
};
use crate::durable;

/// The endings that are known.
pub(super) const ENDINGS: &str =
    "`.safetensors`, `.npy`, `.npz`, `.pt`, `.pth`, `.bin`, `.ckpt`, and `.gz` after the last six";

/// The most that a compressed file may unpack to, in bytes.
pub(super) const MOST_UNPACKED: u64 = 1 << 31;

/// Reads the names, shapes and places of all arrays of a file.
///
/// A compressed file may unpack to `most` bytes, if that is less than any file may.
pub(super) fn open(path: &Path, most: Option<u64>) -> Result<Archive, ForeignProblem> {
    let most = most.unwrap_or(MOST_UNPACKED).min(MOST_UNPACKED);
    let (ending, packed) = ending(path);
    if ending == "safetensors" && !packed {
        return safetensors::read(durable::open_ordinary(path)?);
    }
    let read: fn(Content, u64) -> Result<Archive, ForeignProblem> = match ending.as_str() {
        "npy" => |content, _| npy::read(content),
        "npz" => npz::read,
        "pt" | "pth" | "bin" | "ckpt" => torch::read,
        _ => {
            let found = if packed { format!("{ending}.gz") } else { ending };
            return Err(ForeignProblem::UnknownEnding { found, known: ENDINGS });
        }
    };
    let file = durable::open_ordinary(path)?;
    if !packed {
        return read(Content::File(file), most);
    }
    let content = unpacked(file, most)?;
    let left = most - content.length()?;
    read(content, left).map_err(|problem| match problem {
        // The whole limit says more than the rest of it.
        ForeignProblem::UnpacksToTooMuch { .. } => ForeignProblem::UnpacksToTooMuch { most },
        other => other,
    })
}

/// Whether the name of a file has a known ending.
pub(super) fn is_known(path: &Path) -> bool {
    let (ending, packed) = ending(path);
    matches!(ending.as_str(), "npy" | "npz" | "pt" | "pth" | "bin" | "ckpt")
        || (ending == "safetensors" && !packed)
}

/// The ending in small letters, without `.gz`, and whether there is one.
fn ending(path: &Path) -> (String, bool) {
    let of = |path: &Path| path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match of(path).as_str() {
        "gz" => (of(Path::new(path.file_stem().unwrap_or_default())), true),
        other => (other.to_owned(), false),
    }
}

fn unpacked(file: File, most: u64) -> Result<Content, ForeignProblem> {
    let mut bytes = Vec::new();
    GzDecoder::new(file).take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(ForeignProblem::UnpacksToTooMuch { most });
    }
    Ok(Content::memory(bytes))
}
