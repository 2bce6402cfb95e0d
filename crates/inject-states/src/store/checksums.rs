//! `checksums.jsonl`: a checksum for each block of states, so that damage is found and named.
//!
//! A block is a fixed number of rows, about a mebibyte, independent of the calls of the writer. So the checksums do not depend on
//! interruptions.

mod hasher;

use std::{collections::BTreeMap, fs, path::Path};

use inject_models::Tap;

pub(crate) use self::hasher::BlockHasher;
use super::{error::StoreError, manifest::Manifest};
use crate::durable::JsonLines;

/// The name of the file in a finished store.
pub(crate) const FILE: &str = "checksums.jsonl";

/// The name of the file in an unfinished store.
pub(crate) const IN_PROGRESS: &str = "checksums.progress.jsonl";

/// The size of a block in bytes, unless a row is larger.
const BLOCK_BYTES: usize = 1 << 20;

/// The checksums of the blocks of each tap, in the order of the taps.
pub(crate) type Sums = Vec<Vec<u64>>;

/// Everything that the checksums depend on.
#[derive(serde::Serialize)]
struct Header<'a> {
    format_version: u32,
    checksum: &'static str,
    block_rows: usize,
    row_count: usize,
    weight_hash: &'a str,
    prompts_sha256: &'a str,
}

impl<'a> Header<'a> {
    fn of(manifest: &'a Manifest) -> Self {
        Header {
            format_version: manifest.format_version,
            checksum: "xxh3-64",
            block_rows: block_rows(manifest),
            row_count: manifest.row_count,
            weight_hash: &manifest.spec.weight_hash,
            prompts_sha256: &manifest.prompts_sha256,
        }
    }
}

/// The checksums of one block at every tap, in hexadecimal.
#[derive(serde::Serialize, serde::Deserialize)]
struct Line {
    block: usize,
    sums: BTreeMap<Tap, String>,
}

/// Returns the number of rows in a block.
pub(crate) fn block_rows(manifest: &Manifest) -> usize {
    (BLOCK_BYTES / row_bytes(manifest)).max(1)
}

/// Returns the bytes of one state on disk.
pub(crate) fn row_bytes(manifest: &Manifest) -> usize {
    manifest.spec.d_model * manifest.spec.dtype.bytes()
}

/// Returns a hasher for each tap.
pub(crate) fn hashers(manifest: &Manifest) -> Vec<BlockHasher> {
    let block_bytes = block_rows(manifest) * row_bytes(manifest);
    manifest.spec.taps.iter().map(|_| BlockHasher::new(block_bytes)).collect()
}

/// Reads the checksums of a finished store.
///
/// # Errors
///
/// [`StoreError::Io`] if the file is missing, [`StoreError::Checksums`] if it is damaged or belongs to another store,
/// [`StoreError::Field`] if blocks are missing.
pub(crate) fn read(dir: &Path, manifest: &Manifest) -> Result<Sums, StoreError> {
    let path = dir.join(FILE);
    fs::metadata(&path).map_err(StoreError::io("open", &path))?;
    let mut sums = vec![Vec::new(); manifest.spec.taps.len()];
    JsonLines::read(&path, &Header::of(manifest), &mut |line| add(&mut sums, &manifest.spec.taps, line))?;
    let expected = manifest.row_count.div_ceil(block_rows(manifest));
    if sums[0].len() != expected {
        let (field, found) = ("blocks".to_owned(), sums[0].len().to_string());
        return Err(StoreError::Field { path, field, found, expected: expected.to_string() });
    }
    Ok(sums)
}

/// Reads the checksums of an unfinished store, up to the first line that cannot be trusted.
pub(crate) fn read_in_progress(dir: &Path, job: &Manifest) -> Sums {
    let mut sums = vec![Vec::new(); job.spec.taps.len()];
    // An error ends the reading. The blocks of the remaining lines are hashed again.
    let _ = JsonLines::read(&dir.join(IN_PROGRESS), &Header::of(job), &mut |line| {
        add(&mut sums, &job.spec.taps, line)
    });
    sums
}

/// Returns the contents of the file with these checksums.
pub(crate) fn to_text(manifest: &Manifest, sums: &[&[u64]]) -> Vec<u8> {
    JsonLines::text(&Header::of(manifest), &lines(&manifest.spec.taps, sums, 0))
}

/// Opens the checksums of an unfinished store for appending.
pub(crate) fn append_to(dir: &Path, job: &Manifest) -> Result<JsonLines, StoreError> {
    Ok(JsonLines::open(&dir.join(IN_PROGRESS), &Header::of(job), &mut |_: Line| Ok(()))?)
}

/// Appends the checksums of block `first` and those after it.
pub(crate) fn append(
    file: &mut JsonLines,
    taps: &[Tap],
    sums: &[&[u64]],
    first: usize,
) -> Result<(), StoreError> {
    Ok(file.append_all(&lines(taps, sums, first))?)
}

fn lines(taps: &[Tap], sums: &[&[u64]], first: usize) -> Vec<Line> {
    let line = |block: usize| {
        let sums = taps.iter().zip(sums).map(|(&tap, sums)| (tap, format!("{:016x}", sums[block])));
        Line { block, sums: sums.collect() }
    };
    (first..sums[0].len()).map(line).collect()
}

fn add(sums: &mut Sums, taps: &[Tap], line: Line) -> Result<(), String> {
    if line.block != sums[0].len() {
        return Err(format!("block {}, expected {}", line.block, sums[0].len()));
    }
    let sum = |tap: &Tap| {
        let digits = line.sums.get(tap).ok_or_else(|| format!("no checksum for tap `{tap}`"))?;
        u64::from_str_radix(digits, 16).map_err(|_| format!("`{digits}` is not a checksum"))
    };
    let block: Vec<u64> = taps.iter().map(sum).collect::<Result<_, _>>()?;
    sums.iter_mut().zip(block).for_each(|(sums, sum)| sums.push(sum));
    Ok(())
}
