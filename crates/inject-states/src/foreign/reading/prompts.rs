//! The rows, token ids and positions of each prompt of a file.

use std::ops::Range;

use super::Column;
use crate::foreign::{ForeignProblem, ReadOptions, beside::Beside};

/// Positions beyond this are a mistake: no prompt is so long.
const MOST_POSITIONS: usize = 1 << 24;

/// The rows of one prompt.
#[derive(Clone, Debug)]
pub(in super::super) struct Prompt {
    pub(in super::super) batch: usize,
    pub(in super::super) rows: Range<usize>,
    pub(in super::super) token_ids: Option<Vec<u32>>,
    /// Whether rows of a generation follow those of the prompt. The ids may be those of the prompt alone.
    pub(in super::super) generated: bool,
    /// The position of each row, if they are not simply consecutive.
    pub(in super::super) positions: Option<Vec<usize>>,
}

/// Returns the rows of each prompt. `may_be_prompts` says whether the columns would be prompts if the caller said so.
pub(super) fn of(
    columns: &[Column],
    may_be_prompts: bool,
    beside: &Beside,
    options: &ReadOptions,
) -> Result<Vec<Prompt>, ForeignProblem> {
    let Some(first) = columns.first() else { return Ok(Vec::new()) };
    let length = |column: &Column| column.pieces.iter().map(|piece| piece.rows.length).sum::<usize>();
    let (prompts, rows) = (first.pieces[0].batch.length, length(first));
    if let Some(other) = columns.iter().find(|column| length(column) != rows) {
        return Err(unequal_rows(other, length(other), rows, may_be_prompts));
    }
    let all = |column: &Column| column.pieces[0].batch.length * rows;
    if let Some(other) = columns.iter().find(|column| all(column) != all(first)) {
        return Err(unequal_rows(other, all(other), all(first), may_be_prompts));
    }
    // Ids, mask and lengths may be those of the prompt alone, before the steps of a generation.
    let in_prompt = first.pieces[0].rows.length;
    let width = beside.masked.unwrap_or(rows);
    if first.pieces.len() > 1 && ![in_prompt, rows].contains(&width) {
        return Err(ForeignProblem::MaskOfSteps { found: width, in_prompt, rows });
    }
    (0..prompts).map(|batch| prompt(batch, in_prompt, rows, width, beside, options)).collect()
}

/// Returns the rows of each prompt of a list. They follow each other.
pub(super) fn of_list(
    columns: &[Column],
    beside: &Beside,
    options: &ReadOptions,
) -> Result<Vec<Prompt>, ForeignProblem> {
    let Some(first) = columns.first() else { return Ok(Vec::new()) };
    let lengths =
        |column: &Column| -> Vec<usize> { column.pieces.iter().map(|piece| piece.rows.length).collect() };
    if let Some(other) = columns.iter().find(|column| lengths(column) != lengths(first)) {
        let [found, expected] = [other, first].map(|column| lengths(column).iter().sum());
        return Err(unequal_rows(other, found, expected, false));
    }
    let mut begin = 0;
    let prompts = first.pieces.iter().enumerate().map(|(index, piece)| {
        let own = prompt(index, piece.rows.length, piece.rows.length, piece.rows.length, beside, options)?;
        let rows = begin + own.rows.start..begin + own.rows.end;
        begin += piece.rows.length;
        Ok(Prompt { batch: 0, rows, ..own })
    });
    prompts.collect()
}

fn unequal_rows(other: &Column, found: usize, expected: usize, may_be_prompts: bool) -> ForeignProblem {
    ForeignProblem::UnequalRows { tensor: other.origin.clone(), found, expected, may_be_prompts }
}

/// Returns the rows of one prompt of a batch. `rows` of them are there, and `in_prompt` of those before the steps of a generation. `width` is
/// that of its mask and of padded ids.
fn prompt(
    batch: usize,
    in_prompt: usize,
    rows: usize,
    width: usize,
    beside: &Beside,
    options: &ReadOptions,
) -> Result<Prompt, ForeignProblem> {
    let own = beside.rows.as_ref().and_then(|spans| spans.get(batch)).cloned();
    let span = match own {
        Some(span) if rows > in_prompt && span.end <= in_prompt && beside.masked != Some(rows) => {
            if span.end < in_prompt {
                return Err(ForeignProblem::PaddedBeforeSteps { prompt: batch });
            }
            span.start..rows
        }
        Some(span) => span,
        None => 0..rows,
    };
    if span.end > rows {
        return Err(ForeignProblem::PromptTooLong { prompt: batch, found: span.end, rows });
    }
    if span.start > 0 && options.model.is_some_and(|model| model.learned_positions) {
        return Err(ForeignProblem::LeftPadding { prompt: batch, rows: span.start });
    }
    let ids = beside.ids.as_ref().and_then(|ids| ids.get(batch)).map(|ids| {
        let padded =
            beside.rows.is_some() && (ids.len() == width || span.start > 0 && ids.len() > span.len());
        if padded { ids[span.start.min(ids.len())..span.end.min(ids.len())].to_vec() } else { ids.clone() }
    });
    let generated = rows > in_prompt && ids.as_ref().is_some_and(|ids| ids.len() + span.start == in_prompt);
    let positions = beside.positions.as_ref().and_then(|positions| positions.get(batch));
    let positions = positions.map(|positions| positions_of(positions, rows, &span)).transpose()?.flatten();
    Ok(Prompt { batch, rows: span, token_ids: ids, generated, positions })
}

/// Returns the positions of some rows, unless they are consecutive from 0.
fn positions_of(
    found: &[i128],
    rows: usize,
    span: &Range<usize>,
) -> Result<Option<Vec<usize>>, ForeignProblem> {
    let wrong = || ForeignProblem::Positions { found: found.to_vec(), rows };
    let own = found.get(span.clone()).filter(|_| found.len() == rows).ok_or_else(wrong)?;
    let positions: Vec<usize> =
        own.iter().map(|&at| usize::try_from(at)).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let mut once = std::collections::HashSet::new();
    if !positions.iter().all(|&at| at < MOST_POSITIONS && once.insert(at)) {
        return Err(wrong());
    }
    Ok((!positions.iter().copied().eq(0..positions.len())).then_some(positions))
}
