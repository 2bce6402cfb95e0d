//! One prompt: its states from a file, or computed from a text that is then forgotten.

use std::{collections::HashSet, path::Path, time::Instant};

use inject_sipit::{
    Inverter, TargetStates,
    models::{Model, Progress, Tap},
    ndarray::{Array2, ArrayView1, Axis},
    settings::ComputedIn,
    states::{
        foreign::{ColumnChoice, ModelShape, ReadOptions, StatesFile},
        prompt_states,
    },
};

use super::{
    Arrangement, Options, announce_scan,
    beginning::Beginning,
    calibrations,
    likely_cause::Describable,
    report::{Recovered, Report},
    rows::Rows,
    tap,
};
use crate::{
    inverter,
    number::counted,
    options::room,
    outcome::{Failure, Outcome, renamed},
    output::{note, say, say_json},
    progress::Meter,
};

const DEFAULT_PROMPT: &str = "On Monday, Ivan and his aunt Dora were in the garden.";

/// Recovers the prompt of a file of states, or without one that of states computed here.
pub(super) fn run(options: &Options, states: Option<&Path>) -> Result<Outcome, Failure> {
    let settings = options.policy.settings()?;
    let acceptance = settings.acceptance;
    let model = options.model.load()?;
    let settings = tap::doubting(options, &model, settings);
    let Given { target, prompt, rows, column } = given(options, &model, states)?;
    let tap = target.tap();
    let choice = options.policy.choose(&model, tap, target.positions())?;
    let inverter = inverter::prepared(&model.decoder, tap, settings)?;
    calibrations::read(options, &model, &inverter)?;
    announce_scan(&inverter, target.positions());
    let mut meter = Meter::new();
    let start = Instant::now();
    let mut show = |progress: Progress<'_>| meter.show(progress);
    let mut searcher = inverter.searcher(&choice.policy);
    let (inversion, order) = match options.input.arrangement() {
        Arrangement::Known => (
            inverter
                .invert(&target, &mut searcher, &mut show)
                .map_err(|error| tap::failure(error, column))?,
            None,
        ),
        Arrangement::Shuffled => {
            let found = inverter.invert_shuffled(&target, model.first_token(), &mut show)?;
            (found.inversion, Some(found.order))
        }
        Arrangement::Permuted => {
            let begins = model.first_token();
            (inverter.invert_permuted(&target, begins, &mut searcher, &mut show)?, None)
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    drop(meter);
    calibrations::write(options, &model, &inverter)?;

    let recovered = Recovered::new(&model, &inversion, prompt.as_deref(), Some(seconds))?.with_likely_cause(
        inverter.settings(),
        tap,
        &rows,
        target.missing(),
    );
    let recovered = Recovered { order, ..recovered };
    let outcome = recovered.outcome();
    let report = Report::new(&model, &choice, acceptance, tap, recovered, seconds)?;
    match options.json {
        true => say_json(&serde_json::to_string(&report)?),
        false => say(&report.text(&model)),
    }
    Ok(outcome)
}

/// The states to invert, with what is known of them.
struct Given {
    target: TargetStates,
    /// The prompt if it is known: only to compare with at the end.
    prompt: Option<Vec<u32>>,
    /// What an option can say of the rows.
    rows: Describable,
    /// The column, if the file has several.
    column: Option<usize>,
}

fn given(options: &Options, model: &Model, states: Option<&Path>) -> Result<Given, Failure> {
    let input = &options.input;
    if let Some(path) = states {
        return from_file(options, model, path);
    }
    let prompt = match (&input.ids, &input.text) {
        (Some(ids), _) => ids.0.clone(),
        (None, Some(text)) => model.tokenizer()?.encode(text, input.bos)?,
        (None, None) => model.tokenizer()?.encode(DEFAULT_PROMPT, input.bos)?,
    };
    options.policy.check_longest(&model.decoder, [prompt.len()])?;
    let tap = options.tap.or_middle(model)?;
    let target = TargetStates::of_prompt(&model.decoder, tap, &prompt)?;
    Ok(Given { target, prompt: Some(prompt), rows: Describable::Not, column: None })
}

fn from_file(options: &Options, model: &Model, path: &Path) -> Result<Given, Failure> {
    let mut file = open(options, model, path)?;
    if file.prompts() > 1 && options.input.row.is_none() {
        let (path, prompts) = (path.display(), file.prompts());
        return Err(Failure::usage(format!(
            "{path} holds {prompts} prompts: give --row I for one of them, or --out FILE for all"
        )));
    }
    if tap::is_unknown(options, &file) && options.input.arrangement() != Arrangement::Known {
        return Err(Failure::usage(
            "the tap is not found from rows or coordinates in unknown order: give --tap, such as --tap block-3",
        ));
    }
    let chosen = tap::choose(options, model, &mut file)?;
    let (target, prompt) = target_of(options, model, &mut file, chosen, None)?;
    tell(&file);
    let rows = match options.input.arrangement() {
        Arrangement::Known => {
            Describable::of(&target, file.positions().is_some(), tap::is_unknown(options, &file))
        }
        Arrangement::Shuffled => Describable::Shuffled,
        Arrangement::Permuted => {
            let format_named = options.policy.settings()?.computed_in != ComputedIn::Auto;
            Describable::Permuted { format_named }
        }
    };
    Ok(Given { target, prompt, rows, column: tap::number_of(&file, chosen.0) })
}

/// The states of the chosen prompt and column of a file, and its tokens if the file holds them. `inverter` is that of many prompts, if there
/// are several.
pub(super) fn target_of(
    options: &Options,
    model: &Model,
    file: &mut StatesFile,
    chosen: (ColumnChoice, Tap),
    inverter: Option<&Inverter<'_>>,
) -> Result<(TargetStates, Option<Vec<u32>>), Failure> {
    let (column, tap) = chosen;
    let tap = tap.checked(model.decoder.config().n_layers())?;
    let rows = Rows::read(file, column, Some(tap), &options.input)?;
    rows.tell(file);
    let (first, mut ids) = (rows.first(), rows.ids(file));
    let Rows { states, positions, .. } = rows;
    // Where the first rows are missing, the position of the first one says how many tokens come before it.
    let known = first.map_or(Ok(None), |first| options.input.given_before(model, first))?;
    let (named, template) = match known {
        Some(_) => (None, None),
        None => (options.input.given(model)?, options.input.templated(model)?),
    };
    let known = match (known, &positions, &mut ids) {
        (None, Some(positions), Some(ids)) if named.is_none() && template.is_none() => {
            before_first(positions, ids)
        }
        (known, ..) => known,
    };
    let before = known.as_ref().or(named.as_ref().map(|named| &named.ids)).map_or(0, Vec::len);
    let (states, missing) = match positions {
        Some(_) if options.input.missing.is_some() => {
            let path = file.path().display();
            return Err(Failure::usage(format!(
                "--missing needs a file that does not number its rows: {path} says which positions they have"
            )));
        }
        Some(positions) => placed(states, &positions, before)?,
        None => (states, options.input.missing()),
    };
    let rows = states.nrows() + missing.len();
    options.policy.check_longest(&model.decoder, [rows.max(ids.as_ref().map_or(0, Vec::len)) + before])?;
    let target = |states: Array2<f64>| -> Result<_, Failure> {
        Ok(TargetStates::new(states, tap, file.dtype())?.with_missing(&missing)?)
    };
    let inverter = || match inverter {
        Some(inverter) => Ok::<_, Failure>(inverter.clone()),
        None => Ok(inverter::prepared(&model.decoder, tap, options.policy.settings()?)?),
    };
    if let Some(named) = &named {
        let target = target(states)?;
        let given = named.before(&target, inverter)?;
        if given.len() < named.ids.len() {
            named.tell(given.len(), "--prefix");
        }
        return Ok((target.after(&model.decoder, given)?, ids));
    }
    let (given, ids) = match (known, ids) {
        (Some(given), ids) => (given, ids),
        (None, Some(mut ids)) if file.positions().is_some() && !missing.is_empty() => {
            ids.truncate(rows);
            (Vec::new(), Some(ids))
        }
        (None, Some(ids)) if ids.len() > rows && states.ncols() == model.decoder.config().d_model => {
            let unseen = (0..rows).take_while(|at| missing.contains(at)).count();
            let first = first_with_states(model, tap, states.row(0), &ids[unseen..], ids.len() - rows)?;
            note(&match first {
                0 => format!("the rows are those of the first {}", counted(rows, "token")),
                1 => {
                    "the rows are those of the tokens after the first, which is taken from the file as given"
                        .to_owned()
                }
                _ => format!(
                    "the rows are those of the tokens after the first {first}, which are taken from the file as given"
                ),
            });
            (ids[..first].to_vec(), Some(ids[..first + rows].to_vec()))
        }
        (None, ids) => (Vec::new(), ids),
    };
    let target = target(states)?;
    let target = match template {
        Some(template) => after_template(model, target, &template, ids.as_deref(), inverter)?,
        None => target.after(&model.decoder, &given)?,
    };
    Ok((target, ids))
}

/// Reads a column, which must not be zeros alone: those fit no token of any model.
pub(super) fn column_of(file: &mut StatesFile, choice: ColumnChoice) -> Result<Array2<f64>, Failure> {
    let states = file.column(choice)?.into_array();
    if is_zero(&states) { Err(nothing_but_zeros(file)) } else { Ok(states) }
}

/// Whether states are zeros alone.
pub(super) fn is_zero(states: &Array2<f64>) -> bool {
    states.iter().all(|&value| value == 0.0)
}

/// The failure of states that are zeros alone.
pub(super) fn nothing_but_zeros(file: &StatesFile) -> Failure {
    Failure::new(format!(
        "{} holds nothing but zeros: the states were not written into it",
        file.path().display()
    ))
}

/// Puts rows in the order of their positions, and returns the positions that are missing. Positions may count from the first token of the
/// prompt or from the first after the given ones.
fn placed(
    states: Array2<f64>,
    positions: &[usize],
    given: usize,
) -> Result<(Array2<f64>, Vec<usize>), Failure> {
    let least = positions.iter().min().copied().unwrap_or(0);
    let begin = if least >= given { given } else { 0 };
    let last = positions.iter().max().map_or(0, |last| last + 1 - begin);
    let most = MOST_MISSING.saturating_add(positions.len());
    if last > most {
        return Err(Failure::new(format!(
            "the last of {} rows has position {last}: too many are missing",
            positions.len()
        )));
    }
    let there: HashSet<usize> = positions.iter().copied().collect();
    let missing: Vec<usize> = (0..last).filter(|at| !there.contains(&(at + begin))).collect();
    note(&format!(
        "{} of states at positions from {least}: {} missing",
        counted(positions.len(), "row"),
        missing.len()
    ));
    Ok((in_order(states, positions), missing))
}

/// Puts rows in the order of their positions.
pub(super) fn in_order(states: Array2<f64>, positions: &[usize]) -> Array2<f64> {
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by_key(|&row| positions[row]);
    states.select(Axis(0), &order)
}

/// The ids of the tokens before the first row, if the file has the ids of the whole prompt. Those after the last row are dropped.
fn before_first(positions: &[usize], ids: &mut Vec<u32>) -> Option<Vec<u32>> {
    let (first, last) = (*positions.iter().min()?, *positions.iter().max()?);
    if first == 0 || last >= ids.len() {
        return None;
    }
    ids.truncate(last + 1);
    let before = ids[..first].to_vec();
    note(&format!("taken from the file as given: {} before the first row", counted(first, "token")));
    Some(before)
}

/// Rows that may be missing in a file: each takes memory.
const MOST_MISSING: usize = 1 << 16;

/// States after the tokens of a template. The rows of these tokens may be among them: then the first row is the state of the first token.
fn after_template<'a>(
    model: &Model,
    target: TargetStates,
    template: &Beginning,
    ids: Option<&[u32]>,
    inverter: impl FnOnce() -> Result<Inverter<'a>, Failure>,
) -> Result<TargetStates, Failure> {
    let Some(&first) = template.ids.first() else { return Ok(target) };
    let whole = match ids {
        Some(ids) => ids.len() <= target.positions(),
        None => {
            let state = prompt_states(&model.decoder, &[first], target.tap())?.to_f64();
            let (own, row) = (state.row(0), target.state(0));
            let away: f64 = own.iter().zip(row).map(|(a, b)| (a - b) * (a - b)).sum();
            away < SAME_STATE * SAME_STATE * row.iter().map(|value| value * value).sum::<f64>()
        }
    };
    let given = if whole { template.settled() } else { template.before(&target, inverter)? };
    template.tell(given.len(), "the template");
    Ok(if whole { target.beginning_with(given)? } else { target.after(&model.decoder, given)? })
}

/// The distance between two computations of one state, as a share of its norm, is less than this, and that between the states of two
/// tokens is not. Not compared with other values.
const SAME_STATE: f64 = 0.3;

/// Returns the token whose state the first row is, if some at the beginning or the end have none: the one whose state is nearest.
fn first_with_states(
    model: &Model,
    tap: Tap,
    row: ArrayView1<'_, f64>,
    ids: &[u32],
    missing: usize,
) -> Result<usize, Failure> {
    let states = prompt_states(&model.decoder, ids, tap)?.to_f64();
    let away = |at: usize| states.row(at).iter().zip(row).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let nearest = (0..=missing).min_by(|&a, &b| away(a).total_cmp(&away(b)));
    Ok(nearest.unwrap_or(0))
}

/// Opens a file of states of this model.
pub(super) fn open(options: &Options, model: &Model, path: &Path) -> Result<StatesFile, Failure> {
    let input = &options.input;
    let mut read = ReadOptions::new().model(ModelShape::of(model.decoder.config()));
    if let Some(tensor) = &input.tensor {
        read = read.tensor(tensor);
    }
    if let Some(axes) = input.axes {
        read = read.axes(axes);
    }
    if let Some(row) = input.row {
        read = read.row(row);
    }
    if input.ignore_mask {
        read = read.ignore_mask();
    }
    if options.tap.is_auto() || options.tap.named().is_some() {
        read = read.tap_is_known();
    }
    if let Some(bytes) = room::for_unpacking(options.policy.memory) {
        read = read.most_unpacked(bytes);
    }
    StatesFile::open_with(path, &read).map_err(|error| Failure::from(error).rephrased(&RENAMED))
}

/// The arguments of the reader, and the options of the program.
const RENAMED: [(&str, &str); 5] = [
    ("by `tensor`", "by --tensor"),
    ("by `axes`", "by --axes"),
    ("by `row`", "by --row"),
    ("by `ignore_mask`", "by --ignore-mask"),
    ("`tap_is_known` says that the caller knows or finds it", "give --tap TAP, or --tap auto to find it"),
];

/// Says how the file was read, where that was not the only way, and which tokens have no states.
fn tell(file: &StatesFile) {
    if let Some(taken) = file.taken() {
        note(&renamed(&format!("{}: {taken}", file.path().display()), &RENAMED));
    }
    if let Some(ids) = file.token_ids().map(<[u32]>::len).filter(|&ids| ids < file.rows()) {
        note(&format!(
            "{} for {} of states: those of the prompt, and what follows is of a generation",
            counted(ids, "token id"),
            counted(file.rows(), "row")
        ));
    }
    if let Some(missing) =
        file.token_ids().and_then(|ids| ids.len().checked_sub(file.rows())).filter(|&missing| missing > 0)
    {
        note(&format!(
            "{} of states for {}: {missing} without one",
            counted(file.rows(), "row"),
            counted(file.rows() + missing, "token id")
        ));
    }
}
