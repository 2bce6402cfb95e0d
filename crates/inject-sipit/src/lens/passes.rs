//! The expected cost of a prompt that a lens drafts.

use crate::{
    models::{Decoder, DecoderConfig, Tap},
    tuning::{
        FLOP_OF_A_BYTE, FLOP_OF_A_BYTE_ON_DISK, FLOP_OF_A_RESTORED_BYTE, FLOP_OF_COMPARING, PASSES_OF_A_MISS,
        PASSES_OF_AN_UNLISTED,
    },
};

use super::Lens;

/// The properties of a lens that determine the cost of its drafts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) rank: usize,
    /// Whether the prior is used, which requires one more product with all tokens.
    pub(super) with_prior: bool,
    /// The share of positions at which the true token ranks first.
    pub(super) top_1: f64,
    /// The share of positions at which the true token is on the short list.
    pub(super) top_16: f64,
}

/// Returns the floating-point operations of computing one candidate up to the tap and of comparing its state.
pub(crate) fn flop_of_candidate(config: &DecoderConfig, tap: Tap) -> f64 {
    config.flops_per_token(tap) + FLOP_OF_COMPARING * config.d_model as f64
}

/// Returns the candidates whose computation takes as long as the fixed cost of a pass up to the tap: reading the weights, and
/// restoring those that are codes.
///
/// It is counted and not timed, so that the same model is searched in the same way on every run.
pub(crate) fn candidates_of_a_pass(decoder: &Decoder, tap: Tap) -> f64 {
    let bytes = decoder.bytes_of_a_pass(tap);
    let reading = FLOP_OF_A_BYTE * bytes.from_memory as f64 + FLOP_OF_A_BYTE_ON_DISK * bytes.from_disk as f64;
    let flop = reading + FLOP_OF_A_RESTORED_BYTE * bytes.restored as f64;
    flop / flop_of_candidate(decoder.config(), tap)
}

impl Reading {
    /// Returns the expected forward passes to `tap` for a prompt of `positions` tokens: one over the draft, the products with all
    /// tokens, and the repairs.
    pub(super) fn passes(&self, config: &DecoderConfig, tap: Tap, positions: usize) -> f64 {
        let width = self.rank + if self.with_prior { config.d_model } else { 0 };
        let products = 2.0 * (width * config.vocab_size) as f64 / flop_of_candidate(config, tap);
        let repairs = PASSES_OF_A_MISS * (1.0 - self.top_1) + PASSES_OF_AN_UNLISTED * (1.0 - self.top_16);
        1.0 + products + positions as f64 * repairs
    }
}

impl Lens {
    /// Returns the expected forward passes for a prompt of `positions` tokens with this lens.
    pub(crate) fn passes(&self, config: &DecoderConfig, positions: usize) -> f64 {
        let info = self.info();
        let reading = Reading {
            rank: info.rank,
            with_prior: self.prior.is_some(),
            top_1: info.held_out_top_1,
            top_16: info.held_out_top_16,
        };
        reading.passes(config, info.tap, positions)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        lens::{FirstPosition, LensBuilder},
        models::{FloatFormat, Hold, Model, Origin, Precision, silent},
        policy::PolicyChoice,
    };

    #[test]
    fn the_fixed_cost_of_a_pass_is_that_of_reading_its_weights() {
        let device = inject_testing::any_device();
        let decoder = inject_testing::models::model("gpt2", &device).decoder;
        let tap = Tap::Block(2);
        // Four bytes a weight, and two operations of a candidate for each.
        let flop = decoder.config().flops_per_token(tap);
        let expected = 2.0 * flop * FLOP_OF_A_BYTE / flop_of_candidate(decoder.config(), tap);
        assert!((candidates_of_a_pass(&decoder, tap) - expected).abs() < 1e-9);
    }

    /// One of 8 bits costs a quarter of the reading, and restoring its numbers costs more than that.
    #[test]
    fn restoring_codes_is_a_part_of_the_fixed_cost() {
        let device = inject_testing::any_device();
        let of = |hold: Hold| {
            let folder = inject_testing::models::folder("quantised/int8");
            let precision = Precision::new(hold, FloatFormat::F32);
            let model = Model::load(Origin::of_folder(&folder), precision, &device).unwrap();
            candidates_of_a_pass(&model.decoder, Tap::Block(1))
        };
        let (codes, numbers) = (of(Hold::Stored), of(Hold::Computed));
        let expected = 0.25 + FLOP_OF_A_RESTORED_BYTE / FLOP_OF_A_BYTE;
        assert!((codes / numbers - expected).abs() < 1e-9, "{codes} {numbers}");
    }

    #[test]
    fn a_lens_is_worth_as_much_as_it_was_right_on_text_it_had_not_seen() {
        let device = inject_testing::any_device();
        let model = inject_testing::models::model("gpt2", &device);
        let (decoder, config) = (&model.decoder, model.decoder.config());
        let tap = Tap::Block(2);
        let text = (0..24).map(|i| (0..16).map(|p| (i * 31 + p * p * 7 + p) % 97).collect()).collect();
        let first = FirstPosition::Any;
        let builder = LensBuilder::new(vec![tap], vec![vec![5, 6]], text, first);
        let built = builder.build(decoder, "hash", &mut silent).unwrap().remove(0);
        let after = |top_1, top_16| {
            let mut lens = built.clone();
            (lens.info.held_out_top_1, lens.info.held_out_top_16) = (top_1, top_16);
            let passes = lens.passes(config, 64);
            (passes, PolicyChoice::auto(decoder, tap, 64, Some(Arc::new(lens)), None))
        };

        let (one_pass, chosen) = after(1.0, 1.0);
        assert!(chosen.policy.to_string().starts_with("lens"), "{chosen:?}");
        let width = built.info.rank + if built.prior.is_some() { config.d_model } else { 0 };
        let products = 2.0 * (width * 97) as f64 / flop_of_candidate(config, tap);
        assert!((one_pass - (1.0 + products)).abs() < 1e-12, "{one_pass}");
        // Half of 64 tokens are wrong and cost half a pass each. A quarter has to be searched for, which costs two passes each.
        let (repaired, _) = after(0.5, 0.75);
        assert!((repaired - one_pass - (16.0 + 32.0)).abs() < 1e-12, "{repaired}");

        // Scanning 97 tokens is cheaper than following such a lens, and the description of the policy says so.
        let (_, chosen) = after(0.0, 0.0);
        assert_eq!(chosen.policy.to_string(), "scan");
        let expected =
            ["expected forward passes: scan 48, lens ", " (right at 0.0 % of positions), prior and secant "];
        assert!(expected.iter().all(|part| chosen.reason.contains(part)), "{chosen:?}");
    }
}
