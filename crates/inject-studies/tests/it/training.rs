//! Tests the theory of training: a step keeps different prompts apart, and it keeps or dissolves the collisions of degenerate
//! initial weights as predicted.

use std::{collections::BTreeMap, num::NonZeroUsize};

use burn::{module::Module, optim::SgdConfig, tensor::Device};
use inject_sipit::{
    NoiseModel,
    collisions::{distance, norm},
    models::{
        Decoder, Logits, Tap, TokenBatch,
        training::{loss_and_gradients, trainable},
    },
    states::{Extraction, store::Positions},
};
use inject_studies::{
    StudyError, degenerate, training,
    training::{
        AtStep, DegenerateOptions, DegenerateStart, Fate, Optimiser, Probes, TrainingData, TrainingOptions,
        degenerate_cases,
    },
};
use proptest::prelude::*;

use inject_testing::models::{FAMILIES, drawn, random, reach};

const ONE: NonZeroUsize = NonZeroUsize::MIN;
/// The number of token ids that occur in windows. The vocabulary has 97 tokens, so the last seven never occur.
const USED: u32 = 90;

/// Returns windows of artificial text: a walk through the vocabulary.
fn windows(count: u32, tokens: u32) -> Vec<Vec<u32>> {
    (0..count).map(|w| (0..tokens).map(|t| (w * w * 7 + t * t * 3 + t * (w + 1)) % USED).collect()).collect()
}

fn after_a_step(decoder: &Decoder, windows: &[Vec<u32>], rate: f64) -> Decoder {
    let decoder = trainable(decoder.clone());
    let (_, gradients) = loss_and_gradients(&decoder, windows, ONE).unwrap();
    SgdConfig::new().init().step(rate, decoder, gradients).valid()
}

/// Returns the last-token state of each prompt at every tap.
fn last_states(decoder: &Decoder, prompts: &[Vec<u32>]) -> Vec<(Tap, Vec<Vec<f32>>)> {
    let extraction = Extraction::new(Tap::all(decoder.config().n_layers()), Positions::Last).unwrap();
    let states = extraction.run(decoder, prompts, &mut |_| ()).unwrap();
    states.into_iter().map(|(tap, rows)| (tap, rows.outer_iter().map(|row| row.to_vec()).collect())).collect()
}

