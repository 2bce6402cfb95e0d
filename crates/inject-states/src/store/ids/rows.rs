//! `rows.safetensors`: the prompt, position and token of each row of the taps.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::{extent::PromptIter, prompts::PromptIds};
use crate::store::{
    error::StoreError,
    layout::FileSpec,
    manifest::{Manifest, positions::Positions},
    read::mapped::Mapped,
};

/// The number of rows after which the memory pages of those before are released.
const PASSED: usize = 1 << 18;

/// The columns, in the order of the file.
const COLUMNS: [&str; 3] = ["prompt", "position", "token_id"];

/// The prompt, position and token of each row: one element for each row in each slice.
///
/// The rows of prompt 0 come first, in the order of their positions, then those of prompt 1, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowIds<'a> {
    /// The prompt, counted from 0.
    pub prompt: &'a [u32],
    /// The position in the prompt, counted from 0.
    pub position: &'a [u32],
    /// The token at that position.
    pub token_id: &'a [u32],
}

/// The checked rows of a finished store.
#[derive(Debug)]
pub(crate) struct StoredRowIds {
    mapped: Mapped,
}

impl StoredRowIds {
    /// Opens and checks the file.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the rows are not those of the prompts in their order.
    pub(crate) fn open(dir: &Path, manifest: &Manifest, prompts: &PromptIds) -> Result<Self, StoreError> {
        let rows = StoredRowIds { mapped: Mapped::open(dir, &FileSpec::rows(manifest))? };
        let found: [&[i32]; 3] = [0, 1, 2].map(|column| rows.mapped.elements(column));
        for (row, expected) in of_prompts(prompts.in_passing(), manifest.spec.positions).enumerate() {
            if row % PASSED == 0 {
                rows.mapped.release();
            }
            for (column, tensor) in COLUMNS.into_iter().enumerate() {
                if found[column][row] != expected[column] {
                    return Err(StoreError::Value {
                        path: rows.mapped.path().to_owned(),
                        tensor,
                        index: row,
                        found: found[column][row].into(),
                        expected: expected[column].to_string(),
                    });
                }
            }
        }
        rows.mapped.release();
        Ok(rows)
    }

    pub(crate) fn rows(&self) -> RowIds<'_> {
        // Every element was checked to equal a nonnegative number, so I32 and u32 agree.
        let [prompt, position, token_id] = [0, 1, 2].map(|column| self.mapped.elements(column));
        RowIds { prompt, position, token_id }
    }
}

/// Writes the header and the rows, and makes them durable.
pub(crate) fn write<'a>(
    path: &Path,
    spec: &FileSpec,
    prompts: impl PromptIter<'a>,
    positions: Positions,
) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(&spec.header())?;
        for column in 0..COLUMNS.len() {
            for row in of_prompts(prompts.clone(), positions) {
                out.write_all(&row[column].to_le_bytes())?;
            }
        }
        out.flush()?;
        out.get_ref().sync_all()
    };
    write().map_err(StoreError::io("write", path))
}

/// Returns the rows of the prompts in order, each as prompt, position and token id.
fn of_prompts<'a>(
    prompts: impl Iterator<Item = &'a [u32]>,
    positions: Positions,
) -> impl Iterator<Item = [i32; 3]> {
    prompts.enumerate().flat_map(move |(prompt, ids)| {
        (0..positions.rows(ids.len())).map(move |row| {
            let position = positions.position(row, ids.len());
            [prompt as i32, position as i32, ids[position] as i32]
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(positions: Positions) -> Vec<[i32; 3]> {
        let prompts: [&[u32]; 2] = [&[7, 8], &[9]];
        of_prompts(prompts.into_iter(), positions).collect()
    }

    #[test]
    fn last_keeps_the_last_token_of_each_prompt() {
        assert_eq!(rows(Positions::Last), [[0, 1, 8], [1, 0, 9]]);
    }

    #[test]
    fn all_keeps_every_token_in_order() {
        assert_eq!(rows(Positions::All), [[0, 0, 7], [0, 1, 8], [1, 0, 9]]);
    }
}
