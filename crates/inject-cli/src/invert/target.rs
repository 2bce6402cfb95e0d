//! The states of one prompt of a file, at their positions, after the tokens that are known.

use std::collections::HashSet;

use inject_sipit::{
    Inverter, TargetStates,
    models::{Model, Tap},
    ndarray::{Array2, ArrayView1},
    states::{
        foreign::{ColumnChoice, StatesFile},
        prompt_states,
    },
};

use super::{
    Options,
    beginning::Beginning,
    rows::{Rows, in_order},
};
use crate::{inverter, number::counted, outcome::Failure, output::note};

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
            tell_given(first, rows);
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

/// Rows that may be missing in a file: each takes memory.
const MOST_MISSING: usize = 1 << 16;

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

/// Says which tokens of the file have rows, the first of them after `first` tokens.
fn tell_given(first: usize, rows: usize) {
    note(&match first {
        0 => format!("the rows are those of the first {}", counted(rows, "token")),
        1 => "the rows are those of the tokens after the first, which is taken from the file as given"
            .to_owned(),
        _ => format!(
            "the rows are those of the tokens after the first {first}, which are taken from the file as given"
        ),
    });
}

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
