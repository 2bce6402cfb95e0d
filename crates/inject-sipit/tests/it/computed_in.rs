//! States of a decoder that computes in a narrow format, inverted by one that computes in f32.

use std::collections::HashSet;

use burn::tensor::{Device, Tensor};

use crate::{
    small::{FAMILIES, invert, of_vocabulary, random, random_decoders, with_equal_rows},
    sources::{Simple, SimplePolicy},
};
use inject_sipit::{
    Acceptance, Inversion, InvertError, Inverter, NoiseOrigin, Policy, Producer, Settings, TargetStates,
    Verdict,
    collisions::{distance, norm},
    models::{Decoder, FloatFormat, Matrix, NumberFormat, Progress, Tap, silent},
    ndarray::s,
    settings::ComputedIn,
    sources::{Draft, OpenPosition, Provisional},
};

const PROMPT: [u32; 10] = [5, 96, 5, 0, 41, 7, 7, 63, 12, 30];

#[test]
fn states_computed_in_16_bits_need_no_option() {
    let (mut positions, mut verified) = (0, 0);
    for (case, decoder) in random_decoders(31) {
        for format in [FloatFormat::Bf16, FloatFormat::F16] {
            let producer = decoder.clone().computing_in(format);
            for tap in [Tap::Block(1), Tap::Block(decoder.config().n_layers()), Tap::FinalNorm] {
                let target = TargetStates::of_prompt(&producer, tap, &PROMPT).unwrap();
                let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
                assert_honest(&inversion, &format!("{case}, {format}, {tap}"));
                verified += inversion.positions.iter().filter(|p| p.verdict.is_verified()).count();
                positions += PROMPT.len();
                assert!(inversion.positions.iter().any(|p| p.noise() == Some(NoiseOrigin::Producer)));
                // What is estimated is not estimated against the user's word.
                let exact = Settings::new().with_computed_in(ComputedIn::Format(FloatFormat::F32.into()));
                let stated = Settings::new().with_acceptance(Acceptance::NoiseFloor { added: 1e-9 });
                for settings in [exact, stated] {
                    let inversion = invert(&decoder, &target, &Policy::new(), settings).unwrap();
                    assert_eq!(inversion.positions[0].verdict, Verdict::Failed, "{case}, {format}, {tap}");
                }
            }
        }
    }
    // Models with random weights hold some tokens closer together than 16 bits can distinguish.
    assert!(100 * verified >= 95 * positions, "{verified} of {positions}");
}

/// The states of a producer that computes in bf16.
fn produced(producer: Decoder, tap: Tap) -> TargetStates {
    TargetStates::of_prompt(&producer.computing_in(FloatFormat::Bf16), tap, &PROMPT).unwrap()
}

/// Asserts that no token is verified that is not the right one.
fn assert_honest(inversion: &Inversion, context: &str) {
    for (position, truth) in inversion.positions.iter().zip(PROMPT) {
        let right = position.token_id() == Some(truth);
        assert!(right || !position.verdict.is_verified(), "{context}: {position:?}");
    }
}

#[test]
fn weights_rounded_as_the_producer_rounded_them_are_recognised() {
    let mut recognised = 0;
    for (case, decoder) in random_decoders(31) {
        let tap = Tap::Block(decoder.config().n_layers());
        let in_4_bits = |format: NumberFormat| decoder.clone().with_weights_in(format).unwrap();
        let settings = Settings::new().with_computed_in(ComputedIn::Format(NumberFormat::Nf4));
        let found = |target: &TargetStates, settings: &Settings| {
            let inversion = invert(&decoder, target, &Policy::new(), settings.clone()).unwrap();
            assert_honest(&inversion, case);
            inversion.producer
        };
        let target = produced(in_4_bits(NumberFormat::Nf4), tap);
        let as_rounded = Some(Producer::RoundedWeights(NumberFormat::Nf4));
        recognised += usize::from(found(&target, &settings) == as_rounded);
        // Other weights are not taken for these.
        let noise = Some(Producer::Noise(NumberFormat::Nf4));
        assert_eq!(found(&produced(decoder.clone(), tap), &settings), noise, "{case}");
        assert_eq!(found(&produced(in_4_bits(NumberFormat::Fp4), tap), &settings), noise, "{case}");
    }
    assert!(recognised > 0);
}

