//! The policy that is expected to cost least.

use std::sync::Arc;

use crate::{
    lens::{Lens, candidates_of_a_pass, flop_of_candidate},
    models::{Decoder, Tap},
    sources::{LensInContext, LensProposals, Prior, PriorTiming, Repeated, Secant},
    tuning::{AUTO_FAR, AUTO_ROUNDS, AUTO_SURVEY, AUTO_UNCALIBRATED, ladder},
};

use super::Policy;

/// A policy, and the reason for choosing it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PolicyChoice {
    /// The policy that was chosen.
    pub policy: Policy,
    /// The reason in words, with the alternatives in forward passes of the prompt, counted by their rows and the weights they read.
    pub reason: String,
}

/// The cost of asking for the model's expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PriorCost {
    /// The head is near the tap, or the given states already show enough.
    Near,
    /// The head is so far above the tap that cheaper sources are asked first.
    Far,
}

impl PolicyChoice {
    /// Wraps a policy that the caller chose, with the caller's reason.
    pub fn new(policy: Policy, reason: impl Into<String>) -> Self {
        PolicyChoice { policy, reason: reason.into() }
    }

    /// Chooses the policy that is expected to cost least for prompts of `positions` tokens at `tap`: drafts by the lens, if there
    /// is one; or candidates by the model's own expectation and the secant search; or the plain scan, if the vocabulary is so
    /// small that nothing else pays. `bos` is the token that prompts begin with, if they do.
    pub fn auto(
        decoder: &Decoder,
        tap: Tap,
        positions: usize,
        lens: Option<Arc<Lens>>,
        bos: Option<u32>,
    ) -> Self {
        let config = decoder.config();
        let to_tap = flop_of_candidate(config, tap);
        let to_head =
            config.flops_per_token(Tap::FinalNorm) + 2.0 * (config.d_model * config.vocab_size) as f64;
        let needs_model = tap < Tap::Block(config.n_layers());
        let has_head = decoder.has_head();
        let prior = if needs_model && has_head { to_head / to_tap } else { 0.0 };
        let prior_cost = if prior > AUTO_FAR { PriorCost::Far } else { PriorCost::Near };
        let of_a_pass = candidates_of_a_pass(decoder, tap);
        let searching =
            AUTO_UNCALIBRATED + AUTO_ROUNDS * of_a_pass + prior + survey(config.vocab_size, positions);
        // On average a scan finds the token half-way through the vocabulary.
        let scanning = config.vocab_size as f64 / 2.0;
        // A pass over the prompt is one row for each position beside the fixed cost.
        let whole_pass = 1.0 + of_a_pass / positions.max(1) as f64;
        let drafting =
            lens.as_ref().map_or(f64::INFINITY, |lens| whole_pass * lens.passes(config, positions));
        let draft = lens.as_ref().map(|lens| {
            let right = 100.0 * lens.info().held_out_top_1;
            format!("lens {drafting:.1} (right at {right:.1} % of positions)")
        });
        let search = match has_head {
            true => format!("prior and secant {searching:.0}"),
            false => format!("secant {searching:.0} (the model has no head for a prior)"),
        };
        let scan = format!("scan {scanning:.0}");
        // The policy chosen comes first.
        let reason = |costs: [Option<String>; 3]| {
            let costs: Vec<String> = costs.into_iter().flatten().collect();
            let missing = if lens.is_none() { format!("; no lens for {tap}") } else { String::new() };
            format!("expected forward passes: {}{missing}", costs.join(", "))
        };
        let prior = has_head.then(|| Prior::new().beginning_with(bos));
        match &lens {
            Some(lens) if drafting <= searching.min(scanning) => PolicyChoice {
                policy: drafted(config.vocab_size, lens, prior.as_ref(), prior_cost),
                reason: reason([draft, Some(search), Some(scan)]),
            },
            _ if scanning <= searching => {
                PolicyChoice { policy: Policy::new(), reason: reason([Some(scan), draft, Some(search)]) }
            }
            _ => PolicyChoice {
                policy: searched(config.vocab_size, prior, prior_cost),
                reason: reason([Some(search), draft, Some(scan)]),
            },
        }
    }
}

/// The cost of the survey of a search, in forward passes of a prompt. It is made after the first position, once for all prompts.
fn survey(vocab_size: usize, positions: usize) -> f64 {
    match positions {
        0 | 1 => 0.0,
        _ => Secant::new().surveying(AUTO_SURVEY).surveyed(vocab_size) as f64 / positions as f64,
    }
}

/// The secant search alone, with the model's expectation if it has a head.
fn searched(vocab_size: usize, prior: Option<Prior>, prior_cost: PriorCost) -> Policy {
    let timing = match prior_cost {
        PriorCost::Near => PriorTiming::First,
        PriorCost::Far => PriorTiming::Fallback,
    };
    let secant = Secant::new().surveying(AUTO_SURVEY);
    Policy::new().then_up_to(
        vocab_size,
        match prior {
            Some(prior) => secant.expecting(prior, timing),
            None => secant,
        },
    )
}

/// Drafts by the lens, and repairs by turns of lens and prior, as [`ladder`] explains. A token that none of them knows after such
/// a prefix is found by tested candidates, which point to it among the lens's points or among embeddings.
///
/// Without a head there is no prior, and its turns are left out.
fn drafted(vocab_size: usize, lens: &Arc<Lens>, prior: Option<&Prior>, prior_cost: PriorCost) -> Policy {
    let mut policy = Policy::new();
    let drafts = policy.add(LensProposals::new(lens.clone()));
    let repeated = policy.add(Repeated);
    let expected = prior.map(|prior| policy.add(prior.clone()));
    let in_context = policy.add(LensInContext::new(lens.clone()));
    let secant = policy.add(Secant::new());
    let in_context_again = policy.add(LensInContext::new(lens.clone()));
    let expecting = policy.add(match prior {
        Some(prior) => Secant::new().expecting(prior.clone(), PriorTiming::First),
        None => Secant::new(),
    });
    let deep = (vocab_size / ladder::DEEPEST_SHARE).min(ladder::DEEPEST);

    let first = [(Some(drafts), ladder::LENS_FIRST), (Some(repeated), ladder::REPEATED)];
    let by_cost: &[_] = match prior_cost {
        PriorCost::Far => &[
            (Some(in_context), ladder::FAR_CONTEXT),
            (Some(drafts), ladder::FAR_LENS),
            (expected, ladder::FAR_PRIOR),
        ],
        PriorCost::Near => &[
            (expected, ladder::NEAR_PRIOR),
            (Some(in_context), ladder::NEAR_CONTEXT),
            (Some(drafts), ladder::NEAR_LENS),
            (expected, ladder::NEAR_PRIOR_AGAIN),
            (Some(drafts), ladder::NEAR_LENS_AGAIN),
        ],
    };
    let deeper = [
        (Some(secant), ladder::SECANT),
        (expected, deep / ladder::PRIOR_SHARE),
        (Some(in_context_again), ladder::CONTEXT_AGAIN),
        (Some(drafts), deep / ladder::LENS_SHARE),
        (expected, deep / ladder::PRIOR_SHARE_AGAIN),
        (Some(drafts), deep),
        (Some(expecting), vocab_size),
    ];
    for &(source, limit) in first.iter().chain(by_cost).chain(&deeper) {
        if let Some(source) = source {
            policy.turn(source, limit);
        }
    }
    policy
}
