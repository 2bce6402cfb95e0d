//! The tap of a file of states: named by an option, by the file, or found from the states.

mod find;
mod named;
mod stack;

use inject_sipit::{
    FoundTap, InvertError, Settings,
    models::{Model, Tap},
    settings::TapCheck,
    states::foreign::{ColumnChoice, StatesFile},
};

pub(super) use self::named::tell;
use self::{
    find::{find, no_tap, time_up, until, where_nearest},
    named::named,
    stack::{check_found, check_guess},
};
use super::{Arrangement, Options, rows};
use crate::{outcome::Failure, output::note};

/// Whether neither an option nor the file names the tap.
pub(super) fn is_unknown(options: &Options, file: &StatesFile) -> bool {
    options.tap.is_auto() || (options.tap.named().is_none() && file.taps().is_none())
}

/// The settings for a file: its unit and its tap are doubted if nothing fits.
pub(super) fn doubting(options: &Options, model: &Model, settings: Settings) -> Settings {
    match options.input.states.is_some() {
        true => settings.with_tap_check(TapCheck::WhereNothingFits { begins: model.first_token() }),
        false => settings,
    }
}

/// The failure of an inversion, with the options to try. `column` is the one that was read, if the file has several.
pub(super) fn failure(error: InvertError, column: Option<usize>) -> Failure {
    match error {
        InvertError::OtherTap { likely, .. } => {
            let column = column.map_or_else(String::new, |column| format!("--column {column} "));
            Failure::new(format!("{error}; give {column}--tap {likely}"))
        }
        error => error.into(),
    }
}

/// Chooses the column and its tap.
pub(super) fn choose(
    options: &Options,
    model: &Model,
    file: &mut StatesFile,
) -> Result<(ColumnChoice, Tap), Failure> {
    if !is_unknown(options, file) {
        let chosen = named(options, file)?;
        if options.input.arrangement() == Arrangement::Known {
            check_guess(options, model, file, chosen.1)?;
        }
        return Ok(chosen);
    }
    let columns = match options.input.column {
        Some(column) => vec![column],
        None => (0..file.columns()).collect(),
    };
    let several = columns.len() > 1;
    let until = until(options)?;
    let (mut found, mut nowhere, mut lost) = (Vec::new(), String::new(), None);
    for column in columns {
        let name = if several { format!("column {column}: ") } else { String::new() };
        // A column that nobody wrote is no reason to leave out the others.
        if several && rows::is_zero(&file.column(ColumnChoice::Index(column))?.into_array()) {
            note(&format!("{name}none, because it holds nothing but zeros"));
            continue;
        }
        match find(options, model, file, column, until)? {
            FoundTap::At(tap) => {
                note(&format!("{name}{tap}, found from the first state"));
                found.push((column, tap));
            }
            FoundTap::Nowhere(nearest) => {
                lost = lost.or(Some(column));
                if several {
                    let nearest = nearest.map_or_else(String::new, where_nearest);
                    note(&format!("{name}none, because no token tested has its first state.{nearest}"));
                }
                nowhere = no_tap(options, file, nearest);
            }
            FoundTap::TimeUp(nearest) => {
                if several {
                    note(&format!("{name}not found before --max-seconds were over"));
                }
                nowhere = time_up(file, nearest);
            }
            _ => {}
        }
    }
    check_found(options, file, &found, lost)?;
    // The shallowest block costs least.
    found.sort_by_key(|&(column, tap)| (tap == Tap::Embedding, tap, column));
    match found.first() {
        Some(&(column, tap)) => Ok((ColumnChoice::Index(column), tap)),
        None if nowhere.is_empty() => Err(rows::nothing_but_zeros(file)),
        None => Err(Failure::new(nowhere)),
    }
}

/// The number of the chosen column, if the file has several.
pub(super) fn number_of(file: &StatesFile, choice: ColumnChoice) -> Option<usize> {
    match choice {
        ColumnChoice::Index(column) if file.columns() > 1 => Some(column),
        ColumnChoice::Tap(tap) if file.columns() > 1 => file.taps()?.iter().position(|named| *named == tap),
        _ => None,
    }
}