#[test]
fn states_of_rounded_weights_need_no_option() {
    let formats = [
        NumberFormat::Int8,
        NumberFormat::Q8_0,
        NumberFormat::Int4,
        NumberFormat::Nf4,
        NumberFormat::Q4_0,
        NumberFormat::Q4_1,
    ];
    let mut recovered = HashSet::new();
    for (case, decoder) in random_decoders(31) {
        let tap = Tap::Block(decoder.config().n_layers());
        for format in formats {
            let target = produced(decoder.clone().with_weights_in(format).unwrap(), tap);
            let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
            assert_honest(&inversion, case);
            if inversion.producer == Some(Producer::RoundedWeights(format)) {
                assert_eq!(inversion.token_ids(), PROMPT, "{case}, {format}: {inversion:?}");
                if inversion.is_verified() {
                    recovered.insert(format);
                }
            }
            // Whoever says that nothing was rounded gets what the weights given explain.
            let stated = Settings::new().with_computed_in(ComputedIn::Format(FloatFormat::Bf16.into()));
            let inversion = invert(&decoder, &target, &Policy::new(), stated).unwrap();
            assert_eq!(inversion.producer, Some(Producer::Noise(FloatFormat::Bf16.into())));
        }
    }
    // 8 bits may lie within the noise of 16.
    assert!(
        formats.iter().filter(|format| format.bits() == 4).all(|format| recovered.contains(format)),
        "{recovered:?}"
    );
}

#[test]
fn directions_of_states_of_rounded_weights_need_no_option() {
    let mut recovered = HashSet::new();
    let formats = [NumberFormat::Nf4, NumberFormat::Q4_0, NumberFormat::Int4];
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = random(case, 31, &device);
            let tap = Tap::Block(decoder.config().n_layers());
            for format in formats {
                let produced = produced(decoder.clone().with_weights_in(format).unwrap(), tap);
                let mut states = produced.states().to_owned();
                for mut state in states.outer_iter_mut() {
                    let length = norm(&state.to_vec());
                    state.mapv_inplace(|value| f64::from((value / length) as f32));
                }
                let unit = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
                let inversion = invert(&decoder, &unit, &Policy::new(), Settings::new()).unwrap();
                assert_honest(&inversion, case);
                let as_rounded = inversion.producer == Some(Producer::RoundedWeights(format));
                if as_rounded && inversion.is_verified() {
                    recovered.insert(format);
                }
            }
        }
    }
    assert_eq!(recovered.len(), formats.len(), "{recovered:?}");
}

#[test]
fn states_computed_in_16_bits_after_given_tokens_need_no_option() {
    for device in inject_testing::compiled() {
        let decoder = random("llama", 31, &device);
        for (format, stored) in [
            (FloatFormat::Bf16, FloatFormat::Bf16),
            (FloatFormat::F16, FloatFormat::F32),
            (FloatFormat::Bf16, FloatFormat::F64),
        ] {
            let tap = Tap::Block(2);
            let whole = TargetStates::of_prompt(&decoder.clone().computing_in(format), tap, &PROMPT).unwrap();
            let mut last = whole.states().slice(s![4.., ..]).to_owned();
            if stored == FloatFormat::F64 {
                // Summed in more than 16 bits at last, so that they lie on no grid.
                last.iter_mut()
                    .enumerate()
                    .for_each(|(i, value)| *value *= 1.0 + 1e-3 * (i as f64 * 12.9898).sin());
            }
            let target = TargetStates::new(last, tap, stored).unwrap().after(&decoder, &PROMPT[..4]).unwrap();
            let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
            assert_honest(&inversion, format.name());
            assert_eq!(inversion.token_ids(), PROMPT, "{format} in {stored}: {inversion:?}");
        }
    }
}

#[test]
fn known_roundings_are_tried_before_the_whole_vocabulary_is_tested() {
    let vocab_size = 8192;
    for decoder in inject_testing::on_each(|device| of_vocabulary("llama", vocab_size, 31, device)) {
        let tap = Tap::Block(decoder.config().n_layers());
        let target = produced(decoder.clone().with_weights_in(NumberFormat::Nf4).unwrap(), tap);
        let (inverter, policy) = (Inverter::new(&decoder, tap, Settings::new()).unwrap(), Policy::new());
        let mut most: f64 = 0.0;
        let mut watch = |progress: Progress<'_>| {
            // The search for another tap tests tokens too.
            if progress.task == "recover" {
                most = most.max(progress.part);
            }
        };
        let inversion = inverter.invert(&target, &mut inverter.searcher(&policy), &mut watch).unwrap();
        assert_eq!(inversion.producer, Some(Producer::RoundedWeights(NumberFormat::Nf4)), "{inversion:?}");
        assert_eq!(inversion.token_ids(), PROMPT, "{inversion:?}");
        assert!((0.5..0.7).contains(&most), "{most}");
    }
}

