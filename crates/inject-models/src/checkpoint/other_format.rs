//! Weight files whose contents are of another format than their names say.

use std::{fmt, fs::File, io::Read, path::Path};

use super::Damage;
use crate::error::ModelError;

/// The format that the first bytes of a file show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherFormat {
    /// A file of `torch.save`.
    Pytorch,
    /// A safetensors file.
    Safetensors,
    /// A GGUF file.
    Gguf,
    /// A compressed file: gzip, xz, bzip2 or zstd.
    Compressed,
    /// Text that a server sends in the place of a file.
    WebPage,
}

/// The beginnings of formats. That of safetensors has another form.
///
/// # Source
///
/// The file formats themselves. A pickle begins with its protocol, from 2 to 5.
const BEGINNINGS: [(&[u8], OtherFormat); 14] = [
    (b"PK\x03\x04", OtherFormat::Pytorch),
    (b"\x80\x02", OtherFormat::Pytorch),
    (b"\x80\x03", OtherFormat::Pytorch),
    (b"\x80\x04", OtherFormat::Pytorch),
    (b"\x80\x05", OtherFormat::Pytorch),
    (b"GGUF", OtherFormat::Gguf),
    (b"\x1f\x8b", OtherFormat::Compressed),
    (b"\xfd7zXZ\0", OtherFormat::Compressed),
    (b"BZh", OtherFormat::Compressed),
    (b"\x28\xb5\x2f\xfd", OtherFormat::Compressed),
    (b"<!", OtherFormat::WebPage),
    (b"<?xml", OtherFormat::WebPage),
    (b"<html", OtherFormat::WebPage),
    (b"{\"error\"", OtherFormat::WebPage),
];

impl OtherFormat {
    /// Returns the format of a file, if its beginning shows one.
    fn of(path: &Path) -> Option<Self> {
        let mut begin = Vec::new();
        File::open(path).and_then(|file| file.take(16).read_to_end(&mut begin)).ok()?;
        // The length of a header, and its first sign.
        if begin.get(8) == Some(&b'{') && begin[4..8] == [0; 4] {
            return Some(OtherFormat::Safetensors);
        }
        BEGINNINGS.iter().find(|(beginning, _)| begin.starts_with(beginning)).map(|&(_, format)| format)
    }

    /// Returns the error for a file that cannot be read in the format that its name says.
    pub(super) fn or_damage(self, path: &Path, source: Damage) -> ModelError {
        let path = path.to_owned();
        match OtherFormat::of(&path).filter(|found| *found != self) {
            Some(found) => ModelError::OtherFormat { path, found },
            None => ModelError::Damaged { path, source },
        }
    }
}

impl fmt::Display for OtherFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OtherFormat::Pytorch => {
                "a PyTorch file: call it pytorch_model.bin, or adapter_model.bin if it is an adapter"
            }
            OtherFormat::Safetensors => {
                "a safetensors file: call it model.safetensors, or adapter_model.safetensors if it is an adapter"
            }
            OtherFormat::Gguf => "a GGUF file: give it a name that ends with .gguf",
            OtherFormat::Compressed => "compressed: unpack it",
            OtherFormat::WebPage => "the answer of a server and not the file: download it again",
        })
    }
}
