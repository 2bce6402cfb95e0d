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
    table::{Cell, Table, rows},
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
    let at = |start: &Start, number: usize| start.study.taps.last()?.steps.get(number).copied();
    rows("Degenerate starts, at the deepest tap", &found.starts).columns([
        ("family", &|start| Cell::of(start.family)),
        ("start", &|start| Cell::of(start.study.case.start)),
        ("prompts that", &|start| Cell::of(&start.study.case.prompts)),
        ("expected", &|start| Cell::of(fate(Some(start.study.case.expected)))),
        ("equal at 0", &|start| at(start, 0).map_or(0, |start| start.equal).into()),
        ("pairs", &|start| start.study.case.pairs.len().into()),
        ("smallest after 1", &|start| at(start, 1).map(|after| after.smallest).into()),
        ("largest after 1", &|start| at(start, 1).map(|after| after.largest).into()),
        ("found", &|start| Cell::of(fate(at(start, 1).and_then(|after| after.fate())))),
        ("as expected", &|start| Cell::of(if start.study.as_expected { "yes" } else { "NO" })),
    ])
}

/// The reasons for the expected effects, each once.
fn reasons(found: &Starts) -> Vec<String> {
    let reasons =
        found.starts.iter().map(|start| format!("{}: {}", start.study.case.start, start.study.case.reason));
    crate::plot::distinct(reasons)
}

fn fate(fate: Option<Fate>) -> &'static str {
    fate.map_or("in part", Fate::name)
}

/// Every tap and step of every start.
fn every_step(found: &Starts) -> Table {
    let steps = found.starts.iter().flat_map(|start| {
        start.study.taps.iter().flat_map(move |tap| tap.steps.iter().map(move |at| (start, tap, at)))
    });
    rows("Every step", steps).columns([
        ("family", &|(start, _, _)| Cell::of(start.family)),
        ("start", &|(start, _, _)| Cell::of(start.study.case.start)),
        ("prompts", &|(start, _, _)| Cell::of(&start.study.case.prompts)),
        ("expected", &|(start, _, _)| Cell::of(fate(Some(start.study.case.expected)))),
        ("tap", &|(_, tap, _)| Cell::of(tap.tap)),
        ("step", &|(_, _, at)| at.step.into()),
        ("pairs", &|(start, _, _)| start.study.case.pairs.len().into()),
        ("equal", &|(_, _, at)| at.equal.into()),
        ("smallest", &|(_, _, at)| at.smallest.into()),
        ("largest", &|(_, _, at)| at.largest.into()),
        ("noise", &|(_, _, at)| at.noise.largest().into()),
        ("bound", &|(_, _, at)| at.bound.into()),
        ("found", &|(_, _, at)| Cell::of(fate(at.fate()))),
        ("as expected", &|(start, _, _)| Cell::of(start.study.as_expected)),
    ])
}
