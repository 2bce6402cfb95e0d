//! The kinds of files, by their endings.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

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
    let file = durable::open_ordinary(path)?;
    if ending == "safetensors" && !packed {
        return safetensors::read(file);
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

/// Unpacks a whole file of gzip into as much memory as its content takes.
///
/// # Source
///
/// RFC 1952, section 2.3.1: the last four bytes are the length of the content, modulo 2^32. They are another number if anything stands
/// after the compressed content.
fn unpacked(mut file: File, most: u64) -> Result<Content, ForeignProblem> {
    let mut announced = [0; 4];
    // A file of fewer bytes is not one of gzip, as its decoder says.
    if file.seek(SeekFrom::End(-4)).is_ok() {
        file.read_exact(&mut announced)?;
    }
    let mut length = u64::from(u32::from_le_bytes(announced));
    // The last bytes of a file that was cut off are any number. So the content is counted, not believed to be too long.
    if length > most {
        length = 0;
    }
    while length <= most {
        file.seek(SeekFrom::Start(0))?;
        let mut decoder = GzDecoder::new(&file);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length as usize).map_err(|_| ForeignProblem::OutOfMemory)?;
        decoder.by_ref().take(length).read_to_end(&mut bytes).map_err(cut_off)?;
        // What is longer is counted before memory is taken for it.
        let more = io::copy(&mut decoder.take(most + 1 - length), &mut io::sink()).map_err(cut_off)?;
        if more == 0 {
            return Ok(Content::memory(bytes));
        }
        length += more;
    }
    Err(ForeignProblem::UnpacksToTooMuch { most })
}

/// The problem with compressed content that cannot be unpacked.
fn cut_off(error: io::Error) -> ForeignProblem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ForeignProblem::PackedCutOff,
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LENGTH: usize = 100_000;

    /// A compressed file of [`LENGTH`] bytes and its end, changed in some way.
    fn unpacked_after(change: impl FnOnce(&mut Vec<u8>), most: u64) -> Result<Content, ForeignProblem> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&[7; LENGTH]).unwrap();
        let mut packed = packed.finish().unwrap();
        change(&mut packed);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&packed).unwrap();
        unpacked(file, most)
    }

    /// Replaces the length that the file announces.
    fn announce(length: u32) -> impl FnOnce(&mut Vec<u8>) {
        move |packed| {
            let end = packed.len() - 4;
            packed[end..].copy_from_slice(&length.to_le_bytes());
        }
    }

    #[test]
    fn a_file_takes_the_memory_of_its_content_whatever_stands_after_it() {
        for end in [&[][..], &[0; 512], &[0, 0, 1, 0], &[1, 0, 0, 0]] {
            let content = unpacked_after(|packed| packed.extend_from_slice(end), LENGTH as u64).unwrap();
            let Content::Memory(bytes) = content else { panic!("it is in a file") };
            assert_eq!((bytes.get_ref().len(), bytes.get_ref()[LENGTH - 1]), (LENGTH, 7));
            assert!(bytes.get_ref().capacity() < LENGTH + 1000, "{end:?}");
        }
    }

    #[test]
    fn a_file_that_unpacks_to_too_much_is_refused_whatever_it_announces() {
        let most = LENGTH as u64 - 1;
        for announced in [0, LENGTH as u32 - 1, LENGTH as u32, LENGTH as u32 + 1, u32::MAX] {
            let problem = unpacked_after(announce(announced), most).unwrap_err();
            assert!(matches!(problem, ForeignProblem::UnpacksToTooMuch { .. }), "{problem}");
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_named_as_that() {
        let whole = {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(&[7; LENGTH]).unwrap();
            packed.finish().unwrap().len()
        };
        // The last four bytes are then some number.
        for length in [0, 5, 20, whole / 2, whole - 9, whole - 5, whole - 1] {
            for most in [LENGTH as u64, 1 << 31] {
                let problem = unpacked_after(|packed| packed.truncate(length), most).unwrap_err();
                assert!(matches!(problem, ForeignProblem::PackedCutOff), "{length} of {whole}: {problem}");
            }
        }
    }

    #[test]
    fn a_file_that_is_longer_than_it_announces_is_refused_at_the_limit() {
        for more in [&[0; 4][..], &[255, 0, 0, 0]] {
            let problem =
                unpacked_after(|packed| packed.extend_from_slice(more), LENGTH as u64 - 1).unwrap_err();
            assert!(matches!(problem, ForeignProblem::UnpacksToTooMuch { .. }), "{problem}");
        }
    }
}
