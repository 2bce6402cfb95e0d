//! Little evidence: few known coordinates, or noise as large as the states.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::{
    numbers::Numbers,
    small::{FAMILIES, invert, of_vocabulary, target},
};
use inject_sipit::{
    Acceptance, Policy, Settings, TargetStates, Verdict,
    models::{Decoder, FloatFormat, Matrix, NumberFormat, Tap},
    settings::{Budget, ComputedIn, OnFailure},
    sources::Prior,
};

const PROMPT: [u32; 6] = [5, 596, 5, 0, 417, 63];

/// The states with noise of this share of each one's length, of which so many coordinates are known.
fn disturbed(exact: &TargetStates, share: f64, known: usize, seed: u64) -> (TargetStates, f64) {
    let (mut states, mut numbers, mut largest) = (exact.states().to_owned(), Numbers(seed), 0.0_f64);
    for mut state in states.rows_mut() {
        let length = share * inject_sipit::collisions::norm(state.as_slice().unwrap());
        largest = largest.max(length);
        let noise = numbers.direction(state.len(), length);
        state.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
        // The others exceed f16.
        let mut hidden = state.len() - known;
        while hidden > 0 {
            let coordinate = numbers.below(state.len());
            if state[coordinate].is_finite() {
                state[coordinate] = f64::INFINITY;
                hidden -= 1;
            }
        }
    }
    let format = if known == exact.d_model() { FloatFormat::F64 } else { FloatFormat::F16 };
    (TargetStates::new(states, exact.tap(), format).unwrap(), largest)
}

/// Verified and right, verified and wrong, not verified.
type Counts = [usize; 3];

fn count(decoder: &Decoder, target: &TargetStates, added: f64, budget: Budget, counts: &mut Counts) {
    let settings = Settings::new().with_acceptance(Acceptance::NoiseFloor { added }).with_budget(budget);
    count_with(decoder, target, settings.with_beam(2), counts);
}

fn count_with(decoder: &Decoder, target: &TargetStates, settings: Settings, counts: &mut Counts) {
    let inversion = invert(decoder, target, &Policy::new().then_up_to(16, Prior::new()), settings).unwrap();
    for (position, truth) in inversion.positions.iter().zip(PROMPT) {
        let verified = matches!(position.verdict, Verdict::Verified | Verdict::Certain);
        let place = if !verified { 2 } else { usize::from(position.token_id() != Some(truth)) };
        counts[place] += 1;
    }
}

#[test]
fn nothing_wrong_is_verified_on_little_evidence() {
    let mut table: BTreeMap<(usize, u32), Counts> = BTreeMap::new();
    let mut easy = Counts::default();
    for device in inject_testing::compiled() {
        for (number, case) in FAMILIES.into_iter().enumerate() {
            let decoder = of_vocabulary(case, 600, 31, &device);
            for tap in [Tap::Block(1), Tap::FinalNorm] {
                let exact = target(&decoder, &PROMPT, tap);
                let width = exact.d_model();
                for known in [1, 2, 4, 8, 16, width] {
                    for thousandths in [0, 3, 30, 300, 1000] {
                        let share = f64::from(thousandths) / 1000.0;
                        let (target, added) = disturbed(&exact, share, known, number as u64);
                        for budget in [Budget::unlimited(), Budget::unlimited().with_candidates(200)] {
                            let counts = table.entry((known, thousandths)).or_default();
                            count(&decoder, &target, added, budget, counts);
                            // A rule that the user chose needs as much evidence.
                            let ball = Acceptance::Ball { epsilon: added };
                            let settings =
                                Settings::new().with_acceptance(ball).with_budget(budget).with_beam(2);
                            let mut by_ball = Counts::default();
                            if known == width && thousandths >= 300 {
                                count_with(&decoder, &target, settings, &mut by_ball);
                            }
                            assert_eq!(by_ball[1], 0, "{case}, within {added}");
                            if (known, thousandths) == (width, 0) && budget == Budget::unlimited() {
                                count(&decoder, &target, added, budget, &mut easy);
                            }
                        }
                    }
                }
            }
        }
    }
    println!("| known | noise | verified, right | verified, wrong | not verified |");
    for ((known, thousandths), [right, wrong, open]) in &table {
        println!("| {known} | {} | {right} | {wrong} | {open} |", f64::from(*thousandths) / 1000.0);
    }
    for ((known, thousandths), [_, wrong, _]) in &table {
        assert_eq!(*wrong, 0, "{known} coordinates, noise {thousandths} thousandths of the state");
    }
    // Exact states are as easy as ever.
    assert_eq!(easy[1..], [0, 0]);
    assert!(easy[0] > 0);
}

