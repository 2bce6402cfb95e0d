//! One prompt: its states from a file, or computed from a text that is then forgotten.

use std::{path::Path, time::Instant};

use inject_sipit::{
    Inverter, TargetStates,
    models::{Model, Tap},
    states::foreign::{ColumnChoice, StatesFile},
};

use super::{
    Options, announce_scan,
    report::{Recovered, Report},
};
use crate::{Failure, Outcome, output::say, progress::Meter};

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
        return from_file(options, path);
    }
    let prompt = match (&input.ids, &input.text) {
        (Some(ids), _) => ids.0.clone(),
        (None, Some(text)) => model.tokenizer()?.encode(text, input.bos)?,
        (None, None) => model.tokenizer()?.encode(DEFAULT_PROMPT, input.bos)?,
    };
    let tap = options.tap.or_middle(model)?;
    Ok((TargetStates::of_prompt(&model.decoder, tap, &prompt)?, Some(prompt)))
}

fn from_file(options: &Options, path: &Path) -> Result<(TargetStates, Option<Vec<u32>>), Failure> {
    let mut file = StatesFile::open(path)?;
    let named = file.taps().map(<[Tap]>::to_vec);
    if file.columns() > 1 && named.is_none() && options.input.column.is_none() {
        let (path, columns) = (path.display(), file.columns());
        return Err(Failure::usage(format!(
            "{path} holds {columns} taps without naming them: give --column and --tap"
        )));
    }
    let (column, tap) = match (options.input.column, options.tap.tap, named.as_deref()) {
        (Some(column), Some(tap), _) => (ColumnChoice::Index(column), tap),
        (None, Some(tap), Some([_, ..])) => (ColumnChoice::Tap(tap), tap),
        (None, Some(tap), _) => (ColumnChoice::Only, tap),
        (None, None, Some([tap])) => (ColumnChoice::Only, *tap),
        (Some(column), None, Some(taps)) if column < taps.len() => {
            (ColumnChoice::Index(column), taps[column])
        }
        (_, None, _) => {
            return Err(Failure::usage(format!(
                "{} does not say which tap it holds: give --tap",
                path.display()
            )));
        }
    };
    let states = file.column(column)?;
    Ok((TargetStates::new(states.into_array(), tap, file.dtype())?, file.token_ids().map(<[u32]>::to_vec)))
}
