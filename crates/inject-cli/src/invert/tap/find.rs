//! The search for the tap of one column of a file, and the words for its end.

use std::{num::NonZeroUsize, time::Instant};

use inject_sipit::{
    FoundTap, NearMiss, TapSearch, find_tap,
    models::{Logits, Model, Progress, Tap, TokenBatch, host::to_host},
    states::foreign::{ColumnChoice, StatesFile},
};

use super::super::{
    Options,
    rows::{self, Rows},
};
use crate::{interrupt, number::measured, outcome::Failure, progress::Meter};

/// Taps that are tried before the program gives up. Not compared with other values.
const TRIED: NonZeroUsize = NonZeroUsize::new(6).unwrap();

/// The time at which the search for the taps of a file ends.
pub(super) fn until(options: &Options) -> Result<Option<Instant>, Failure> {
    let time = options.policy.settings()?.budget.time;
    Ok(time.and_then(|time| Instant::now().checked_add(time)))
}

/// Finds the tap of one column before the time `until`.
pub(super) fn find(
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

/// The nearest token, and how near it is.
pub(super) fn where_nearest(NearMiss { tap, distance, floor, share, .. }: NearMiss) -> String {
    let [distance, share, times] = [distance, share, distance / floor].map(measured);
    format!(
        " The nearest lies {distance} away at {tap}: {share} of the state's length, and {times} times the noise floor."
    )
}

/// The words for a search that its time ended.
pub(super) fn time_up(file: &StatesFile, nearest: Option<NearMiss>) -> String {
    format!(
        "the tap of {} was not found before --max-seconds were over: give --tap, or more seconds.{}",
        file.path().display(),
        nearest.map_or_else(String::new, where_nearest)
    )
}

/// The words for a first state that no token tested has, and its likeliest causes.
pub(super) fn no_tap(options: &Options, file: &StatesFile, nearest: Option<NearMiss>) -> String {
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
