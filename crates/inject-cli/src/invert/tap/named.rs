//! The tap and the column that an option or the file names.

use inject_sipit::{
    models::Tap,
    states::foreign::{ColumnChoice, StatesFile},
};

use super::super::{Options, rows};
use crate::{outcome::Failure, output::note};

/// Chooses the column and its tap by their names.
pub(super) fn named(options: &Options, file: &mut StatesFile) -> Result<(ColumnChoice, Tap), Failure> {
    if options.input.column.is_none()
        && options.tap.named().is_none()
        && file.taps().is_some_and(|taps| taps.len() > 1)
    {
        return shallowest(file);
    }
    let (path, named) = (file.path().display(), file.taps());
    if file.columns() > 1 && named.is_none() && options.input.column.is_none() {
        let origins: Vec<String> =
            file.origins().into_iter().enumerate().map(|(at, origin)| format!("{at}: {origin}")).collect();
        return Err(Failure::usage(format!(
            "{path} holds {} taps without naming them ({}): give {}, or --tap auto",
            file.columns(),
            origins.join("; "),
            options
                .tap
                .named()
                .map_or("--column and --tap".to_owned(), |tap| format!("--column beside --tap {tap}"))
        )));
    }
    match (options.input.column, options.tap.named(), named) {
        (Some(column), Some(tap), _) => Ok((ColumnChoice::Index(column), tap)),
        // The option decides where the name in the file is wrong.
        (None, Some(tap), Some([_])) => Ok((ColumnChoice::Only, tap)),
        (None, Some(tap), Some(taps @ [_, ..])) if !taps.contains(&tap) => {
            let taps = listed(taps);
            Err(Failure::usage(format!(
                "{path} holds the taps {taps}, and not {tap}: if one of them is {tap} under another name, give its number from 0 with --column \
                 beside --tap {tap}"
            )))
        }
        (None, Some(tap), Some([_, ..])) => Ok((ColumnChoice::Tap(tap), tap)),
        (None, Some(tap), None) => Ok((ColumnChoice::Only, tap)),
        (None, None, Some([tap])) => Ok((ColumnChoice::Only, *tap)),
        (Some(column), None, Some(taps)) if column < taps.len() => {
            Ok((ColumnChoice::Index(column), taps[column]))
        }
        (Some(column), None, Some(taps)) => {
            Err(Failure::usage(format!("no column {column}: {path} has {}, counted from 0", taps.len())))
        }
        (None, Some(tap), Some([])) => Ok((ColumnChoice::Only, tap)),
        (_, None, _) => Err(Failure::usage(format!("{path} does not say which tap it holds: give --tap"))),
    }
}

/// The column of the shallowest block, which costs least. The embeddings come last, and a column that nobody wrote does not count.
fn shallowest(file: &mut StatesFile) -> Result<(ColumnChoice, Tap), Failure> {
    let mut columns: Vec<(usize, Tap)> =
        file.taps().unwrap_or_default().iter().copied().enumerate().collect();
    columns.sort_by_key(|&(column, tap)| (tap == Tap::Embedding, tap, column));
    for (column, tap) in columns {
        let choice = ColumnChoice::Index(column);
        if !rows::is_zero(&file.column(choice)?.into_array()) {
            return Ok((choice, tap));
        }
    }
    Err(rows::nothing_but_zeros(file))
}

/// Says which of several named taps was taken, and which name of the file an option overrides.
pub(in super::super) fn tell(options: &Options, file: &StatesFile, tap: Tap) {
    let Some(taps) = file.taps().filter(|_| !options.tap.is_auto()) else { return };
    let path = file.path().display();
    match (options.input.column, options.tap.named(), taps) {
        (None, None, [_, _, ..]) => note(&format!(
            "{path} holds the taps {}: {tap} is read, the shallowest block, which costs least; --tap names another",
            listed(taps)
        )),
        (None, Some(_), &[other]) if other != tap => note(&format!(
            "{path} calls its tap {other}, and it is read as {tap}, as --tap says; without --tap it is read as {other}"
        )),
        _ => {}
    }
}

/// Taps in words, with runs of blocks as ranges.
fn listed(taps: &[Tap]) -> String {
    let follows = |a: &Tap, b: &Tap| matches!((a, b), (Tap::Block(a), Tap::Block(b)) if a + 1 == *b);
    let runs = taps.chunk_by(follows).map(|run| match run {
        [first, _, .., last] => format!("{first} to {last}"),
        _ => run.iter().map(Tap::to_string).collect::<Vec<_>>().join(", "),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_blocks_are_listed_as_ranges() {
        let blocks = |numbers: &[usize]| numbers.iter().copied().map(Tap::Block).collect::<Vec<_>>();
        assert_eq!(listed(&blocks(&[1, 2, 7])), "block-1, block-2, block-7");
        let all = [vec![Tap::Embedding], blocks(&[1, 2, 3]), vec![Tap::FinalNorm]].concat();
        assert_eq!(listed(&all), "embedding, block-1 to block-3, final-norm");
    }
}
