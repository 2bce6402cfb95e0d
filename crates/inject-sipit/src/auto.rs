//! The policy that is expected to cost least.

use std::sync::Arc;

use inject_collisions::{Decoder, Tap};

use crate::{Asked, Lens, LensInContext, LensProposals, Policy, Prior, Repeated, Secant};

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

/// Costs of a token up to the head, in costs of one up to the tap, from which on the prior is asked only where it is needed.
const FAR: f64 = 4.0;

/// Share of a forward pass that repairing a missed draft takes.
const REPAIR: f64 = 0.5;

impl Choice {
    /// Chooses for prompts of `positions` tokens at `tap`: drafts by the lens if there is one, else candidates by the model's
    /// own expectation and the secant search, or the plain scan where the vocabulary is so small that nothing else pays.
    /// `bos` is the token that prompts begin with, if they do.
    pub fn auto(
        decoder: &Decoder,
        tap: Tap,
        positions: usize,
        lens: Option<Arc<Lens>>,
        bos: Option<u32>,
    ) -> Self {
        let config = decoder.config();
        let to_tap = config.flops_per_token(tap).max(1.0);
        let to_head =
            config.flops_per_token(Tap::FinalNorm) + 2.0 * (config.d_model * config.vocab_size) as f64;
        // On average the token is found half-way through the vocabulary.
        let scan = config.vocab_size as f64 / 2.0;
        let needs_model = tap < Tap::Block(config.n_layers());
        let prior = if needs_model { to_head / to_tap } else { 0.0 };
        let uncalibrated = UNCALIBRATED + prior;
        // Its clones go through the model together.
        let expected = Prior::up_to(1).beginning_with(bos);
        if let Some(lens) = lens {
            let about = lens.about();
            let draft = 2.0 * (about.rank * config.vocab_size) as f64 / to_tap;
            let misses = (1.0 - about.held_out_top_1) * positions as f64;
            let drafted = 1.0 + draft + misses * REPAIR;
            let reason = format!(
                "lens (right at {:.1} % of positions): about {drafted:.1} forward passes; without it about {:.0}, by scanning \
                 about {scan:.0}",
                100.0 * about.held_out_top_1,
                uncalibrated.min(scan)
            );
            let deep = (config.vocab_size / 6).min(8192);
            // What the lens has not among its first is in most cases among the first hundred of either the lens or the prior, and far back in
            // the other; so both are asked for more in turn. Or it is a token that none of them knows behind such a prefix: tested candidates
            // point to it, among the lens's points or among embeddings, to the end of the vocabulary.
            let in_context = |limit: usize| LensInContext::new(lens.clone(), limit);
            let drafts = LensProposals::new(lens.clone());
            let lens = |limit: usize| drafts.clone().up_to(limit);
            let prior = |limit: usize| expected.clone().limited_to(limit);
            let policy = Policy::new()
                .then(lens(24))
                .then(Repeated::up_to(8))
                .then(prior(32))
                .then(in_context(256))
                .then(lens(64))
                .then(prior(64))
                .then(lens(256))
                .then(Secant::up_to(192))
                .then(prior(deep / 32))
                .then(in_context(2048))
                .then(lens(deep / 8))
                .then(prior(deep / 4))
                .then(lens(deep))
                .then(Secant::up_to(config.vocab_size).expecting(expected.clone(), Asked::AtOnce));
            return Choice { policy, reason };
        }
        if scan <= uncalibrated {
            let reason =
                format!("scan: about {scan:.0} forward passes; by prior and secant about {uncalibrated:.0}");
            return Choice { policy: Policy::new(), reason };
        }
        let reason = format!(
            "no lens for {tap}; prior and secant: about {uncalibrated:.0} forward passes; by scanning about {scan:.0}"
        );
        let asked = if prior > FAR { Asked::WhereMemoryFails } else { Asked::AtOnce };
        let secant = Secant::up_to(config.vocab_size).surveying(SURVEY).expecting(expected, asked);
        let policy = Policy::new().then(secant);
        Choice { policy, reason }
    }
}
