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
pub(super) fn open(path: &Path) -> Result<Archive, ForeignProblem> {
    let (ending, packed) = ending(path);
    if ending == "safetensors" && !packed {
        return safetensors::read(durable::open_ordinary(path)?);
    }
    let read: fn(Content) -> Result<Archive, ForeignProblem> = match ending.as_str() {
        "npy" => npy::read,
        "npz" => npz::read,
        "pt" | "pth" | "bin" | "ckpt" => torch::read,
        _ => {
            let found = if packed { format!("{ending}.gz") } else { ending };
            return Err(ForeignProblem::UnknownEnding { found, known: ENDINGS });
        }
    };
    let file = durable::open_ordinary(path)?;
    read(if packed { unpacked(file)? } else { Content::File(file) })
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

fn unpacked(file: File) -> Result<Content, ForeignProblem> {
    let mut bytes = Vec::new();
    GzDecoder::new(file).take(MOST_UNPACKED + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_UNPACKED {
        return Err(ForeignProblem::UnpacksToTooMuch { most: MOST_UNPACKED });
    }
    Ok(Content::memory(bytes))
}
