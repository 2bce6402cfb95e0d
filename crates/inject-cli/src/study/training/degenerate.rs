//! Starts with collisions built in.

use inject_sipit::models::{DecoderConfig, Family};
use inject_studies::{
    Completeness, Finished, StudyError, StudyName, degenerate,
    training::{DegenerateCase, DegenerateOptions, DegenerateStudy, Fate, Optimiser, degenerate_cases},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Lab, Part,
    shape::{config, init_std},
    text::About,
};
use crate::{
    outcome::Failure,
    table::{Cell, Table},
};

/// The numbers of steps after which the pairs are measured.
const STEPS: [usize; 2] = [1, 10];

/// The effect of training on collisions, for every start of every family.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Starts {
    /// The origin of the text, and the seeds.
    about: About,
    /// The options of the descent.
    options: DegenerateOptions,
    /// Width of the residual stream.
    d_model: usize,
    /// The number of blocks of the decoders.
    n_layers: usize,
    /// The starts, family by family; units that are not finished are missing.
    starts: Vec<Start>,
    /// The starts that the result contains.
    pub(crate) completeness: Completeness,
}

/// The fate of the collisions of one start of one family.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Start {
    /// The family of the decoder.
    #[cfg_attr(test, schemars(with = "String"))]
    family: Family,
    /// The case, and the distances at each step.
    #[serde(flatten)]
    study: DegenerateStudy,
}

pub(crate) fn carry_out(lab: &mut Lab<'_>) -> Result<(), Failure> {
    let (options, text) = (lab.options, &lab.text);
    let optimiser = Optimiser::FullBatch { learning_rate: 0.5 };
    let how = DegenerateOptions::new(optimiser, STEPS.to_vec(), options.seed, options.threads);
    let (d_model, n_layers) = (options.width, options.layers.get());
    let mut cases: Vec<(Family, DecoderConfig, DegenerateCase)> = Vec::new();
    for family in [Family::Gpt2, Family::Llama] {
        let config = config(family, d_model, n_layers, text.about.vocab_size)?;
        let of_family = degenerate_cases(&config, &text.windows)?;
        cases.extend(of_family.into_iter().map(|case| (family, config.clone(), case)));
    }
    let about = lab.describe(Part::Degenerate, json!({ "options": &how, "cases": cases.len() }))?;
    let found = lab.study.carry_out(StudyName::Degenerate, |run| {
        let units = (0..cases.len()).collect();
        let Finished { results, completeness, .. } = run.complete(&about, units, |&number: &usize, _| {
            let (family, config, case) = &cases[number];
            lab.device.seed(options.seed);
            let drawn = config.init(init_std(d_model), &lab.device);
            let study = degenerate(&drawn, &text.windows, case, &how)?;
            Ok::<_, StudyError>(Start { family: *family, study })
        })?;
        let starts = results.into_iter().map(|(_, start)| start).collect();
        let about = text.about.clone();
        Ok::<_, StudyError>(Starts { about, options: how.clone(), d_model, n_layers, starts, completeness })
    })?;
    let summary = summary(&found);
    lab.show(&summary);
    lab.report.heading("Degenerate starts");
    lab.report.table_on_page(summary);
    for reason in reasons(&found) {
        lab.report.paragraph(reason);
    }
    lab.report.table("degenerate", every_step(&found));
    lab.report()
}

/// A line for each start, at its deepest tap.
fn summary(found: &Starts) -> Table {
    let headings = [
        "family",
        "start",
        "prompts that",
        "expected",
        "equal at 0",
        "pairs",
        "smallest after 1",
        "largest after 1",
        "found",
        "as expected",
    ];
    let mut table = Table::new("Degenerate starts, at the deepest tap", &headings);
    for Start { family, study } in &found.starts {
        let deepest = study.taps.last();
        let at = |number: usize| deepest.and_then(|tap| tap.steps.get(number));
        table.push([
            Cell::of(family),
            Cell::of(study.case.start),
            Cell::of(&study.case.prompts),
            Cell::of(fate(Some(study.case.expected))),
            at(0).map_or(0, |start| start.equal).into(),
            study.case.pairs.len().into(),
            at(1).map(|after| after.smallest).into(),
            at(1).map(|after| after.largest).into(),
            Cell::of(fate(at(1).and_then(|after| after.fate()))),
            Cell::of(if study.as_expected { "yes" } else { "NO" }),
        ]);
    }
    table
}

/// The reasons for the expected effects, each once.
fn reasons(found: &Starts) -> Vec<String> {
    let reasons =
        found.starts.iter().map(|start| format!("{}: {}", start.study.case.start, start.study.case.why));
    crate::plot::distinct(reasons)
}

fn fate(fate: Option<Fate>) -> &'static str {
    fate.map_or("in part", Fate::name)
}

/// Every tap and step of every start.
fn every_step(found: &Starts) -> Table {
    let headings = [
        "family",
        "start",
        "prompts",
        "expected",
        "tap",
        "step",
        "pairs",
        "equal",
        "smallest",
        "largest",
        "noise",
        "bound",
        "found",
        "as expected",
    ];
    let mut table = Table::new("Every step", &headings);
    for Start { family, study } in &found.starts {
        for tap in &study.taps {
            for at in &tap.steps {
                table.push([
                    Cell::of(family),
                    Cell::of(study.case.start),
                    Cell::of(&study.case.prompts),
                    Cell::of(fate(Some(study.case.expected))),
                    Cell::of(tap.tap),
                    at.step.into(),
                    study.case.pairs.len().into(),
                    at.equal.into(),
                    at.smallest.into(),
                    at.largest.into(),
                    at.noise.largest().into(),
                    at.bound.into(),
                    Cell::of(fate(at.fate())),
                    Cell::of(study.as_expected),
                ]);
            }
        }
    }
    table
}