#[test]
fn rounded_weights_are_recognised_in_states_of_no_16_bit_grid() {
    let format = NumberFormat::Q4_0;
    for (case, decoder) in random_decoders(31) {
        let tap = Tap::Block(decoder.config().n_layers());
        let target = produced(decoder.clone().with_weights_in(format).unwrap(), tap);
        // A program that sums in more than 16 bits, and rounds what it multiplies.
        let mut states = target.states().to_owned();
        for (i, value) in states.iter_mut().enumerate() {
            *value *= 1.0 + 1e-3 * (i as f64 * 12.9898).sin();
        }
        let target = TargetStates::new(states, tap, FloatFormat::F64).unwrap();
        let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
        assert_eq!(inversion.producer, Some(Producer::RoundedWeights(format)), "{case}: {inversion:?}");
        assert_eq!(inversion.token_ids(), PROMPT, "{case}: {inversion:?}");
    }
}

#[test]
fn a_rounding_that_explains_the_first_two_states_alone_is_dropped() {
    let mut dropped = Vec::new();
    for (case, decoder) in random_decoders(31) {
        let tap = Tap::Block(decoder.config().n_layers());
        let rounded = |format| produced(decoder.clone().with_weights_in(format).unwrap(), tap);
        let (first, mut states) =
            (rounded(NumberFormat::Q4_0), rounded(NumberFormat::Nf4).states().to_owned());
        // Farther from the first states than noise of 16 bits usually is.
        for (i, (to, from)) in states.iter_mut().zip(first.states()).take(2 * first.d_model()).enumerate() {
            *to = from * (1.0 + 0.03 * (i as f64 * 12.9898).sin());
        }
        let target = TargetStates::new(states, tap, FloatFormat::F64).unwrap();
        let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
        assert_honest(&inversion, case);
        if inversion.producer == Some(Producer::Noise(NumberFormat::Int4)) {
            dropped.push(case);
        }
    }
    // In the others nothing explains the first two states.
    println!("dropped {dropped:?}");
    assert!(!dropped.is_empty());
}

#[test]
fn noise_of_4_bits_does_not_explain_states_of_16_bits_without_a_row() {
    for (case, decoder) in random_decoders(31) {
        for tap in [Tap::Block(decoder.config().n_layers()), Tap::FinalNorm] {
            let whole = produced(decoder.clone(), tap);
            let rows: Vec<usize> = (0..PROMPT.len()).filter(|&row| row != 1).collect();
            let states = whole.states().select(ndarray::Axis(0), &rows);
            let target = TargetStates::new(states, tap, FloatFormat::Bf16).unwrap();
            let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
            let noise = Some(Producer::Noise(FloatFormat::Bf16.into()));
            assert_eq!(inversion.producer, noise, "{case}, {tap}: {inversion:?}");
        }
    }
}

#[test]
fn states_of_another_model_fail_whatever_the_rounding() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let (decoder, other) = (random(case, 31, &device), random(case, 32, &device));
            let tap = Tap::Block(decoder.config().n_layers());
            let mut random_states = produced(other.clone(), tap).states().to_owned();
            for (i, value) in random_states.iter_mut().enumerate() {
                *value = FloatFormat::Bf16.round((i as f64 * 12.9898).sin() * 43_758.545_3 % 1.0);
            }
            let random_states = TargetStates::new(random_states, tap, FloatFormat::Bf16).unwrap();
            for target in [produced(other, tap), random_states] {
                let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
                assert!(
                    inversion.positions.iter().all(|p| !p.verdict.is_verified()),
                    "{case}: {inversion:?}"
                );
                // Each width is measured once, and the candidates of trials are not counted as those of the prompt.
                assert!(inversion.cost.candidates() <= 2 * decoder.config().vocab_size, "{case}");
            }
        }
    }
}

