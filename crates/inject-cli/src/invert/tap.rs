//! The tap of a file of states: named by an option, by the file, or found from the states.

use std::{collections::HashSet, num::NonZeroUsize, time::Instant};

use inject_sipit::{
    FoundTap, InvertError, NearMiss, Settings, TapSearch, find_tap,
    models::{Logits, Model, Progress, Tap, TokenBatch, host::to_host},
    settings::TapCheck,
    states::foreign::{Axes, ColumnChoice, StatesFile},
};

use super::{
    Arrangement, Options,
    rows::{self, Rows},
};
use crate::{interrupt, number::measured, outcome::Failure, output::note, progress::Meter};

/// Taps that are tried before the program gives up. Not compared with other values.
const TRIED: NonZeroUsize = NonZeroUsize::new(6).unwrap();

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

/// The nearest token, and how near it is.
fn where_nearest(NearMiss { tap, distance, floor, share, .. }: NearMiss) -> String {
    let [distance, share, times] = [distance, share, distance / floor].map(measured);
    format!(
        " The nearest lies {distance} away at {tap}: {share} of the state's length, and {times} times the noise floor."
    )
}

/// The time at which the search for the taps of a file ends.
fn until(options: &Options) -> Result<Option<Instant>, Failure> {
    let time = options.policy.settings()?.budget.time;
    Ok(time.and_then(|time| Instant::now().checked_add(time)))
}

/// The words for a search that its time ended.
fn time_up(file: &StatesFile, nearest: Option<NearMiss>) -> String {
    format!(
        "the tap of {} was not found before --max-seconds were over: give --tap, or more seconds.{}",
        file.path().display(),
        nearest.map_or_else(String::new, where_nearest)
    )
}

/// The words for a first state that no token tested has, and its likeliest causes.
fn no_tap(options: &Options, file: &StatesFile, nearest: Option<NearMiss>) -> String {
    let prefix = match options.input.prefix.is_some() || options.input.prefix_ids.is_some() {
        true => "or have rows for the tokens of the prefix too: then leave it out",
        false => "then give --prefix-ids or --prefix",
    };
    let seen = format!(
        "no token tested has the first state of {} at any likely tap.{}",
        file.path().display(),
        nearest.map_or_else(String::new, where_nearest)
    );
    match nearest.filter(NearMiss::is_of_other_weights) {
        Some(NearMiss { tap, .. }) => format!(
            "{seen} States of another model are about as far away as they are long. So most likely these are those of other weights of this model, \
             such as fine-tuned or rounded ones (try --tap {tap}, where the nearest state is: it also tries rounded weights), or they \
             do not begin with the first token ({prefix})"
        ),
        None => format!(
            "{seen} Most likely the states are those of another model, do not begin with the first token ({prefix}), or are those of the last \
             token of each prompt alone, which determine no prompt"
        ),
    }
}

/// Refuses columns that were found at one tap, or one at another tap than the shape says: they are those of several prompts, and one of them
/// would be taken for the only one. `lost` is the first column that was found at no tap.
fn check_found(
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
fn check_guess(options: &Options, model: &Model, file: &mut StatesFile, tap: Tap) -> Result<(), Failure> {
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

/// Finds the tap of one column before the time `until`.
fn find(
    options: &Options,
    model: &Model,
    file: &mut StatesFile,
    column: usize,
    until: Option<Instant>,
) -> Result<FoundTap, Failure> {
    let rows = Rows::read(file, ColumnChoice::Index(column), None, &options.input)?;
    let (first, ids) = (rows.first(), rows.ids(file));
    let states = match &rows.positions {
        Some(positions) => rows::in_order(rows.states, positions),
        None => rows.states,
    };
    // The rows of a template may be there or not; its first token shows the tap where they are.
    let given: Option<Vec<Vec<u32>>> = match first {
        Some(first) => options.input.given_before(model, first)?.map(|given| vec![given]),
        None => options.input.given(model)?.map(|given| given.possible().map(<[u32]>::to_vec).collect()),
    };
    if let (None, Some(ids)) = (&given, ids)
        && ids.len() > states.nrows()
    {
        let first: Vec<f64> = states.row(0).to_vec();
        return Ok(FoundTap::At(nearest_of(model, &ids, &first)?));
    }
    let (begins, settings) = (model.first_token(), options.policy.settings()?);
    let mut meter = Meter::new();
    if file.columns() > 1 {
        meter.about(format!("column {column} of {}", file.columns()));
    }
    let mut show = |progress: Progress<'_>| meter.show(progress);
    // A measurement of noise takes seconds without a report, and there is no file to close.
    let mut nowhere = FoundTap::Nowhere(None);
    for given in given.unwrap_or_else(|| vec![Vec::new()]) {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let settings = settings.clone().with_budget(settings.budget.with_time(left));
        let search = TapSearch::new(&settings, TRIED).after(&given).beginning_with(begins);
        nowhere =
            interrupt::at_once(|| find_tap(&model.decoder, states.view(), file.dtype(), &search, &mut show))?;
        if matches!(nowhere, FoundTap::At(_)) {
            break;
        }
    }
    Ok(nowhere)
}

/// The tap at which some token of known ids has a state nearest to this one, relative to its length.
fn nearest_of(model: &Model, ids: &[u32], state: &[f64]) -> Result<Tap, Failure> {
    let taps = Tap::all(model.decoder.config().n_layers());
    let forward = model.decoder.forward(&TokenBatch::new(&[ids])?, &taps, Logits::None)?;
    let mut best: Option<(f64, Tap)> = None;
    for tap in taps {
        let computed: Vec<f64> = to_host(forward.states[&tap].clone())?;
        for row in computed.chunks(state.len()) {
            let (away, length) = row
                .iter()
                .zip(state)
                .fold((0.0, 0.0), |(away, length), (a, b)| (away + (a - b) * (a - b), length + a * a));
            let share = away / length;
            if best.is_none_or(|(least, _)| share < least) {
                best = Some((share, tap));
            }
        }
    }
    best.map(|(_, tap)| tap).ok_or_else(|| Failure::new("there is no token id: expected at least one"))
}

/// The number of the chosen column, if the file has several.
pub(super) fn number_of(file: &StatesFile, choice: ColumnChoice) -> Option<usize> {
    match choice {
        ColumnChoice::Index(column) if file.columns() > 1 => Some(column),
        ColumnChoice::Tap(tap) if file.columns() > 1 => file.taps()?.iter().position(|named| *named == tap),
        _ => None,
    }
}

/// Chooses the column and its tap by their names.
fn named(options: &Options, file: &StatesFile) -> Result<(ColumnChoice, Tap), Failure> {
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
            let taps: Vec<String> = taps.iter().map(Tap::to_string).collect();
            Err(Failure::usage(format!(
                "{path} holds the taps {}, and not {tap}: if one of them is {tap} under another name, give its number from 0 with --column \
                 beside --tap {tap}",
                taps.join(", ")
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
        (None, None, Some(taps)) => {
            let taps: Vec<String> = taps.iter().map(Tap::to_string).collect();
            Err(Failure::usage(format!("{path} holds the taps {}: give --tap", taps.join(", "))))
        }
        (None, Some(tap), Some([])) => Ok((ColumnChoice::Only, tap)),
        (_, None, None) => Err(Failure::usage(format!("{path} does not say which tap it holds: give --tap"))),
    }
}