fn first_device() -> Device {
    inject_testing::any_device()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn different_prompts_stay_different_after_a_step_of_gradient_descent(
        seed in any::<u64>(),
        rate in 0.01_f64..0.99,
        a in prop::collection::vec(0_u32..97, 1..12),
        change in any::<prop::sample::Index>(),
        by in 1_u32..97,
        text in prop::collection::vec(prop::collection::vec(0_u32..97, 2..12), 1..4),
    ) {
        let mut b = a.clone();
        let at = change.index(b.len());
        b[at] = (b[at] + by) % 97;
        for case in FAMILIES {
            // The weights are as small as initial ones are. With weights of 0.2, a step of nearly 1 would overflow f32.
            let start = drawn(case, 0.1, seed, &first_device());
            let moved = after_a_step(&start, &text, rate);
            let prompts = [a.clone(), b.clone()];
            let before: BTreeMap<Tap, _> = last_states(&start, &prompts).into_iter().collect();
            for (tap, states) in last_states(&moved, &prompts) {
                let hidden = a.len() - 1 - at > reach(&moved, tap) || (tap == Tap::Embedding && at + 1 < a.len());
                if hidden {
                    continue;
                }
                // Two computations of one state are within the bound, so each of the two states may have an error of that size.
                let noise = NoiseModel::measure(&moved, tap, a.len()).unwrap();
                let floor = 2.0 * noise.bound(norm(&states[0]), 0.0);
                let apart = distance(&states[0], &states[1]);
                prop_assert!(apart > floor, "{case}, {tap}: {a:?} and {b:?} lie {apart:e} apart, floor {floor:e}");
                // If the head is not tied, the embedding of a token that does not occur in the text does not change.
                if tap != Tap::Embedding {
                    let by = distance(&states[0], &before[&tap][0]);
                    prop_assert!(by > floor, "{case}, {tap}: moved by {by:e}, floor {floor:e}");
                }
            }
        }
    }

    #[test]
    fn equal_embedding_rows_give_equal_states_wherever_the_tokens_stand(
        seed in any::<u64>(),
        prompt in prop::collection::vec(0_u32..97, 1..16),
        (a, b) in (0_u32..97, 1_u32..97).prop_map(|(a, by)| (a, (a + by) % 97)),
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let with = |id: u32| {
            let mut prompt = prompt.clone();
            places.iter().for_each(|place| { let at = place.index(prompt.len()); prompt[at] = id; });
            prompt
        };
        for case in FAMILIES {
            let decoder = DegenerateStart::EqualEmbeddings { a, b }.spoil(random(case, seed, &first_device()));
            for (tap, states) in last_states(&decoder, &[with(a), with(b)]) {
                prop_assert_eq!(&states[0], &states[1], "{}, {}", case, tap);
            }
        }
    }

    #[test]
    fn without_values_a_last_state_knows_its_token_and_position_only(
        seed in any::<u64>(),
        a in prop::collection::vec(0_u32..97, 0..12),
        shift in 1_u32..97,
        last in 0_u32..97,
    ) {
        let other: Vec<u32> = a.iter().map(|id| (id + shift) % 97).collect();
        let ending = |ids: &[u32]| [ids, &[last]].concat();
        for case in FAMILIES {
            let decoder = DegenerateStart::ZeroValues.spoil(random(case, seed, &first_device()));
            for (tap, states) in last_states(&decoder, &[ending(&a), ending(&other)]) {
                prop_assert_eq!(&states[0], &states[1], "{}, {}", case, tap);
            }
        }
    }

    /// Tests Theorem 3.2 of arXiv 2510.15511, and that half the margin is the largest possible bound.
    #[test]
    fn noise_below_half_the_margin_leaves_the_true_token_nearest(
        seed in any::<u64>(),
        prefix in prop::collection::vec(0_u32..97, 0..10),
        token in 0_u32..97,
        share in 0.0_f64..0.999,
        direction in prop::collection::vec(-1.0_f64..1.0, 32),
    ) {
        for case in FAMILIES {
            let decoder = random(case, seed, &first_device());
            let tap = Tap::Block(decoder.config().n_layers());
            let states = next_states(&decoder, &prefix, tap);
            let truth: Vec<f64> = states[token as usize].iter().map(|&value| f64::from(value)).collect();
            let rank = |observed: &[f64]| {
                let mut by_distance: Vec<(f64, u32)> =
                    (0..).zip(&states).map(|(id, state)| (distance(observed, state.as_slice()), id)).collect();
                by_distance.sort_by(|a, b| a.0.total_cmp(&b.0));
                by_distance
            };
            let (margin, rival) = rank(&truth)[1];
            let along = |step: &[f64], length: f64| -> Vec<f64> {
                let scale = length / norm(step).max(f64::MIN_POSITIVE);
                truth.iter().zip(step).map(|(value, step)| value + scale * step).collect()
            };
            let anywhere = along(&direction[..truth.len()], share * margin / 2.0);
            prop_assert_eq!(rank(&anywhere)[0].1, token, "{}: any direction", case);
            let to_rival: Vec<f64> =
                states[rival as usize].iter().zip(&truth).map(|(&other, value)| f64::from(other) - value).collect();
            prop_assert_eq!(rank(&along(&to_rival, 0.499 * margin))[0].1, token, "{}: the worst direction", case);
            prop_assert!(rank(&along(&to_rival, 0.501 * margin))[0].1 != token, "{}: beyond the bound", case);
        }
    }
}

/// Returns the state of every token of the vocabulary after a prefix.
fn next_states(decoder: &Decoder, prefix: &[u32], tap: Tap) -> Vec<Vec<f32>> {
    let mut cache = decoder.prefix_cache(1, prefix.len() + 1, tap).unwrap();
    if !prefix.is_empty() {
        decoder.extend(&mut cache, &TokenBatch::new(&[prefix]).unwrap(), &[], Logits::None).unwrap();
    }
    let ids: Vec<u32> = (0..97).collect();
    let states = decoder.candidates(&cache, &ids, tap).unwrap();
    let width = decoder.config().d_model;
    inject_sipit::models::host::to_host::<f32, 2>(states)
        .unwrap()
        .chunks(width)
        .map(<[f32]>::to_vec)
        .collect()
}

fn options(optimiser: Optimiser) -> DegenerateOptions {
    DegenerateOptions::new(optimiser, vec![1, 4], 5, ONE)
}

