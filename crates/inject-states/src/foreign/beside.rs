//! Tensors beside the states: token ids, and the lengths of prompts in a padded batch.

use std::ops::Range;

use super::{
    ForeignProblem,
    arrays::{Archive, Elements},
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
}

impl Beside {
    pub(super) fn read(archive: &mut Archive, sidecar: Option<&Sidecar>) -> Result<Self, ForeignProblem> {
        let ids = IDS.iter().find_map(|&name| archive.position(name));
        let ids = ids.map(|index| read_ids(archive, index)).transpose()?;
        let mut beside = Beside { ids, ..Beside::default() };
        if let Some(index) = archive.position(POSITIONS) {
            let (_, width) = by_prompt(archive, index)?;
            let positions = archive.integers(index)?;
            beside.positions = Some(positions.chunks(width.max(1)).map(<[i128]>::to_vec).collect());
        }
        if let Some(index) = archive.position(MASK) {
            let (prompts, width) = by_prompt(archive, index)?;
            let rows = archive.integers(index)?;
            let spans = (0..prompts).map(|prompt| attended(prompt, &rows[prompt * width..][..width]));
            beside.rows = Some(spans.collect::<Result<_, _>>()?);
            beside.masked = Some(width);
        } else if let Some(index) = LENGTHS.iter().find_map(|&name| archive.position(name)) {
            let name = archive.arrays[index].name.clone();
            let lengths = archive.integers(index)?.into_iter().map(|found| {
                usize::try_from(found)
                    .map_err(|_| ForeignProblem::PromptLength { tensor: name.clone(), found })
            });
            beside.rows = Some(lengths.map(|length| Ok(0..length?)).collect::<Result<_, ForeignProblem>>()?);
        } else if let Some(sidecar) = sidecar {
            beside.rows = Some(sidecar.seq_lens.iter().map(|&length| 0..length).collect());
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

/// Returns the number of prompts and of columns of an array with an axis for each, or one for the tokens of a single prompt.
fn by_prompt(archive: &Archive, index: usize) -> Result<(usize, usize), ForeignProblem> {
    let array = &archive.arrays[index];
    match array.shape()[..] {
        [tokens] => Ok((1, tokens)),
        [prompts, tokens] => Ok((prompts, tokens)),
        _ => Err(ForeignProblem::TokenIdsShape { tensor: array.name.clone(), shape: array.shape() }),
    }
}

fn read_ids(archive: &mut Archive, index: usize) -> Result<Vec<Vec<u32>>, ForeignProblem> {
    let (_, width) = by_prompt(archive, index)?;
    if archive.arrays[index].elements == Elements::Truth {
        return Err(archive.arrays[index].unknown_dtype("an integer"));
    }
    let ids = archive.integers(index)?.into_iter().enumerate().map(|(at, found)| {
        u32::try_from(found).map_err(|_| ForeignProblem::TokenId { position: at % width.max(1), found })
    });
    let ids = ids.collect::<Result<Vec<u32>, _>>()?;
    Ok(ids.chunks(width.max(1)).map(<[u32]>::to_vec).collect())
}

/// Returns the positions that a row of a mask attends to, which must be neighbours.
fn attended(prompt: usize, mask: &[i128]) -> Result<Range<usize>, ForeignProblem> {
    let start = mask.iter().take_while(|&&value| value == 0).count();
    let length = mask[start..].iter().take_while(|&&value| value == 1).count();
    if length == 0 || mask[start + length..].iter().any(|&value| value != 0) {
        return Err(ForeignProblem::Mask { prompt });
    }
    Ok(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ones_of_a_mask_are_one_span() {
        assert_eq!(attended(0, &[1, 1, 0]).unwrap(), 0..2);
        assert_eq!(attended(0, &[0, 1, 1]).unwrap(), 1..3);
        for mask in [&[0, 0][..], &[1, 0, 1], &[1, 2], &[]] {
            assert!(matches!(attended(7, mask), Err(ForeignProblem::Mask { prompt: 7 })), "{mask:?}");
        }
    }
}
