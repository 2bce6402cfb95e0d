//! Tensors beside the states: token ids, and the lengths of prompts in a padded batch.

mod mask;

use std::ops::Range;

use super::{
    ForeignProblem, ReadOptions,
    arrays::{Archive, Elements, number_of_dictionary},
    sidecar::Sidecar,
};

/// The names of token ids.
const IDS: [&str; 3] = ["token_ids", "input_ids", "prompt_token_ids"];

/// The names of the lengths of prompts.
const LENGTHS: [&str; 2] = ["seq_lens", "prompt_lens"];

/// The name of the positions of rows, where some are missing or in another order.
const POSITIONS: &str = "positions";

const MASK: &str = "attention_mask";

/// The token ids, lengths and masks in the file of the states.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The ids of each prompt.
    pub(super) ids: Option<Vec<Vec<u32>>>,
    /// The rows of each prompt that are not padding.
    pub(super) rows: Option<Vec<Range<usize>>>,
    /// The position of each row of each prompt.
    pub(super) positions: Option<Vec<Vec<i128>>>,
    /// The length of the mask.
    pub(super) masked: Option<usize>,
    /// The names of ids and masks within dictionaries that are not read.
    pub(super) left_out: Vec<String>,
}

/// Whether ids and masks within lists and dictionaries are read. They may be those of other states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Read,
    LeftOut,
}

impl Beside {
    pub(super) fn read(
        archive: &mut Archive,
        sidecar: Option<&Sidecar>,
        options: &ReadOptions,
        within: Within,
    ) -> Result<Self, ForeignProblem> {
        let mut beside = Beside::default();
        let tensor = options.tensor.as_deref();
        let mut ids: Vec<Vec<String>> = IDS.iter().map(|name| archive.full_names(name, tensor)).collect();
        // Those at the top of the file come first.
        ids.sort_by_key(|found| !found.first().is_some_and(|name| IDS.contains(&name.as_str())));
        if let Some(found) = ids.into_iter().find(|found| !found.is_empty()) {
            if is_read(&found, within) {
                beside.ids = Some(ids_of(joined(archive, &found, numbers)?)?);
            } else {
                beside.left_out = found;
            }
        }
        beside.positions = numbers(archive, POSITIONS)?;
        let masks = archive.full_names(MASK, tensor);
        let are_read = !masks.is_empty() && !options.ignore_mask && is_read(&masks, within);
        if !are_read && !options.ignore_mask {
            beside.left_out.extend_from_slice(&masks);
        }
        if are_read {
            let mask = joined(archive, &masks, mask::read)?;
            let spans = mask.iter().enumerate().map(|(prompt, mask)| mask::attended(prompt, mask));
            beside.rows = Some(spans.collect::<Result<_, _>>()?);
            beside.masked = mask.iter().map(Vec::len).max();
        } else if let Some((name, lengths)) = lengths(archive)? {
            let lengths = lengths.into_iter().map(|found| {
                usize::try_from(found)
                    .map_err(|_| ForeignProblem::PromptLength { tensor: name.to_owned(), found })
            });
            beside.rows = Some(lengths.map(|length| Ok(0..length?)).collect::<Result<_, ForeignProblem>>()?);
        } else if let Some(lengths) = sidecar.and_then(|sidecar| sidecar.seq_lens.as_ref()) {
            beside.rows = Some(lengths.iter().map(|&length| 0..length).collect());
        }
        Ok(beside)
    }

    /// The number of token ids of the first prompt, if there are any.
    pub(super) fn tokens(&self) -> Option<usize> {
        self.ids.as_ref()?.first().map(Vec::len)
    }

    /// The number of prompts, as far as it is known.
    pub(super) fn prompts(&self) -> Result<Option<usize>, ForeignProblem> {
        match (self.ids.as_ref().map(Vec::len), self.rows.as_ref().map(Vec::len)) {
            (Some(ids), Some(rows)) if ids != rows => Err(ForeignProblem::Prompts { ids, rows }),
            (ids, rows) => Ok(ids.or(rows)),
        }
    }
}

/// Whether the integers of these full names are read: the only ones, or one for each entry of a list.
fn is_read(found: &[String], within: Within) -> bool {
    let is_top = |full: &String| !full.contains('.');
    let is_entry = |(at, full): (usize, &String)| number_of_dictionary(full) == Some(at);
    match found {
        [only] => is_top(only) || within == Within::Read,
        several => within == Within::Read && several.iter().enumerate().all(is_entry),
    }
}

/// Returns the integers of these full names, one prompt after another.
fn joined(
    archive: &mut Archive,
    found: &[String],
    read: fn(&mut Archive, &str) -> Result<Option<Vec<Vec<i128>>>, ForeignProblem>,
) -> Result<Vec<Vec<i128>>, ForeignProblem> {
    let mut prompts = Vec::new();
    for full in found {
        prompts.extend(read(archive, full)?.unwrap_or_default());
    }
    Ok(prompts)
}

/// Whether integers of this name are read: they may be a list. Those within dictionaries may be something else.
pub(super) fn is_known(name: &str) -> bool {
    IDS.contains(&name) || LENGTHS.contains(&name) || name == POSITIONS || name == MASK
}

/// Returns the integers of this name for each prompt. They are a list or an array with an axis for the prompts, or without one for a single prompt.
fn numbers(archive: &mut Archive, name: &str) -> Result<Option<Vec<Vec<i128>>>, ForeignProblem> {
    if let Some(list) = archive.lists.get(name) {
        return Ok(Some(list.clone()));
    }
    let Some(index) = archive.position(name) else { return Ok(None) };
    let array = &archive.arrays[index];
    let width = match array.shape()[..] {
        [tokens] | [_, tokens] => tokens,
        _ => return Err(ForeignProblem::TokenIdsShape { tensor: array.name.clone(), shape: array.shape() }),
    };
    if array.elements == Elements::Truth {
        return Err(array.unknown_dtype("an integer"));
    }
    let numbers = archive.integers(index)?;
    Ok(Some(numbers.chunks(width.max(1)).map(<[i128]>::to_vec).collect()))
}

/// Returns the lengths of the prompts, whichever axes they have, and the name of their array.
fn lengths(archive: &mut Archive) -> Result<Option<(&'static str, Vec<i128>)>, ForeignProblem> {
    for name in LENGTHS {
        if let Some(list) = archive.lists.get(name) {
            return Ok(Some((name, list.concat())));
        }
        if let Some(index) = archive.position(name) {
            return Ok(Some((name, archive.integers(index)?)));
        }
    }
    Ok(None)
}

fn ids_of(prompts: Vec<Vec<i128>>) -> Result<Vec<Vec<u32>>, ForeignProblem> {
    let id = |(position, found): (usize, i128)| {
        u32::try_from(found).map_err(|_| ForeignProblem::TokenId { position, found })
    };
    prompts.into_iter().map(|ids| ids.into_iter().enumerate().map(id).collect()).collect()
}
