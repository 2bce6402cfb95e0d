//! One prompt: its states from a file, or computed from a text that is then forgotten.

use std::{path::Path, time::Instant};

use indicatif::ProgressBar;
use inject_examples::{Failure, say};
use inject_sipit::{
    InvertProgress, Inverter, Phase, TargetStates,
    models::{Model, Tap},
    states::{
        Extraction,
        foreign::{ColumnChoice, SourceDtype, StatesFile},
        store::Positions,
    },
};

use super::{Options, announce_scan, bar, report::Report};

const DEFAULT_PROMPT: &str = "On Monday, Ivan and his aunt Dora were in the garden.";

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    let (target, prompt) = target(options, &model)?;
    let tap = target.tap();
    let mut choice = options.policy.choose(&model, tap, target.positions())?;
    let inverter = Inverter::new(&model.decoder, tap, options.policy.settings()?)?;
    announce_scan(&inverter, target.positions());
    let bar = bar(target.positions(), "{msg} {bar:30} {elapsed} of about {duration}");
    let start = Instant::now();
    let inversion = inverter.invert(&target, &mut choice.policy, &mut |progress| show(&bar, progress))?;
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();

    let report = Report::new(&model, &choice, tap, &inversion, prompt.as_deref(), seconds)?;
    say(&if options.json { serde_json::to_string(&report)? } else { report.table(&model) })
}

/// The states to invert, and the prompt where somebody knows it: only to compare with at the end.
fn target(options: &Options, model: &Model) -> Result<(TargetStates, Option<Vec<u32>>), Failure> {
    if let Some(path) = &options.states {
        return from_file(options, path);
    }
    let prompt = match (&options.ids, &options.text) {
        (Some(ids), _) => ids.clone(),
        (None, Some(text)) => model.tokenizer()?.encode(text, options.bos)?,
        (None, None) => model.tokenizer()?.encode(DEFAULT_PROMPT, options.bos)?,
    };
    let n_layers = model.decoder.config().n_layers();
    let tap = options.tap.unwrap_or(Tap::Block(n_layers.div_ceil(2))).checked(n_layers)?;
    let extraction = Extraction::new(vec![tap], Positions::All)?;
    let mut states = extraction.run(&model.decoder, std::slice::from_ref(&prompt), &mut |_| ())?;
    let states = states.remove(&tap).ok_or_else(|| Failure::new(format!("no states at {tap}")))?;
    Ok((TargetStates::new(states.mapv(f64::from), tap, SourceDtype::F32)?, Some(prompt)))
}

fn from_file(options: &Options, path: &Path) -> Result<(TargetStates, Option<Vec<u32>>), Failure> {
    let mut file = StatesFile::open(path)?;
    let named = file.taps().map(<[Tap]>::to_vec);
    if file.columns() > 1 && named.is_none() && options.column.is_none() {
        let (path, columns) = (path.display(), file.columns());
        return Err(Failure::new(format!(
            "{path} holds {columns} taps without naming them: give --column and --tap"
        )));
    }
    let (column, tap) = match (options.column, options.tap, named.as_deref()) {
        (Some(column), Some(tap), _) => (ColumnChoice::Index(column), tap),
        (None, Some(tap), Some([_, ..])) => (ColumnChoice::Tap(tap), tap),
        (None, Some(tap), _) => (ColumnChoice::Only, tap),
        (None, None, Some([tap])) => (ColumnChoice::Only, *tap),
        (Some(column), None, Some(taps)) if column < taps.len() => {
            (ColumnChoice::Index(column), taps[column])
        }
        (_, None, _) => {
            return Err(Failure::new(format!(
                "{} does not say which tap it holds: give --tap",
                path.display()
            )));
        }
    };
    let states = file.column(column)?;
    Ok((TargetStates::new(states, tap, file.dtype())?, file.token_ids().map(<[u32]>::to_vec)))
}

fn show(bar: &ProgressBar, progress: InvertProgress) {
    let steps = progress.vocab_size as u64;
    bar.set_length(progress.positions as u64 * steps);
    bar.set_position(progress.position as u64 * steps + progress.candidates_tested as u64);
    let doing = match progress.phase {
        Phase::Recover => "recovering",
        Phase::Certify => "certifying",
    };
    bar.set_message(format!("{doing} position {} of {}", progress.position + 1, progress.positions));
}
