//! Models in one GGUF file: settings, tokenizer and weights.
//!
//! The file is translated and not interpreted: its metadata become the `config.json` that the family publishes, and its tensors
//! get the names and the order of rows that they have there. Everything after that is the same as for a folder.

// The file is mapped. What has become a tensor is released at once, because mapped pages count as memory used.

mod architecture;
mod blocks;
mod config;
mod contents;
mod cursor;
mod error;
mod head;
mod rows;
mod settings;
mod tokenizer;
mod value;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use memmap2::Mmap;

pub(super) use self::architecture::Architecture;
use self::{architecture::Heads, blocks::Blocks, head::Head, settings::Settings};
pub use self::{contents::GgufContents, error::GgufError};
use super::{Checkpoint, Damage, Entry, Instead, StoredAs, Values, WeightFile, refuse_pointer};
use crate::error::ModelError;

/// The bytes with which every file begins.
const MAGIC: [u8; 4] = *b"GGUF";

/// A GGUF file whose head is checked.
#[derive(Debug)]
pub(crate) struct Gguf {
    path: PathBuf,
    map: Mmap,
    head: Head,
    architecture: Architecture,
}

/// The values of a tensor within the file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    blocks: Blocks,
    place: Range<usize>,
    change: Change,
}

/// The inverse of a change that the converter of llama.cpp made to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    /// The rows have another order.
    Reordered(Order),
    /// One was added to every number.
    PlusOne,
}

/// The order of the rows of a tensor in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The two halves of each head are interleaved row by row. The number is that of the heads.
    Interleaved { heads: usize },
    /// The queries of all heads, then their keys, then their values. As published, each head has the three together.
    QueriesKeysValues { heads: usize },
}

impl Gguf {
    /// Returns the GGUF file that a path means: the file itself, or the only one that ends in `.gguf` in a folder without
    /// `config.json`.
    pub(crate) fn find(path: &Path) -> Option<PathBuf> {
        let named = |path: &Path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
        if path.is_file() {
            // Files in Ollama's store have no ending.
            return (named(path) || begins_as_gguf(path)).then(|| path.to_owned());
        }
        if path.join("config.json").exists() {
            return None;
        }
        let files = fs::read_dir(path).ok()?.flatten().map(|entry| entry.path());
        let mut files = files.filter(|path| named(path) && path.is_file());
        files.next().filter(|_| files.next().is_none())
    }

    /// Opens a file, and checks its head and that it holds a model.
    pub(crate) fn open(path: PathBuf) -> Result<Self, ModelError> {
        refuse_pointer(&path)?;
        let io_error = |source| ModelError::Read { path: path.clone(), source };
        let file = File::open(&path).map_err(io_error)?;
        // SAFETY: the map is only read. That no other program truncates or rewrites the file while it is loaded is the
        // documented condition of `Model::load`.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| ModelError::of_map(&path, &file, source))?;
        let head = Head::parse(&map)
            .map_err(|fault| ModelError::Damaged { path: path.clone(), source: Damage::Gguf(fault) })?;
        if let Some(found) = GgufContents::other_than_a_model(&map, &head) {
            return Err(ModelError::Instead { folder: path, found: Instead::OtherGguf(found) });
        }
        let architecture = Architecture::of(&path, &map, &head)?;
        Ok(Gguf { path, map, head, architecture })
    }

    /// Returns the tensors under the names of the family.
    pub(crate) fn checkpoint(self) -> Result<Checkpoint, ModelError> {
        let mut settings = self.settings();
        let heads = Heads::take(&mut settings);
        settings.refuse()?;
        let mut tensors = BTreeMap::new();
        for (name, placed) in &self.head.tensors {
            if self.architecture.is_beside(name) {
                continue;
            }
            let published = self.architecture.published_name(name);
            let change = self.architecture.change(name, heads);
            let stored = Stored { blocks: placed.blocks, place: placed.place.clone(), change };
            let stored = StoredAs::Gguf(stored);
            let entry = Entry { file: 0, stored, shape: placed.shape.clone(), begin: 0 };
            if tensors.insert(published, entry).is_some() {
                let source = Damage::Gguf(GgufError::TensorTwice { tensor: name.clone() });
                return Err(ModelError::Damaged { path: self.path, source });
            }
        }
        let file = WeightFile::new(self.path.clone(), Values::Gguf(Arc::new(self.map)));
        let architecture = Some(self.architecture);
        Ok(Checkpoint { path: self.path, files: vec![file], tensors, architecture })
    }

