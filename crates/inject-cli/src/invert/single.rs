//! One prompt: its states from a file, or computed from a text that is then forgotten.

use std::{path::Path, time::Instant};

use inject_sipit::{
    Inverter, TargetStates,
    models::{Model, Tap},
    states::foreign::{ColumnChoice, ModelShape, ReadOptions, StatesFile},
};

use super::{
    Options, announce_scan,
    report::{Recovered, Report},
};
use crate::{
    Failure, Outcome,
    number::counted,
    output::{note, say},
    progress::Meter,
};

const DEFAULT_PROMPT: &str = "On Monday, Ivan and his aunt Dora were in the garden.";

pub(super) fn run(options: &Options) -> Result<Outcome, Failure> {
    let settings = options.policy.settings()?;
    let acceptance = settings.acceptance;
    let model = options.model.load()?;
    let (target, prompt) = target(options, &model)?;
    let tap = target.tap();
    let choice = options.policy.choose(&model, tap, target.positions())?;
    let inverter = Inverter::new(&model.decoder, tap, settings)?;
    announce_scan(&inverter, target.positions());
    let mut meter = Meter::new();
    let start = Instant::now();
    let mut searcher = inverter.searcher(&choice.policy);
    let inversion = inverter.invert(&target, &mut searcher, &mut |progress| meter.show(progress))?;
    let seconds = start.elapsed().as_secs_f64();
    drop(meter);

    let recovered = Recovered::new(&model, &inversion, prompt.as_deref(), seconds)?;
    let outcome = recovered.outcome();
    let report = Report::new(&model, &choice, acceptance, tap, recovered)?;
    say(&if options.json { serde_json::to_string(&report)? } else { report.text(&model) });
    Ok(outcome)
}

/// The states to invert, and the prompt if it is known: only to compare with at the end.
fn target(options: &Options, model: &Model) -> Result<(TargetStates, Option<Vec<u32>>), Failure> {
    let input = &options.input;
    if let Some(path) = &input.states {
        return from_file(options, model, path);
    }
    let prompt = match (&input.ids, &input.text) {
        (Some(ids), _) => ids.0.clone(),
        (None, Some(text)) => model.tokenizer()?.encode(text, input.bos)?,
        (None, None) => model.tokenizer()?.encode(DEFAULT_PROMPT, input.bos)?,
    };
    let tap = options.tap.or_middle(model)?;
    Ok((TargetStates::of_prompt(&model.decoder, tap, &prompt)?, Some(prompt)))
}

fn from_file(
    options: &Options,
    model: &Model,
    path: &Path,
) -> Result<(TargetStates, Option<Vec<u32>>), Failure> {
    let mut file = open(options, model, path)?;
    if file.prompts() > 1 && options.input.row.is_none() {
        let (path, prompts) = (path.display(), file.prompts());
        return Err(Failure::usage(format!(
            "{path} holds {prompts} prompts: give --row I for one of them, or --out FILE for all"
        )));
    }
    let (column, tap) = column(options, &file)?;
    let states = file.column(column)?;
    tell(&file);
    let ids = file.token_ids().map(<[u32]>::to_vec);
    Ok((TargetStates::new(states.into_array(), tap, file.dtype())?, ids))
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
    let renamed = [("by `tensor`", "by --tensor"), ("by `axes`", "by --axes"), ("by `row`", "by --row")];
    StatesFile::open_with(path, &read).map_err(|error| Failure::from(error).rephrased(&renamed))
}

/// Says how the file was read, where that was not the only way, and which tokens have no states.
fn tell(file: &StatesFile) {
    if let Some(taken) = file.taken() {
        note(&format!("{}: {taken}", file.path().display()));
    }
    if let Some(missing) = file.token_ids().map(|ids| ids.len() - file.rows()).filter(|&missing| missing > 0)
    {
        note(&format!(
            "{} of states for {}: {missing} have none",
            counted(file.rows(), "row"),
            counted(file.rows() + missing, "token id")
        ));
    }
}

/// Chooses the column and its tap.
pub(super) fn column(options: &Options, file: &StatesFile) -> Result<(ColumnChoice, Tap), Failure> {
    let (path, named) = (file.path().display(), file.taps());
    if file.columns() > 1 && named.is_none() && options.input.column.is_none() {
        let origins: Vec<String> =
            file.origins().into_iter().enumerate().map(|(at, origin)| format!("{at}: {origin}")).collect();
        return Err(Failure::usage(format!(
            "{path} holds {} taps without naming them ({}): give --column and --tap",
            file.columns(),
            origins.join("; ")
        )));
    }
    match (options.input.column, options.tap.tap, named) {
        (Some(column), Some(tap), _) => Ok((ColumnChoice::Index(column), tap)),
        (None, Some(tap), Some([_, ..])) => Ok((ColumnChoice::Tap(tap), tap)),
        (None, Some(tap), _) => Ok((ColumnChoice::Only, tap)),
        (None, None, Some([tap])) => Ok((ColumnChoice::Only, *tap)),
        (Some(column), None, Some(taps)) if column < taps.len() => {
            Ok((ColumnChoice::Index(column), taps[column]))
        }
        (_, None, Some(taps)) => {
            let taps: Vec<String> = taps.iter().map(Tap::to_string).collect();
            Err(Failure::usage(format!("{path} holds the taps {}: give --tap", taps.join(", "))))
        }
        (_, None, None) => Err(Failure::usage(format!("{path} does not say which tap it holds: give --tap"))),
    }
}
