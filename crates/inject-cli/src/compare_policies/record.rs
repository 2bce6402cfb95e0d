//! What one policy did to one prompt, and to all of them.

use inject_sipit::{Cost, Inversion, Verdict};

use crate::contender::Contender;

/// What a prompt is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Prose or code.
    Text,
    /// Tokens drawn uniformly.
    Random,
}

/// A prompt.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Prompt {
    pub(crate) kind: Kind,
    pub(crate) token_ids: Vec<u32>,
}

/// All inversions of one policy, not compared with anything yet.
pub(crate) struct Measured {
    pub(crate) contender: Contender,
    pub(crate) policy: String,
    pub(crate) reason: String,
    /// Seconds to measure the noise and to load the lens, once.
    pub(crate) ready_seconds: f64,
    /// Each with its seconds, in the order of the prompts.
    pub(crate) inversions: Vec<(Inversion, f64)>,
}

/// One inversion, compared with its prompt.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Record {
    pub(crate) prompt: usize,
    pub(crate) kind: Kind,
    /// Whether the prompt came back, token for token, with every position verified.
    pub(crate) exact: bool,
    pub(crate) verified: usize,
    /// Verified positions whose token is not the prompt's.
    pub(crate) verified_wrongly: usize,
    /// Positions whose token is the prompt's, unverified guesses among them.
    pub(crate) right: usize,
    /// Whether the time was spent before every position was settled.
    pub(crate) out_of_budget: bool,
    pub(crate) seconds: f64,
    /// Positions at which a candidate was tested.
    pub(crate) begun: usize,
    /// Candidates tested, all positions together.
    pub(crate) candidates: usize,
    pub(crate) token_ids: Vec<u32>,
    pub(crate) cost: Cost,
}

impl Record {
    fn new(number: usize, prompt: &Prompt, inversion: &Inversion, seconds: f64, budget_seconds: f64) -> Self {
        let positions = || inversion.positions.iter().zip(&prompt.token_ids);
        let verified =
            || positions().filter(|(found, _)| matches!(found.verdict, Verdict::Verified | Verdict::Certain));
        let unsettled = inversion.positions.iter().any(|found| found.verdict == Verdict::Open);
        Record {
            prompt: number,
            kind: prompt.kind,
            exact: inversion.is_verified() && inversion.token_ids() == prompt.token_ids,
            verified: verified().count(),
            verified_wrongly: verified().filter(|(found, id)| found.token_id != **id).count(),
            right: positions().filter(|(found, id)| found.token_id == **id).count(),
            out_of_budget: unsettled && inversion.first_failure().is_none() && seconds >= budget_seconds,
            seconds,
            begun: inversion.positions.iter().filter(|found| found.candidates_tested > 0).count(),
            candidates: inversion.positions.iter().map(|found| found.candidates_tested).sum(),
            token_ids: inversion.token_ids(),
            cost: inversion.cost.clone(),
        }
    }
}

/// All inversions of one policy, compared with the prompts.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Summary {
    pub(crate) contender: Contender,
    /// The sources of candidates, in order.
    pub(crate) policy: String,
    pub(crate) reason: String,
    pub(crate) ready_seconds: f64,
    /// Over prompts.
    pub(crate) seconds: Spread,
    /// Share of prompts that came back exactly.
    pub(crate) accuracy: f64,
    /// Share of tokens that are the prompt's, unverified guesses among them.
    pub(crate) token_accuracy: f64,
    /// Over prompts, a position at which a candidate was tested.
    pub(crate) candidates_per_token: Spread,
    /// The same as a share.
    pub(crate) vocabulary_explored: Spread,
    pub(crate) out_of_budget: usize,
    pub(crate) verified_wrongly: usize,
    pub(crate) records: Vec<Record>,
}

impl Summary {
    pub(crate) fn new(
        measured: &Measured,
        prompts: &[Prompt],
        budget_seconds: f64,
        vocab_size: usize,
    ) -> Self {
        let inversions = measured.inversions.iter().zip(prompts).enumerate();
        let records: Vec<Record> = inversions
            .map(|(number, ((inversion, seconds), prompt))| {
                Record::new(number, prompt, inversion, *seconds, budget_seconds)
            })
            .collect();
        let spread = |value: &dyn Fn(&Record) -> f64| Spread::of(records.iter().map(value).collect());
        let tokens: usize = prompts.iter().map(|prompt| prompt.token_ids.len()).sum();
        let candidates = |record: &Record| record.candidates as f64 / record.begun.max(1) as f64;
        Summary {
            contender: measured.contender,
            policy: measured.policy.clone(),
            reason: measured.reason.clone(),
            ready_seconds: measured.ready_seconds,
            seconds: spread(&|record| record.seconds),
            accuracy: records.iter().filter(|record| record.exact).count() as f64 / records.len() as f64,
            token_accuracy: records.iter().map(|record| record.right).sum::<usize>() as f64 / tokens as f64,
            candidates_per_token: spread(&candidates),
            vocabulary_explored: spread(&|record| candidates(record) / vocab_size as f64),
            out_of_budget: records.iter().filter(|record| record.out_of_budget).count(),
            verified_wrongly: records.iter().map(|record| record.verified_wrongly).sum(),
            records,
        }
    }
}

/// Some numbers in short.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    /// Of the sample: the sum of squares over one less than the count. Zero for a single number.
    pub(crate) standard_deviation: f64,
    pub(crate) median: f64,
    pub(crate) largest: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Spread {
            mean,
            standard_deviation: (squares / count.saturating_sub(1).max(1) as f64).sqrt(),
            median: (values[(count - 1) / 2] + values[count / 2]) / 2.0,
            largest: values[count - 1],
        }
    }
}