    /// The keys of the architecture.
    fn settings(&self) -> Settings<'_> {
        Settings::new(&self.path, &self.map, &self.head, self.architecture.name())
    }
}

fn begins_as_gguf(path: &Path) -> bool {
    let mut begin = [0; MAGIC.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == MAGIC
}

impl Stored {
    /// The name of the format.
    pub(super) fn format(&self) -> &'static str {
        self.blocks.name()
    }

    /// Passes the values to `sink` in pieces of whole rows, of about `piece` values, each with the number of its first value.
    pub(super) fn stream(
        &self,
        map: &Mmap,
        shape: &[usize],
        piece: usize,
        mut sink: impl FnMut(usize, &[f32]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let width = shape.last().copied().unwrap_or(1);
        let rows: usize = shape[..shape.len() - 1].iter().product();
        let rows_at_once = (piece / width).clamp(1, rows);
        let mut values = vec![0_f32; rows_at_once * width];
        for first in (0..rows).step_by(rows_at_once) {
            let count = rows_at_once.min(rows - first);
            let values = &mut values[..count * width];
            for (row, values) in (first..).zip(values.chunks_exact_mut(width)) {
                self.row(map, row, rows, values);
            }
            sink(first * width, values)?;
        }
        self.release(map);
        Ok(())
    }

    /// Restores one row of the published tensor.
    fn row(&self, map: &Mmap, row: usize, rows: usize, values: &mut [f32]) {
        let bytes = &map[self.place.clone()];
        let row_bytes = values.len() / self.blocks.numbers() * self.blocks.bytes();
        match self.change {
            Change::Reordered(order) if rows > 1 => {
                let stored = order.place(row, rows);
                self.blocks.decode(&bytes[stored * row_bytes..][..row_bytes], values);
            }
            Change::Reordered(order) => {
                let mut stored = vec![0.0; values.len()];
                self.blocks.decode(bytes, &mut stored);
                for (i, value) in values.iter_mut().enumerate() {
                    *value = stored[order.place(i, stored.len())];
                }
            }
            Change::None => self.blocks.decode(&bytes[row * row_bytes..][..row_bytes], values),
            Change::PlusOne => {
                self.blocks.decode(&bytes[row * row_bytes..][..row_bytes], values);
                values.iter_mut().for_each(|value| *value -= 1.0);
            }
        }
    }

    /// Releases the memory that reading has filled.
    fn release(&self, map: &Mmap) {
        #[cfg(unix)]
        {
            // SAFETY: the map is read-only and backed by a file, so a page that is dropped comes back as it was.
            let advised = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    self.place.start,
                    self.place.len(),
                )
            };
            // A system that ignores the advice keeps the pages longer. Nothing depends on it.
            drop(advised);
        }
        #[cfg(not(unix))]
        drop(map);
    }
}

impl Order {
    /// The place within the file of row `row` of the published matrix.
    ///
    /// # Source
    ///
    /// github.com/ggml-org/llama.cpp, `conversion/llama.py` (`LlamaModel.permute`) and `conversion/gpt_neox.py`
    /// (`modify_tensors`).
    fn place(self, row: usize, rows: usize) -> usize {
        match self {
            // Each head holds the rows of its first half at even places, and those of its second half at odd ones.
            Order::Interleaved { heads } => {
                let d_head = rows / heads;
                let (head, within) = (row / d_head, row % d_head);
                let half = d_head / 2;
                head * d_head + 2 * (within % half) + within / half
            }
            Order::QueriesKeysValues { heads } => {
                let d_head = rows / heads / 3;
                let (head, part, within) = (row / d_head / 3, row / d_head % 3, row % d_head);
                (part * heads + head) * d_head + within
            }
        }
    }
}
