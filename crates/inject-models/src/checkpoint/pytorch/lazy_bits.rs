//! Tensors whose values PyTorch changes while it reads them.
//!
//! A negated or conjugated tensor may be stored as it was before, with a bit that says so. The reader of burn-store drops these bits.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read},
    path::Path,
};

use zip::{
    ZipArchive, ZipReadOptions,
    read::{ArchiveOffset, Config},
};

/// The bits by their names in the pickle.
const BITS: [&str; 2] = ["neg", "conj"];

/// More bytes than any pickle of names and shapes has.
const LONGEST_PICKLE: u64 = 64 << 20;

/// Returns the bit that a tensor of a pickled file has, if one has any.
pub(super) fn lazy_bit(path: &Path) -> io::Result<Option<&'static str>> {
    let pickle = pickle(path)?;
    Ok(BITS.into_iter().find(|bit| is_set(&pickle, bit)))
}

/// Reads the pickle of a file: that of a ZIP file, or the beginning of an older file.
fn pickle(path: &Path) -> io::Result<Vec<u8>> {
    let mut pickle = Vec::new();
    // A search for the directory finds another beginning if the name of the file has 21 letters.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let Ok(mut archive) = ZipArchive::with_config(config, File::open(path)?) else {
        File::open(path)?.take(LONGEST_PICKLE).read_to_end(&mut pickle)?;
        return Ok(pickle);
    };
    let is_pickle = |name: &Cow<'_, str>| name.rsplit('/').next() == Some("data.pkl");
    let names = archive.file_names().flatten().filter(is_pickle);
    let name = names.min_by_key(|name| name.len()).map(Cow::into_owned);
    if let Some(index) = name.and_then(|name| archive.index_for_name(&name)) {
        // PyTorch can leave the sums of its entries out.
        let has_sum = archive.by_index_raw(index)?.crc32() != 0;
        let options = ZipReadOptions::new().ignore_crc32(!has_sum);
        archive.by_index_with_options(index, options)?.take(LONGEST_PICKLE).read_to_end(&mut pickle)?;
    }
    Ok(pickle)
}

/// Whether a pickle sets a key of a dictionary to true. The first time, the key is written out; later ones refer to it.
///
/// # Source
///
/// CPython's `Lib/pickletools.py`: `BINUNICODE` or `SHORT_BINUNICODE`, perhaps `BINPUT`, `LONG_BINPUT` or `MEMOIZE`, then `NEWTRUE` or
/// the `INT` of older protocols.
fn is_set(pickle: &[u8], key: &str) -> bool {
    let text = key.as_bytes();
    pickle.windows(text.len()).enumerate().filter(|(_, window)| *window == text).any(|(begin, _)| {
        let length = text.len() as u8;
        let is_text = pickle[..begin].ends_with(&[b'X', length, 0, 0, 0])
            || pickle[..begin].ends_with(&[0x8c, length])
            || pickle[..begin].ends_with(b"V");
        let rest = &pickle[begin + text.len()..];
        let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        let rest = match rest {
            [b'q', _, rest @ ..] | [b'r', _, _, _, _, rest @ ..] | [0x94, rest @ ..] => rest,
            [b'p', rest @ ..] => rest.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or_default(),
            rest => rest,
        };
        is_text && (rest.starts_with(&[0x88]) || rest.starts_with(b"I01\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_set_to_true_is_found_in_every_protocol() {
        for set in [
            &b"}X\x03\0\0\0negq\x0c\x88s"[..],
            b"}X\x03\0\0\0negr\x0c\x01\0\0\x88s",
            b"}\x94\x8c\x03neg\x94\x88s",
            b"}\x8c\x03neg\x88s",
            b"(dVneg\np7\nI01\ns",
        ] {
            assert!(is_set(set, "neg"), "{}", set.escape_ascii());
        }
        for other in [
            &b"}X\x03\0\0\0negq\x0c\x89s"[..],
            b"X\x07\0\0\0a.neg.b\x88",
            b"X\x04\0\0\0nega\x88",
            b"neg\x88",
            b"\x8c\x03neg",
            b"",
        ] {
            assert!(!is_set(other, "neg"), "{}", other.escape_ascii());
        }
    }
}
