//! The policy that is expected to cost least.

use std::sync::Arc;

use inject_collisions::models::{Decoder, Tap};

use crate::{
    Asked, Lens, LensInContext, LensProposals, Policy, Prior, Repeated, Secant, lens::flop_of_candidate,
};

/// A policy, and why it was chosen.
#[derive(Debug)]
pub struct Choice {
    /// The policy.
    pub policy: Policy,
    /// The reason, for the user: what was compared, in forward passes of the prompt.
    pub reason: String,
}

/// Candidates a position takes without calibration: what the prior and the secant search need on ordinary text.
const UNCALIBRATED: f64 = 64.0;

/// Tokens by which the secant search learns a model. With 1024 of them twice as many positions of block 1 of SmolLM2-135M remain to be
/// searched.
const SURVEY: usize = 2048;

/// Costs of a token up to the head, in costs of one up to the tap, from which on the prior is asked only where cheaper sources fail.
const FAR: f64 = 4.0;

impl Choice {
    /// Chooses what is expected to cost least for prompts of `positions` tokens at `tap`: drafts by the lens, if there is one, or candidates
    /// by the model's own expectation and the secant search, or the plain scan where the vocabulary is so small that nothing
    /// else pays. `bos` is the token that prompts begin with, if they do.
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
        let prior = if needs_model { to_head / to_tap } else { 0.0 };
        let far = prior > FAR;
        let searching = UNCALIBRATED + prior;
        // On average the token is found half-way through the vocabulary.
        let scanning = config.vocab_size as f64 / 2.0;
        let drafting = lens.as_ref().map_or(f64::INFINITY, |lens| lens.passes(config, positions));
        let with_lens = lens.as_ref().map_or_else(
            || format!("no lens for {tap}"),
            |lens| {
                let right = 100.0 * lens.about().held_out_top_1;
                format!("lens (right at {right:.1} % of positions): about {drafting:.1} forward passes")
            },
        );
        let [search, scan] = [("prior and secant", searching), ("scan", scanning)]
            .map(|(name, passes)| format!("{name}: about {passes:.0}"));
        // Its clones go through the model together.
        let expected = Prior::up_to(1).beginning_with(bos);
        match lens {
            Some(lens) if drafting <= searching.min(scanning) => Choice {
                policy: drafted(config.vocab_size, &lens, &expected, far),
                reason: format!("{with_lens}; {search}; {scan}"),
            },
            _ if scanning <= searching => Choice {
                policy: Policy::new(),
                reason: format!("{scan} forward passes; {with_lens}; {search}"),
            },
            _ => {
                let asked = if far { Asked::WhereMemoryFails } else { Asked::AtOnce };
                let secant = Secant::up_to(config.vocab_size).surveying(SURVEY).expecting(expected, asked);
                Choice {
                    policy: Policy::new().then(secant),
                    reason: format!("{search} forward passes; {with_lens}; {scan}"),
                }
            }
        }
    }
}

/// Drafts by the lens, and repairs. What the lens has not among its first is in most cases among the first hundred of either the lens or
/// the prior, and far back in the other; so both are asked for more in turn. Or it is a token that none of them knows behind such a
/// prefix: tested candidates point to it, among the lens's points or among embeddings, to the end of the vocabulary. `far` is whether the
/// prior costs so much that those are asked before it.
fn drafted(vocab_size: usize, lens: &Arc<Lens>, expected: &Prior, far: bool) -> Policy {
    let deep = (vocab_size / 6).min(8192);
    let in_context = |limit: usize| LensInContext::new(lens.clone(), limit);
    let drafts = LensProposals::new(lens.clone());
    let lens = |limit: usize| drafts.clone().up_to(limit);
    let prior = |limit: usize| expected.clone().limited_to(limit);
    let first = Policy::new().then(lens(24)).then(Repeated::up_to(8));
    let second = match far {
        true => first.then(in_context(512)).then(lens(256)).then(prior(64)),
        false => first.then(prior(32)).then(in_context(256)).then(lens(64)).then(prior(64)).then(lens(256)),
    };
    second
        .then(Secant::up_to(192))
        .then(prior(deep / 32))
        .then(in_context(2048))
        .then(lens(deep / 8))
        .then(prior(deep / 4))
        .then(lens(deep))
        .then(Secant::up_to(vocab_size).expecting(expected.clone(), Asked::AtOnce))
}
