//! One prompt: its states from a file, or computed from a text that is then forgotten.

use std::{path::Path, time::Instant};

use inject_sipit::{
    TargetStates,
    models::{Model, Progress},
    settings::ComputedIn,
    states::foreign::{ModelShape, ReadOptions, StatesFile},
};

use super::{
    Arrangement, Options, announce_scan, calibrations,
    likely_cause::Describable,
    report::{Recovered, Report},
    tap,
    target::target_of,
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
    tap::tell(options, &file, chosen.1);
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
