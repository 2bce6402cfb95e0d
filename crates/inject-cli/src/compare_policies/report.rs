//! The comparison as text, tables and a figure.

use inject_studies::{Completeness, Finished};
use serde::{Deserialize, Serialize};

use super::{
    contender::Contender,
    measured::Measured,
    record::{Prompt, Record, Summary},
};
use crate::{
    depth::Kind,
    number::{self, counted, measured},
    plot::{Axis, Figure, Mark},
    report::Report,
    spread::Spread,
    table::{Cell, Table, rows},
};

/// The conditions under which everything was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    /// The model: a Hub id, the name of a folder, or `bundled`.
    pub(crate) model: String,
    /// The name of the device that computed.
    pub(crate) device: String,
    /// The tap of the states.
    pub(crate) tap: String,
    /// The number of tokens in the vocabulary.
    pub(crate) vocab_size: usize,
    /// The length of each prompt.
    pub(crate) tokens: usize,
    /// The time limit in seconds, for each prompt and policy.
    pub(crate) max_seconds: f64,
    /// The seed of the policies.
    pub(crate) seed: u64,
    /// The seed from which the prompts were generated.
    pub(crate) prompt_seed: u64,
    /// Seconds of one forward pass of a prompt to the tap.
    pub(crate) forward_seconds: f64,
}

/// The results of `inject compare-policies`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Comparison {
    /// The conditions under which the policies were compared.
    about: About,
    /// The prompts that every policy recovers.
    prompts: Vec<Prompt>,
    /// The results of each policy.
    policies: Vec<Summary>,
    /// The policies that the result contains, of all that were requested.
    pub(crate) completeness: Completeness,
}

const LEGEND: &str = "\
passes: mean time divided by that of one forward pass; recovered: prompts verified at every position and equal to the
prompt; right: tokens that are the prompt's, whatever the verdict; candidates: tested at a position, also as a share of the
vocabulary (hard prompts test none in a step: only their last draft is compared). For a prompt that ran out of budget,
times and counts are those until then.";

impl About {
    /// The line that announces the work.
    pub(crate) fn heading(&self, prompts: &[Prompt], policies: usize) -> String {
        let text = prompts.iter().filter(|prompt| prompt.kind == Kind::Text).count();
        format!(
            "{} of text and {} of random tokens, {} each, at {} of {}; one forward pass takes {}; at most {} in all",
            counted(text, "prompt"),
            number::count(prompts.len() - text),
            counted(self.tokens, "token"),
            self.tap,
            self.model,
            number::seconds(self.forward_seconds),
            number::seconds(self.max_seconds * (prompts.len() * policies) as f64),
        )
    }
}

impl Comparison {
    /// Compares what was found with the prompts.
    pub(crate) fn new(about: About, prompts: Vec<Prompt>, measured: Finished<Contender, Measured>) -> Self {
        let summary = |(contender, measured): &(Contender, Measured)| {
            Summary::new(*contender, measured, &prompts, about.max_seconds, about.vocab_size)
        };
        let policies = measured.results.iter().map(summary).collect();
        Comparison { about, prompts, policies, completeness: measured.completeness }
    }

    /// The table and its legend.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![self.table().text(), String::new(), LEGEND.to_owned()];
        lines.extend(self.warnings());
        lines.join("\n")
    }

    /// The page with the table, every prompt and the figure.
    pub(crate) fn report(&self, weights: &str) -> Report {
        let mut report = Report::new("Policies of inversion compared");
        report.fact("Model", &self.about.model);
        report.fact("Weights", weights);
        report.fact("Device", &self.about.device);
        report.table_on_page(self.table());
        report.paragraph(LEGEND);
        self.warnings().into_iter().for_each(|warning| report.paragraph(warning));
        report.figure("compare-policies", self.figure());
        report.table("compare-policies", self.every_prompt());
        report
    }

    fn warnings(&self) -> Vec<String> {
        let wrong = self.policies.iter().filter(|policy| policy.verified_wrongly > 0);
        let warning = |policy: &Summary| {
            let (label, wrong) = (policy.contender.label(), counted(policy.verified_wrongly, "token"));
            format!("{label}: {wrong} verified that the prompt does not have")
        };
        wrong.map(warning).collect()
    }

    /// One line for each policy.
    fn table(&self) -> Table {
        let About { tap, model, tokens, .. } = &self.about;
        let title =
            format!("{} of {tokens} tokens at {tap} of {model}", counted(self.prompts.len(), "prompt"));

        rows(title, &self.policies).columns([
            ("policy", &|policy| Cell::of(policy.contender.label())),
            ("seconds mean", &|policy| policy.seconds.mean.into()),
            ("deviation", &|policy| policy.seconds.standard_deviation.into()),
            ("median", &|policy| policy.seconds.median.into()),
            ("passes", &|policy| (policy.seconds.mean / self.about.forward_seconds).into()),
            ("recovered", &|policy| Cell::Share(policy.recovered)),
            ("right", &|policy| Cell::Share(policy.right)),
            ("candidates", &|policy| policy.candidates_per_token.mean.into()),
            ("vocabulary", &|policy| Cell::Share(policy.vocabulary_explored.mean)),
            ("out of budget", &|policy| policy.out_of_budget.into()),
        ])
    }

    /// One line for each policy and prompt.
    fn every_prompt(&self) -> Table {
        rows("Every prompt", self.records()).columns([
            ("policy", &|(policy, _)| Cell::of(policy.contender.name())),
            ("prompt", &|(_, r)| r.prompt.into()),
            ("kind", &|(_, r)| Cell::of(r.kind.name())),
            ("recovered", &|(_, r)| Cell::of(r.recovered)),
            ("verified", &|(_, r)| r.verified.into()),
            ("verified wrongly", &|(_, r)| r.verified_wrongly.into()),
            ("right", &|(_, r)| r.right.into()),
            ("out of budget", &|(_, r)| Cell::of(r.out_of_budget)),
            ("seconds", &|(_, r)| r.seconds.into()),
            ("begun", &|(_, r)| r.begun.into()),
            ("candidates", &|(_, r)| r.candidates.into()),
        ])
    }

    fn records(&self) -> impl Iterator<Item = (&Summary, &Record)> {
        self.policies.iter().flat_map(|policy| policy.records.iter().map(move |record| (policy, record)))
    }

    /// Time for each prompt, a row for each policy.
    fn figure(&self) -> Figure {
        let About { model, tap, tokens, max_seconds, .. } = &self.about;
        let rows = || self.policies.iter().enumerate();
        let points = |recovered: bool| {
            rows().flat_map(move |(row, policy)| {
                let records = policy.records.iter().filter(move |record| record.recovered == recovered);
                records.map(move |record| (record.seconds, row as f64))
            })
        };
        let statistic =
            |of: fn(&Spread) -> f64| rows().map(move |(row, policy)| (of(&policy.seconds), row as f64));
        Figure::new(
            format!(
                "Inverting {} of {tokens} tokens at {tap} of {model}",
                counted(self.prompts.len(), "prompt")
            ),
            Axis::log(format!("time for each prompt (s), bounded at {} s", measured(*max_seconds))),
            Axis::rows(self.policies.iter().map(|policy| policy.contender.label())),
        )
        .with("recovered", Mark::Dots, points(true))
        .with("not recovered", Mark::Rings, points(false))
        .with("mean", Mark::Strokes, statistic(|seconds| seconds.mean))
    }
}