#[test]
fn what_one_prompt_told_of_the_weights_holds_for_the_next() {
    let (device, policy, mut rounded) = (Device::flex(), Policy::new(), 0);
    for case in FAMILIES {
        let decoder = random(case, 31, &device);
        let tap = Tap::Block(decoder.config().n_layers());
        let target = produced(decoder.clone().with_weights_in(NumberFormat::Int4).unwrap(), tap);
        let inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
        let invert = |target| inverter.invert(target, &mut inverter.searcher(&policy), &mut silent).unwrap();
        let (first, second) = (invert(&target), invert(&target));
        assert_eq!((first.producer, &first.positions), (second.producer, &second.positions), "{case}");
        if first.producer != Some(Producer::RoundedWeights(NumberFormat::Int4)) {
            continue;
        }
        rounded += 1;
        let calibration = |inversion: &Inversion| inversion.cost.stages()["calibration"].states;
        assert!(calibration(&second) < calibration(&first), "{case}");
        // A prompt of the weights given is recovered by these.
        let given = TargetStates::of_prompt(&decoder, tap, &PROMPT).unwrap();
        let inversion = invert(&given);
        assert_eq!((inversion.token_ids(), inversion.producer), (PROMPT.to_vec(), None), "{case}");
        // What was inferred does not explain rows that are missing.
        let rows = given.states().select(ndarray::Axis(0), &[0, 2, 4, 6, 8]);
        let inversion = invert(&TargetStates::new(rows, tap, FloatFormat::F32).unwrap());
        assert_eq!(inversion.producer, None, "{case}");
        assert!(!inversion.is_verified(), "{case}: {inversion:?}");
    }
    assert!(rounded > 0);
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

/// Drafts the same prompt whatever the states are.
struct Always(Vec<u32>);

impl Simple for Always {
    fn name(&self) -> &'static str {
        "always"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        Ok(self.0.get(at.prefix.len()..).map(|ids| ids.to_vec().into()))
    }
}

#[test]
fn of_a_token_that_has_a_twin_only_the_twin_is_tested() {
    let prompt = [3, 11, 5, 63, 30, 7];
    for decoder in inject_testing::on_each(|device| with_equal_rows(11, [12], device)) {
        let producer = decoder.clone().computing_in(FloatFormat::Bf16);
        let target = TargetStates::of_prompt(&producer, Tap::Block(2), &prompt).unwrap();
        let policy = Policy::new().simple(Always(prompt.to_vec()));
        let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
        let position = &inversion.positions[1];
        let Verdict::Ambiguous { candidates, more: false } = &position.verdict else {
            panic!("{inversion:?}")
        };
        let mut named: Vec<u32> = candidates.iter().map(|candidate| candidate.id).collect();
        named.sort_unstable();
        assert_eq!((named, position.candidates_tested), (vec![11, 12], 2));
        assert_eq!(inversion.cost.stages()["neighbours"].candidates, 1);
        assert_eq!(inversion.positions[0].verdict, Verdict::Verified);
    }
}

#[test]
fn a_token_farther_away_than_noise_reaches_is_compared_with_its_neighbours() {
    let (prompt, right, wrong) = ([3, 11, 5, 63, 30, 7], 11, 12);
    let mut compared = 0;
    for decoder in inject_testing::on_each(|device| of_vocabulary("llama", 2048, 31, device)) {
        // The embedding of a token is that of another and a part more, so their states lie near each other.
        for part in [0.3, 0.5, 0.7, 1.0, 1.5] {
            let decoder = decoder.clone().map_matrices(&mut |matrix, values| match matrix {
                Matrix::Embedding => {
                    let [rows, _] = values.dims();
                    let near = values.clone().narrow(0, right, 1) * (1.0 + part);
                    let above = values.clone().narrow(0, wrong + 1, rows - wrong - 1);
                    Tensor::cat(vec![values.narrow(0, 0, wrong), near, above], 0)
                }
                _ => values,
            });
            let producer = decoder.clone().computing_in(FloatFormat::Bf16);
            let target =
                TargetStates::of_prompt(&producer, Tap::Block(decoder.config().n_layers()), &prompt).unwrap();
            let mut drafted = prompt;
            drafted[1] = wrong as u32;
            let policy = Policy::new().simple(Always(drafted.to_vec()));
            let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
            let position = &inversion.positions[1];
            assert!(
                position.token_id() == Some(prompt[1]) || !position.verdict.is_verified(),
                "{part}: {position:?}"
            );
            compared += inversion.cost.stages().get("neighbours").map_or(0, |stage| stage.candidates);
        }
    }
    assert!(compared > 0);
}

