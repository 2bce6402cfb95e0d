//! The entries of a ZIP file: those stored as they are stay in the file, compressed ones are unpacked.

use std::io::Read;

use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config},
};

use super::{ForeignProblem, arrays::Content};

/// The most entries that are read. A generation has one for each layer and step.
const MOST_ENTRIES: usize = 1 << 20;

/// The bytes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// The index of its bytes among the contents.
    pub(super) content: usize,
    pub(super) start: u64,
    pub(super) length: u64,
}

/// Lists the entries of a ZIP file, which is the first of `contents`. Compressed entries are added to the contents. They may unpack to
/// `most` bytes together.
///
/// The length that an entry announces is compared with what is left of these bytes before memory is taken for it, and no more is
/// unpacked than it announces.
pub(super) fn entries(contents: &mut Vec<Content>, most: u64) -> Result<Vec<Entry>, ForeignProblem> {
    let whole = contents[0].length()?;
    let mut unpacked: Vec<Content> = Vec::new();
    let mut entries = Vec::new();
    let mut left = most;
    // PyTorch writes a second end of the directory, of 76 bytes. If the first entry of the directory has that length too, because the name of
    // the file has 21 letters, a search for the directory begins at the second entry.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, &mut contents[0])?;
    if archive.len() > MOST_ENTRIES {
        return Err(ForeignProblem::TooManyEntries { found: archive.len(), most: MOST_ENTRIES });
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name().map_err(ForeignProblem::Zip)?.into_owned();
        let length = entry.size();
        if entry.compression() == CompressionMethod::Stored {
            let start = entry.data_start().unwrap_or(u64::MAX);
            let end = start.checked_add(length).filter(|&end| end <= whole);
            if end.is_none() || entry.compressed_size() != length {
                return Err(ForeignProblem::Entry { name });
            }
            entries.push(Entry { name, content: 0, start, length });
            continue;
        }
        left = left.checked_sub(length).ok_or(ForeignProblem::UnpacksToTooMuch { most })?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length as usize).map_err(|_| ForeignProblem::OutOfMemory)?;
        (&mut entry).take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length || entry.read(&mut [0])? > 0 {
            return Err(ForeignProblem::EntryLength { name, expected: length });
        }
        unpacked.push(Content::memory(bytes));
        entries.push(Entry { name, content: unpacked.len(), start: 0, length });
    }
    drop(archive);
    contents.extend(unpacked);
    Ok(entries)
}
