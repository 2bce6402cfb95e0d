//! Columns that are not at the taps of their numbers: a batch or a list of prompts that was read as a stack of taps.

use std::collections::HashSet;

use inject_sipit::{
    FoundTap,
    models::{Model, Tap},
    states::foreign::{Axes, StatesFile},
};

use super::{
    super::Options,
    find::{find, until},
};
use crate::outcome::Failure;

/// Refuses columns that were found at one tap, or one at another tap than the shape says: they are those of several prompts, and one of them
/// would be taken for the only one. `lost` is the first column that was found at no tap.
pub(super) fn check_found(
    options: &Options,
    file: &StatesFile,
    found: &[(usize, Tap)],
    lost: Option<usize>,
) -> Result<(), Failure> {
    // Columns at different taps are those of one prompt, whatever the number says.
    let all: HashSet<Tap> = found.iter().map(|&(_, tap)| tap).collect();
    let differ = found.len() > 1 && all.len() == found.len();
    if file.are_taps_guessed()
        && !differ
        && let Some(names) = file.taps()
        && let Some(&(column, tap)) = found.iter().find(|&&(column, tap)| names[column] != tap)
    {
        return Err(not_a_stack(file, column, Some(tap)));
    }
    // Columns that hold the later tokens of one prompt.
    if let ([_], Some(column)) = (found, lost)
        && may_be_turned(file)
    {
        return Err(not_a_stack(file, column, None));
    }
    let twice =
        |&&(column, tap): &&(usize, Tap)| found.iter().any(|&(other, of)| of == tap && other < column);
    match found.iter().find(twice) {
        Some(&(_, tap)) if options.input.axes.is_none() => {
            let columns: Vec<String> =
                found.iter().filter(|(_, of)| *of == tap).map(|(column, _)| column.to_string()).collect();
            Err(Failure::new(format!(
                "the columns {} of {} all hold states of {tap}, so they are those of several prompts or tokens: give --axes batch-token if a \
                 tensor holds a batch, --axes tap-token or token-tap if its axes were read in another order, or --column I --tap {tap} for one \
                 of them",
                columns.join(", "),
                file.path().display()
            )))
        }
        _ => Ok(()),
    }
}

/// Refuses a batch that is as long as the list of all taps: where the shape or the length alone says that a tensor is a stack, or that a list
/// is one of layers, a column other than `tap` is compared with its name. Two are where the axes of taps and tokens may be the other way
/// round: then the first row of every column is at one tap, which is the name of at most one.
pub(super) fn check_guess(
    options: &Options,
    model: &Model,
    file: &mut StatesFile,
    tap: Tap,
) -> Result<(), Failure> {
    if !file.are_taps_guessed() {
        return Ok(());
    }
    let names = file.taps().unwrap_or_default().to_vec();
    let until = until(options)?;
    // The embeddings cost least.
    let others = (0..names.len()).filter(|&column| names[column] != tap);
    for column in others.take(if may_be_turned(file) { 2 } else { 1 }) {
        match find(options, model, file, column, until)? {
            FoundTap::At(found) if found != names[column] => {
                return Err(not_a_stack(file, column, Some(found)));
            }
            // As those of several prompts do whose weights were rounded.
            FoundTap::Nowhere(_) => return Err(not_a_stack(file, column, None)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the axes of taps and tokens may be the other way round. The first row of a column is then that of a later token, which has no
/// state of a first one where positions are learned.
fn may_be_turned(file: &StatesFile) -> bool {
    file.other_axes().iter().any(|axes| !matches!(axes, Axes::Token | Axes::BatchToken))
}

/// The failure of a stack whose column is not at the tap of its number.
fn not_a_stack(file: &StatesFile, column: usize, found: Option<Tap>) -> Failure {
    let name = file.taps().map(|names| names[column]);
    let found = match (found, name) {
        (Some(found), Some(name)) => format!("holds states of {found}, and not of {name}"),
        (None, Some(name)) => format!("holds no state of {name} of a token tested"),
        (_, None) => "holds no first state of a token tested".to_owned(),
    };
    Failure::new(format!(
        "{} was read as a stack or a list of {} taps, but column {column} {found}: most likely it holds as many prompts, or its axes are in \
         another order; give --axes batch-token for [prompt, token, d_model] or a list of prompts, --axes tap-token for [tap, token, d_model] or a list of layers, or --axes token-tap for [token, tap, d_model]",
        file.path().display(),
        file.columns()
    ))
}