#[test]
fn nothing_wrong_is_verified_where_all_states_lie_near_each_other() {
    let device = inject_testing::any_device();
    let (mut near, mut exact_ones) = (Counts::default(), Counts::default());
    for (number, case) in FAMILIES.into_iter().enumerate() {
        // All embeddings share a part that is a hundred times as long as they are.
        let decoder =
            of_vocabulary(case, 600, 31, &device).map_matrices(&mut |matrix, values| match matrix {
                Matrix::Embedding => {
                    let length = values.clone().powi_scalar(2).sum_dim(1).sqrt().mean().into_scalar::<f32>();
                    let [rows, width] = values.dims();
                    let shared = Tensor::ones([rows, 3], &values.device()).mul_scalar(58.0 * length);
                    let others = Tensor::zeros([rows, width - 3], &values.device());
                    values + Tensor::cat(vec![shared, others], 1)
                }
                _ => values,
            });
        let exact = target(&decoder, &PROMPT, Tap::Block(1));
        count(&decoder, &exact, 0.0, Budget::unlimited(), &mut exact_ones);
        for ten_thousandths in [10, 30, 60, 90, 120, 150] {
            for seed in 0..4 {
                let share = f64::from(ten_thousandths) / 10_000.0;
                let (target, added) = disturbed(&exact, share, exact.d_model(), 10 * number as u64 + seed);
                count(&decoder, &target, added, Budget::unlimited(), &mut near);
                count(&decoder, &target, added, Budget::unlimited().with_candidates(200), &mut near);
            }
        }
    }
    println!("near each other: {near:?}");
    assert_eq!(near[1], 0, "{near:?}");
    assert_eq!(exact_ones[1..], [0, 0]);
    assert!(near[0] > 0);
}

#[test]
fn a_token_is_not_verified_before_those_with_equal_embeddings_are_tested() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            // Token 5 has the embedding of token 590. The scan tests 5 with the first 512 tokens.
            let decoder =
                of_vocabulary(case, 600, 31, &device).map_matrices(&mut |matrix, values| match matrix {
                    Matrix::Embedding => {
                        let part = |begin, len| values.clone().narrow(0, begin, len);
                        Tensor::cat(vec![part(0, 5), part(590, 1), part(6, 594)], 0)
                    }
                    _ => values,
                });
            let exact = target(&decoder, &[3, 590, 17], Tap::Block(1));
            let inversion = invert(&decoder, &exact, &Policy::new(), Settings::new()).unwrap();
            let verdict = &inversion.positions[1].verdict;
            let Verdict::Ambiguous { candidates, .. } = verdict else { panic!("{case}: {verdict:?}") };
            let mut ids: Vec<u32> = candidates.iter().map(|ranked| ranked.id).collect();
            ids.sort_unstable();
            assert_eq!(ids, [5, 590], "{case}");
            for at in [0, 2] {
                assert_eq!(inversion.positions[at].verdict, Verdict::Verified, "{case}, {at}");
            }
        }
    }
}

#[test]
fn nothing_wrong_is_verified_on_little_evidence_by_the_noise_of_a_producer() {
    let format = |format| ComputedIn::Format(NumberFormat::Float(format));
    let ways = [ComputedIn::Auto, format(FloatFormat::F16), format(FloatFormat::Bf16)];
    let device = inject_testing::any_device();
    let mut easy = Counts::default();
    for (number, case) in FAMILIES.into_iter().enumerate() {
        let decoder = of_vocabulary(case, 600, 31, &device);
        let exact = target(&decoder, &PROMPT, Tap::Block(1));
        let width = exact.d_model();
        for known in [2, 4, 16, width - 2, width - 1] {
            for share in [0.0, 0.03, 0.3] {
                let (target, _) = disturbed(&exact, share, known, number as u64);
                for way in ways {
                    let mut counts = Counts::default();
                    let settings = Settings::new().with_computed_in(way).with_on_failure(OnFailure::GoOn);
                    count_with(&decoder, &target, settings, &mut counts);
                    assert_eq!(counts[1], 0, "{case}, {known} of {width} known, noise {share}, {way:?}");
                    if (known, share, way) == (width - 1, 0.0, ComputedIn::Auto) {
                        easy.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                    }
                }
            }
        }
    }
    // One coordinate that exceeded its format makes nothing harder.
    assert_eq!(easy[1..], [0, 0]);
    assert!(easy[0] > 0);
}
