//! The table, the files and the figure.

use std::{fs::File, io::Write, path::Path};

use inject_examples::{Axis, Failure, Figure, Mark};
use inject_sipit::models::Tap;

use crate::record::{Kind, Measured, Prompt, Record, Spread, Summary};

/// Under which conditions everything was measured.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct About {
    pub(crate) model: String,
    pub(crate) device: String,
    pub(crate) tap: Tap,
    pub(crate) vocab_size: usize,
    /// Of each prompt.
    pub(crate) tokens: usize,
    /// For each prompt.
    pub(crate) budget_seconds: f64,
    pub(crate) seed: u64,
    pub(crate) prompt_seed: u64,
    /// One prompt, to the tap.
    pub(crate) forward_seconds: f64,
}

/// Everything that was found out.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    about: About,
    prompts: Vec<Prompt>,
    policies: Vec<Summary>,
}

impl About {
    /// What is about to happen.
    pub(crate) fn heading(&self, prompts: &[Prompt], policies: usize) -> String {
        let text = prompts.iter().filter(|prompt| prompt.kind == Kind::Text).count();
        let random = prompts.len() - text;
        format!(
            "prompts: {text} text, {random} random tokens; {} tokens each; {} of {} ({} tokens in the vocabulary)\n\
             one forward pass of a prompt to the tap: {:.2} ms\n\
             budget: {} s for each prompt and policy, so about {:.0} s at most in all",
            self.tokens,
            self.tap,
            self.model,
            self.vocab_size,
            1e3 * self.forward_seconds,
            self.budget_seconds,
            self.budget_seconds * (prompts.len() * policies) as f64,
        )
    }
}

impl Report {
    /// Compares what was found with the prompts.
    pub(crate) fn new(about: About, prompts: Vec<Prompt>, measured: &[Measured]) -> Self {
        let summary = |measured| Summary::new(measured, &prompts, about.budget_seconds, about.vocab_size);
        let policies = measured.iter().map(summary).collect();
        Report { about, prompts, policies }
    }

    /// One line a policy.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![format!(
            "\n{:<30} {:>23} {:>9} {:>10} {:>8} {:>8} {:>14} {:>16} {:>10}",
            "policy",
            "s a prompt (mean, sd)",
            "median",
            "passes",
            "exact",
            "tokens",
            "candidates",
            "vocabulary",
            "in budget"
        )];
        let count = self.prompts.len();
        for policy in &self.policies {
            let seconds = policy.seconds;
            let share = policy.vocabulary_explored;
            lines.push(format!(
                "{:<30} {:>12.4} ± {:<8.4} {:>9.4} {:>10.1} {:>6.1} % {:>6.1} % {:>14.1} {:>14.2} % {:>10}",
                policy.contender.label(),
                seconds.mean,
                seconds.standard_deviation,
                seconds.median,
                seconds.mean / self.about.forward_seconds,
                100.0 * policy.accuracy,
                100.0 * policy.token_accuracy,
                policy.candidates_per_token.mean,
                100.0 * share.mean,
                format!("{}/{count}", count - policy.out_of_budget),
            ));
        }
        lines.extend([
            String::new(),
            "passes: mean time in forward passes of a prompt; exact: prompts recovered token for token, every position verified;"
                .to_owned(),
            "tokens: those right, guesses at unverified positions among them; candidates: tested at a position, and as a share of"
                .to_owned(),
            "the vocabulary (a step of hard prompts tests none: only its last draft is compared). Out of budget, times and counts"
                .to_owned(),
            "are those until then.".to_owned(),
        ]);
        for policy in self.policies.iter().filter(|policy| policy.verified_wrongly > 0) {
            let (label, wrong) = (policy.contender.label(), policy.verified_wrongly);
            lines.push(format!("{label}: {wrong} tokens were verified that are not the prompt's"));
        }
        lines.join("\n")
    }

    /// Writes compare.csv, compare.json, compare.svg and compare.png.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Failure> {
        std::fs::create_dir_all(folder)?;
        self.write_csv(&folder.join("compare.csv"))?;
        serde_json::to_writer_pretty(File::create(folder.join("compare.json"))?, self)?;
        self.figure().write(folder, "compare")
    }

    fn write_csv(&self, path: &Path) -> Result<(), Failure> {
        let mut csv = File::create(path)?;
        writeln!(
            csv,
            "model,tap,vocab_size,budget_seconds,policy,prompt,kind,tokens,exact,verified,verified_wrongly,right,\
             out_of_budget,seconds,begun,candidates"
        )?;
        let About { model, tap, tokens, vocab_size, budget_seconds, .. } = &self.about;
        for (policy, r) in self.records() {
            writeln!(
                csv,
                "{model},{tap},{vocab_size},{budget_seconds},{},{},{},{tokens},{},{},{},{},{},{:.6},{},{}",
                name(&policy.contender)?,
                r.prompt,
                name(&r.kind)?,
                r.exact,
                r.verified,
                r.verified_wrongly,
                r.right,
                r.out_of_budget,
                r.seconds,
                r.begun,
                r.candidates
            )?;
        }
        Ok(())
    }

    fn records(&self) -> impl Iterator<Item = (&Summary, &Record)> {
        self.policies.iter().flat_map(|policy| policy.records.iter().map(move |record| (policy, record)))
    }

    /// Time for each prompt, a row a policy.
    fn figure(&self) -> Figure {
        let About { model, tap, tokens, budget_seconds, .. } = &self.about;
        let rows = || self.policies.iter().enumerate();
        let points = |exact: bool| {
            rows().flat_map(move |(row, policy)| {
                let records = policy.records.iter().filter(move |record| record.exact == exact);
                records.map(move |record| (record.seconds, row as f64))
            })
        };
        let statistic =
            |of: fn(&Spread) -> f64| rows().map(move |(row, policy)| (of(&policy.seconds), row as f64));
        Figure::new(
            format!("Inverting {} prompts of {tokens} tokens from {tap} of {model}", self.prompts.len()),
            Axis::log(format!("time for each prompt (s), bounded at {budget_seconds} s")),
            Axis::rows(self.policies.iter().map(|policy| policy.contender.label())),
        )
        .with("recovered exactly", Mark::Dots, points(true))
        .with("not recovered", Mark::Rings, points(false))
        .with("mean", Mark::Strokes, statistic(|seconds| seconds.mean))
    }
}

/// A unit variant as it is spelled in the files.
fn name(value: &impl serde::Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string(value)?.trim_matches('"').to_owned())
}
