//! The results of one policy: for each prompt, and for all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    contender::Contender,
    measured::{Found, Measured},
};
use crate::{
    depth::Kind,
    invert::{StageReport, VerdictName},
    spread::Spread,
};

/// A prompt that every policy was given, and the origin of its tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Prompt {
    /// The origin of the tokens.
    pub(crate) kind: Kind,
    /// The token ids of the prompt, in order.
    pub(crate) token_ids: Vec<u32>,
}

/// The inversion of one prompt, compared with the prompt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The number of the prompt, from 0.
    pub(crate) prompt: usize,
    /// The tokens of the prompt.
    pub(crate) kind: Kind,
    /// Whether every position is verified or certain, and the tokens equal the prompt's.
    pub(crate) recovered: bool,
    /// The number of positions that are verified or certain.
    pub(crate) verified: usize,
    /// The number of verified positions whose token is not the prompt's.
    pub(crate) verified_wrongly: usize,
    /// The number of positions whose token is the prompt's, whatever the verdict.
    pub(crate) right: usize,
    /// Whether the time was spent before every position was settled.
    pub(crate) out_of_budget: bool,
    /// Seconds that the inversion took.
    pub(crate) seconds: f64,
    /// The number of positions at which a candidate was tested.
    pub(crate) begun: usize,
    /// The number of candidates tested at all positions together.
    pub(crate) candidates: usize,
    /// The tokens by id; null where nothing is known.
    pub(crate) token_ids: Vec<Option<u32>>,
    /// The cost of each stage.
    pub(crate) cost: BTreeMap<String, StageReport>,
}

impl Record {
    fn new(number: usize, prompt: &Prompt, found: &Found, max_seconds: f64) -> Self {
        let equal = |(id, expected): (&Option<u32>, &u32)| *id == Some(*expected);
        let right: Vec<bool> = found.token_ids.iter().zip(&prompt.token_ids).map(equal).collect();
        let verified: Vec<bool> = found.verdicts.iter().map(|verdict| verdict.is_verified()).collect();
        let has = |verdict: VerdictName| found.verdicts.contains(&verdict);
        let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count();
        let all = prompt.token_ids.len();
        Record {
            prompt: number,
            kind: prompt.kind,
            recovered: count(&verified) == all && count(&right) == all,
            verified: count(&verified),
            verified_wrongly: verified
                .iter()
                .zip(&right)
                .filter(|(verified, right)| **verified && !**right)
                .count(),
            right: count(&right),
            out_of_budget: has(VerdictName::Open)
                && !has(VerdictName::Failed)
                && found.seconds >= max_seconds,
            seconds: found.seconds,
            begun: found.candidates_tested.iter().filter(|tested| **tested > 0).count(),
            candidates: found.candidates_tested.iter().sum(),
            token_ids: found.token_ids.clone(),
            cost: found.cost.clone(),
        }
    }
}

/// All inversions of one policy, compared with the prompts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Summary {
    /// The name of the policy.
    pub(crate) contender: Contender,
    /// The sources of candidates of the policy, in order.
    pub(crate) policy: String,
    /// The reason for these sources and this order.
    pub(crate) reason: String,
    /// Seconds to measure the noise and to load the lens, once.
    pub(crate) ready_seconds: f64,
    /// Seconds to invert each prompt.
    pub(crate) seconds: Spread,
    /// The share of prompts that are recovered.
    pub(crate) recovered: f64,
    /// The share of tokens that are the prompt's, whatever the verdict.
    pub(crate) right: f64,
    /// Candidates for each position at which one was tested, over prompts.
    pub(crate) candidates_per_token: Spread,
    /// The same as a share of the vocabulary.
    pub(crate) vocabulary_explored: Spread,
    /// The number of prompts that the time limit cut short.
    pub(crate) out_of_budget: usize,
    /// The number of verified positions whose token is not the prompt's.
    pub(crate) verified_wrongly: usize,
    /// The inversion of each prompt.
    pub(crate) records: Vec<Record>,
}

impl Summary {
    pub(crate) fn new(
        contender: Contender,
        measured: &Measured,
        prompts: &[Prompt],
        max_seconds: f64,
        vocab_size: usize,
    ) -> Self {
        let found = measured.inversions.iter().zip(prompts).enumerate();
        let records: Vec<Record> =
            found.map(|(number, (found, prompt))| Record::new(number, prompt, found, max_seconds)).collect();
        let spread = |value: &dyn Fn(&Record) -> f64| Spread::of(records.iter().map(value).collect());
        let tokens: usize = prompts.iter().map(|prompt| prompt.token_ids.len()).sum();
        let candidates = |record: &Record| record.candidates as f64 / record.begun.max(1) as f64;
        Summary {
            contender,
            policy: measured.policy.clone(),
            reason: measured.reason.clone(),
            ready_seconds: measured.ready_seconds,
            seconds: spread(&|record| record.seconds),
            recovered: records.iter().filter(|record| record.recovered).count() as f64 / records.len() as f64,
            right: records.iter().map(|record| record.right).sum::<usize>() as f64 / tokens as f64,
            candidates_per_token: spread(&candidates),
            vocabulary_explored: spread(&|record| candidates(record) / vocab_size as f64),
            out_of_budget: records.iter().filter(|record| record.out_of_budget).count(),
            verified_wrongly: records.iter().map(|record| record.verified_wrongly).sum(),
            records,
        }
    }
}