/// The same states, one of them moved by `length` in a direction of its own.
fn moved(exact: &TargetStates, at: usize, length: f64) -> TargetStates {
    let mut states = exact.states().to_owned();
    let width = states.ncols() as f64;
    for (i, value) in states.row_mut(at).iter_mut().enumerate() {
        let sign = if (i * i + i / 3) % 2 == 0 { 1.0 } else { -1.0 };
        *value += sign * length / width.sqrt();
    }
    TargetStates::new(states, exact.tap(), FloatFormat::F64).unwrap()
}

#[test]
fn a_state_with_more_noise_than_others_is_followed_and_not_verified() {
    let (tap, at) = (Tap::Block(2), 4);
    for decoder in inject_testing::on_each(|device| random("llama", 31, device)) {
        let exact = TargetStates::of_prompt(&decoder, tap, &PROMPT).unwrap();
        let apart = |token: u32| {
            let other = TargetStates::of_prompt(&decoder, tap, &[&PROMPT[..at], &[token]].concat()).unwrap();
            distance(other.state(at), exact.state(at))
        };
        let vocab_size = decoder.config().vocab_size as u32;
        let nearest =
            (0..vocab_size).filter(|&token| token != PROMPT[at]).map(apart).fold(f64::INFINITY, f64::min);
        // Others are 2.4 times as far away.
        let target = moved(&exact, at, nearest / 2.2);
        let settings = Settings::new().with_computed_in(ComputedIn::Format(FloatFormat::Bf16.into()));
        let inversion = invert(&decoder, &target, &Policy::new(), settings).unwrap();
        assert_eq!(inversion.token_ids(), PROMPT, "{inversion:?}");
        let unverified = inversion.positions.iter().filter(|position| !position.verdict.is_verified());
        let unverified: Vec<usize> = unverified.map(|position| position.position).collect();
        assert_eq!(unverified, [at], "{inversion:?}");
        assert!(matches!(inversion.positions[at].verdict, Verdict::Ambiguous { more: true, .. }));
    }
}

#[test]
fn a_state_with_more_noise_than_others_is_verified_if_all_tested_tokens_are_far() {
    let (tap, at, vocab_size) = (Tap::Block(2), 4, 4096);
    for decoder in inject_testing::on_each(|device| of_vocabulary("llama", vocab_size, 31, device)) {
        let exact = TargetStates::of_prompt(&decoder, tap, &PROMPT).unwrap();
        let target = moved(&exact, at, 0.05 * norm(exact.state(at)));
        let settings = Settings::new().with_computed_in(ComputedIn::Format(FloatFormat::Bf16.into()));
        let inversion = invert(&decoder, &target, &Policy::new(), settings).unwrap();
        assert_eq!(inversion.token_ids(), PROMPT, "{inversion:?}");
        let position = &inversion.positions[at];
        assert_eq!(position.verdict, Verdict::Verified, "{position:?}");
        assert!(position.noise_floor() == position.distance(), "{position:?}");
        assert!(position.candidates_tested < vocab_size, "{position:?}");
    }
}

#[test]
fn where_wrong_tokens_fit_too_only_the_best_hypothesis_is_searched() {
    let (format, vocab_size, beam) = (NumberFormat::Int4, 2048, 8);
    for decoder in inject_testing::on_each(|device| of_vocabulary("llama", vocab_size, 31, device)) {
        let tap = Tap::Block(decoder.config().n_layers());
        // Weights rounded in another way than the format's.
        let target = produced(decoder.clone().with_weights_in(NumberFormat::Nf4).unwrap(), tap);
        let settings = Settings::new().with_computed_in(ComputedIn::Format(format)).with_beam(beam);
        let inversion = invert(&decoder, &target, &Policy::new(), settings).unwrap();
        // The truth is nearest after the right prefix, but so near to others that only the last state decides.
        assert_eq!(inversion.token_ids(), PROMPT, "{inversion:?}");
        let ambiguous =
            inversion.positions.iter().filter(|found| matches!(found.verdict, Verdict::Ambiguous { .. }));
        assert!(ambiguous.count() > 1, "{inversion:?}");
        // The first position has one hypothesis. After each of the others only the 16 tokens nearest after the best one are tested.
        let later = PROMPT.len() - 1;
        let others = inversion.cost.stages()["hypotheses"].candidates;
        assert!(others > 0 && others <= later * (beam - 1) * 16, "{others}");
        let scanned = inversion.cost.candidates() - others;
        assert!(scanned <= PROMPT.len() * vocab_size, "{scanned}");
    }
}
