//! States of a decoder that computes in a narrow format, inverted by one that computes in f32.

use burn::tensor::Device;

use crate::small::{FAMILIES, invert, random};
use inject_sipit::{
    Acceptance, Inverter, NoiseOrigin, Policy, Settings, TargetStates, Verdict,
    models::{Decoder, FloatFormat, NumberFormat, Tap, silent},
    settings::ComputedIn,
    with_weights_of_producer,
};

const PROMPT: [u32; 10] = [5, 96, 5, 0, 41, 7, 7, 63, 12, 30];

#[test]
fn states_computed_in_16_bits_need_no_option() {
    let (mut positions, mut verified) = (0, 0);
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = random(case, 31, &device);
            for format in [FloatFormat::Bf16, FloatFormat::F16] {
                let producer = decoder.clone().computing_in(format);
                for tap in [Tap::Block(1), Tap::Block(decoder.config().n_layers()), Tap::FinalNorm] {
                    let target = TargetStates::of_prompt(&producer, tap, &PROMPT).unwrap();
                    let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
                    for (position, truth) in inversion.positions.iter().zip(PROMPT) {
                        let right = position.token_id() == Some(truth);
                        assert!(
                            right || !position.verdict.is_verified(),
                            "{case}, {format}, {tap}: {position:?}"
                        );
                        verified += usize::from(position.verdict.is_verified());
                        positions += 1;
                    }
                    assert!(inversion.positions.iter().any(|p| p.noise() == Some(NoiseOrigin::Producer)));
                    // What is estimated is not estimated against the user's word.
                    let exact = Settings::new().with_computed_in(ComputedIn::Format(FloatFormat::F32.into()));
                    let stated = Settings::new().with_acceptance(Acceptance::NoiseFloor { added: 1e-9 });
                    for settings in [exact, stated] {
                        let inversion = invert(&decoder, &target, &Policy::new(), settings).unwrap();
                        assert_eq!(
                            inversion.positions[0].verdict,
                            Verdict::Failed,
                            "{case}, {format}, {tap}"
                        );
                    }
                }
            }
        }
    }
    // Models with random weights hold some tokens closer together than 16 bits tell apart.
    assert!(100 * verified >= 95 * positions, "{verified} of {positions}");
}

#[test]
fn weights_rounded_as_the_producer_rounded_them_are_recognised() {
    let mut recognised = 0;
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = random(case, 31, &device);
            let tap = Tap::Block(decoder.config().n_layers());
            let in_4_bits = |format: NumberFormat| decoder.clone().with_weights_in(format).unwrap();
            let computed = |producer: Decoder| {
                TargetStates::of_prompt(&producer.computing_in(FloatFormat::Bf16), tap, &PROMPT).unwrap()
            };
            let settings = Settings::new().with_computed_in(ComputedIn::Format(NumberFormat::Nf4));
            let found = |target: &TargetStates, settings: &Settings| {
                with_weights_of_producer(&decoder, target, settings, None).unwrap()
            };
            let target = computed(in_4_bits(NumberFormat::Nf4));
            if let Some(rounded) = found(&target, &settings) {
                recognised += 1;
                let inversion = invert(&rounded, &target, &Policy::new(), Settings::new()).unwrap();
                for (position, truth) in inversion.positions.iter().zip(PROMPT) {
                    let right = position.token_id() == Some(truth);
                    assert!(right || !position.verdict.is_verified(), "{case}: {position:?}");
                }
            }
            // Other weights are not taken for these, and nothing is rounded unasked.
            assert!(found(&computed(decoder.clone()), &settings).is_none(), "{case}");
            assert!(found(&computed(in_4_bits(NumberFormat::Fp4)), &settings).is_none(), "{case}");
            assert!(found(&target, &Settings::new()).is_none(), "{case}");
        }
    }
    assert!(recognised > 0);
}

#[test]
fn rounded_weights_give_the_noise_of_the_full_ones() {
    let format = NumberFormat::Int4;
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let full = random(case, 31, &device);
            let tap = Tap::Block(full.config().n_layers());
            let rounded = full.clone().with_weights_in(format).unwrap();
            let noise = |decoder: &Decoder, format: NumberFormat| {
                let inverter = Inverter::new(decoder, tap, Settings::new()).unwrap();
                inverter.calibration(format).unwrap().unwrap().relative()[1]
            };
            let (forth, back) = (noise(&full, format), noise(&rounded, format));
            // Rounding the rounded weights in the same way again would leave the noise of bf16.
            assert!(back > 0.5 * forth && back < 3.0 * forth, "{case}: {forth} and {back}");
            assert!(back > 2.0 * noise(&rounded, FloatFormat::Bf16.into()), "{case}");
        }
    }
}

#[test]
fn a_calibration_counts_for_the_prompt_that_needed_it() {
    let device = Device::flex();
    let decoder = random(FAMILIES[0], 31, &device);
    let producer = decoder.clone().computing_in(FloatFormat::Bf16);
    let target = TargetStates::of_prompt(&producer, Tap::Block(1), &PROMPT).unwrap();
    let inverter = Inverter::new(&decoder, Tap::Block(1), Settings::new()).unwrap();
    let policy = Policy::new();
    let stages = || {
        let inversion = inverter.invert(&target, &mut inverter.searcher(&policy), &mut silent).unwrap();
        inversion.cost.stages().clone()
    };
    assert!(stages()["calibration"].states > 0);
    assert!(!stages().contains_key("calibration"));
}