#[test]
fn a_step_dissolves_or_keeps_each_built_in_collision_as_reasoned() {
    let windows = windows(12, 14);
    for device in inject_testing::compiled() {
        for case in ["gpt2", "llama"] {
            let drawn = random(case, 4, &device);
            let cases = degenerate_cases(drawn.config(), &windows).unwrap();
            assert_eq!(cases.len(), if case == "gpt2" { 10 } else { 7 });
            for start in cases {
                let how = options(Optimiser::FullBatch { learning_rate: 0.3 });
                let study = degenerate(&drawn, &windows, &start, &how).unwrap();
                assert!(study.as_expected, "{case}, {:?}: {:?}", start.start, study.taps);
            }
        }
    }
}

#[test]
fn what_has_no_gradient_or_equal_ones_stays_under_adam_too() {
    let windows = windows(12, 14);
    let drawn = random("gpt2", 4, &first_device());
    for start in degenerate_cases(drawn.config(), &windows).unwrap() {
        if start.expected == Fate::Kept {
            let how = options(Optimiser::Adam { learning_rate: 1e-2, batch: 6 });
            let study = degenerate(&drawn, &windows, &start, &how).unwrap();
            let kept = |at: &AtStep| at.equal == start.pairs.len() || at.fate() == Some(Fate::Kept);
            assert!(
                study.taps.iter().all(|tap| tap.steps.iter().all(kept)),
                "{:?}: {:?}",
                start.start,
                study.taps
            );
        }
    }
}

#[test]
fn all_zero_weights_never_move() {
    let windows = windows(12, 14);
    for case in FAMILIES {
        let zero = DegenerateStart::AllZero.spoil(random(case, 4, &first_device()));
        let moved = after_a_step(&zero, &windows, 0.9);
        for (tap, states) in last_states(&moved, &[vec![1], vec![2, 3]]) {
            assert_eq!(states[0], states[1], "{case}, {tap}");
        }
    }
}

fn probes() -> Probes {
    Probes::new(windows(9, 7), windows(2, 5), super::every(1, 2))
        .with_inversions(vec![vec![3, 1, 4, 1, 5]], vec![Tap::Block(2)])
}

#[test]
fn the_same_training_gives_the_same_figures_and_every_prompt_comes_back() {
    let windows = windows(6, 12);
    for case in ["gpt2", "llama"] {
        let start = random(case, 9, &first_device());
        for optimiser in [
            Optimiser::FullBatch { learning_rate: 0.3 },
            Optimiser::Sgd { learning_rate: 0.1, batch: 2 },
            Optimiser::Adam { learning_rate: 3e-3, batch: 2 },
        ] {
            let threads = NonZeroUsize::new(2).unwrap();
            let how = TrainingOptions::new(optimiser, 6, 3, threads);
            let data = TrainingData::new(&windows, &windows[..2]);
            let run = || training(&start, data, &probes(), &how, &mut |_| ()).unwrap().0;
            let (first, second) = (run(), run());
            assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap());
            assert_eq!(first.snapshots.iter().map(|s| s.step).collect::<Vec<_>>(), [0, 1, 2, 5, 6]);
            assert!(first.snapshots.iter().all(|snapshot| snapshot.all_exact()), "{case}, {optimiser}");
            let losses: Vec<f64> = first.snapshots.iter().map(|snapshot| snapshot.loss).collect();
            assert!(losses[4] < losses[0], "{case}, {optimiser}: {losses:?}");
        }
    }
}

#[test]
fn a_training_that_cannot_be_is_refused() {
    let (start, windows) = (random("gpt2", 9, &first_device()), windows(6, 12));
    let refused = |optimiser: Optimiser, windows: &[Vec<u32>]| {
        let how = TrainingOptions::new(optimiser, 1, 3, ONE);
        let data = TrainingData::new(windows, windows);
        training(&start, data, &probes(), &how, &mut |_| ()).unwrap_err()
    };
    let backwards = refused(Optimiser::FullBatch { learning_rate: -0.1 }, &windows);
    assert!(matches!(backwards, StudyError::LearningRate { found: -0.1 }), "{backwards}");
    let large = refused(Optimiser::Sgd { learning_rate: 0.1, batch: 7 }, &windows);
    assert!(matches!(large, StudyError::Batch { found: 7, windows: 6 }), "{large}");
    let none = refused(Optimiser::FullBatch { learning_rate: 0.1 }, &[]);
    assert!(matches!(none, StudyError::TooFew { found: 0, .. }), "{none}");
}
