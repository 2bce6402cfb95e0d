//! What a prompt costs that a lens drafts.

use inject_collisions::{DecoderConfig, Tap};

use super::Lens;

/// How far down a list a token still counts as listed.
pub(super) const SHORTLIST: usize = 16;

/// A wrong token costs this share of a forward pass: part of another draft.
const MISS: f64 = 0.5;

/// A token that is not even on the shortlist costs so many more: other sources search for it.
const UNLISTED: f64 = 2.0;

/// What decides the cost of drafts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) rank: usize,
    /// Whether the prior's product with all tokens is added to the codebook's.
    pub(super) with_prior: bool,
    /// Share of positions at which the true token ranks first.
    pub(super) top_1: f64,
    /// The same among the [`SHORTLIST`].
    pub(super) top_16: f64,
}

/// What reading back and comparing one coordinate of a state takes, in floating-point operations of a matrix product: 1.6 ns on two cores
/// that do 200 in a nanosecond. It counts where little else is computed, at the embedding.
const COMPARING: f64 = 320.0;

/// Floating-point operations of one candidate: up to the tap, and comparing its state.
pub(crate) fn flop_of_candidate(config: &DecoderConfig, tap: Tap) -> f64 {
    config.flops_per_token(tap) + COMPARING * config.d_model as f64
}

impl Reading {
    /// Forward passes to `tap` that a prompt of so many positions is expected to take: one over the draft, the products with all tokens, and
    /// the repairs.
    pub(super) fn passes(&self, config: &DecoderConfig, tap: Tap, positions: usize) -> f64 {
        let width = self.rank + if self.with_prior { config.d_model } else { 0 };
        let products = 2.0 * (width * config.vocab_size) as f64 / flop_of_candidate(config, tap);
        let repairs = MISS * (1.0 - self.top_1) + UNLISTED * (1.0 - self.top_16);
        1.0 + products + positions as f64 * repairs
    }
}

impl Lens {
    /// Forward passes that a prompt of so many positions is expected to take with this lens.
    pub(crate) fn passes(&self, config: &DecoderConfig, positions: usize) -> f64 {
        let about = self.about();
        let reading = Reading {
            rank: about.rank,
            with_prior: self.prior.is_some(),
            top_1: about.held_out_top_1,
            top_16: about.held_out_top_16,
        };
        reading.passes(config, about.tap, positions)
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use inject_collisions::{Model, Origin, Precision};

    use super::*;
    use crate::{Choice, FirstPosition, LensBuilder};

    #[test]
    fn a_lens_is_worth_as_much_as_it_was_right_on_text_it_had_not_seen() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/gpt2");
        let device = inject_testing::compiled().remove(0);
        let model = Model::load(Origin::of_folder(&fixture), Precision::F32, &device).unwrap();
        let (decoder, config) = (&model.decoder, model.decoder.config());
        let tap = Tap::Block(2);
        let text = (0..24).map(|i| (0..16).map(|p| (i * 31 + p * p * 7 + p) % 97).collect()).collect();
        let first = FirstPosition::Any;
        let builder = LensBuilder { taps: vec![tap], prefixes: vec![vec![5, 6]], text, first };
        let built = builder.build(decoder, "hash", &mut |_| ()).unwrap().remove(0);
        let after = |top_1, top_16| {
            let mut lens = built.clone();
            (lens.about.held_out_top_1, lens.about.held_out_top_16) = (top_1, top_16);
            let passes = lens.passes(config, 64);
            (passes, Choice::auto(decoder, tap, 64, Some(Arc::new(lens)), None))
        };

        let (one_pass, chosen) = after(1.0, 1.0);
        assert!(chosen.policy.to_string().starts_with("lens"), "{chosen:?}");
        let width = built.about.rank + if built.prior.is_some() { config.d_model } else { 0 };
        let products = 2.0 * (width * 97) as f64 / flop_of_candidate(config, tap);
        assert!((one_pass - (1.0 + products)).abs() < 1e-12, "{one_pass}");
        // Half of 64 wrong, each half a pass; a quarter to be searched for, each two passes.
        let (repaired, _) = after(0.5, 0.75);
        assert!((repaired - one_pass - (16.0 + 32.0)).abs() < 1e-12, "{repaired}");

        // To scan 97 tokens is cheaper than to follow such a lens, and the user is told.
        let (_, chosen) = after(0.0, 0.0);
        assert_eq!(chosen.policy.to_string(), "scan");
        let said = ["scan: about 48", "lens (right at 0.0 % of positions): about", "prior and secant"];
        assert!(said.iter().all(|part| chosen.reason.contains(part)), "{chosen:?}");
    }
}
