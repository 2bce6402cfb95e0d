//! States that differ from the computed ones: rounded, disturbed, or compared by another rule.

use crate::{
    numbers::Numbers,
    small::{decoders, exhaustive, invert, model, random_decoders, target},
    sources::{SimplePolicy, Told},
};
use half::{bf16, f16};
use inject_sipit::{
    Acceptance, InvertError, Inverter, Policy, Settings, TargetStates, Verdict,
    models::{Decoder, FloatFormat, Tap},
    settings::{OnFailure, Scan},
    sources::Prior,
};

/// Longer than the windows of the small models.
const PROMPT: [u32; 10] = [5, 96, 5, 0, 41, 7, 7, 63, 12, 30];

fn settings(acceptance: Acceptance) -> Settings {
    Settings::new().with_acceptance(acceptance)
}

fn whole(acceptance: Acceptance) -> Settings {
    settings(acceptance).with_scan(Scan::Whole)
}

#[test]
fn half_precision_states_of_every_tap_give_the_prompt() {
    type Rounding = fn(f64) -> f64;
    let formats: [(FloatFormat, Rounding); 2] = [
        (FloatFormat::F16, |value| f16::from_f64(value).to_f64()),
        (FloatFormat::Bf16, |value| bf16::from_f64(value).to_f64()),
    ];
    for (case, decoder) in decoders() {
        for tap in Tap::all(decoder.config().n_layers()) {
            let exact = target(&decoder, &PROMPT, tap);
            for (dtype, round) in formats {
                let states = exact.states().mapv(round);
                let rounded = TargetStates::new(states, tap, dtype).unwrap();
                let told = Policy::new().simple(Told::one(&rounded, &PROMPT));
                for policy in [Policy::new(), told] {
                    let settings = whole(Acceptance::default());
                    let inversion = invert(&decoder, &rounded, &policy, settings).unwrap();
                    assert_eq!(inversion.token_ids(), PROMPT, "{case}, {tap}, {dtype}, {policy}");
                    assert!(inversion.is_verified(), "{case}, {tap}, {dtype}, {policy}: {inversion:?}");
                }
            }
        }
    }
}

/// The distance from the true token's state to the nearest other, at every position.
fn margins(decoder: &Decoder, target: &TargetStates) -> Vec<f64> {
    let inversion = exhaustive(decoder, target).unwrap();
    assert_eq!(inversion.token_ids(), PROMPT);
    inversion.positions.iter().map(|position| position.runner_up().unwrap().distance).collect()
}

/// The states with noise of these lengths added, position by position.
fn disturbed(target: &TargetStates, lengths: impl IntoIterator<Item = f64>, seed: u64) -> TargetStates {
    let mut numbers = Numbers(seed);
    let mut states = target.states().to_owned();
    for (mut state, length) in states.rows_mut().into_iter().zip(lengths) {
        let noise = numbers.direction(state.len(), length);
        state.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
    }
    TargetStates::new(states, target.tap(), FloatFormat::F64).unwrap()
}

/// The least and the largest.
fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(least, most), &value| (value.min(least), value.max(most)))
}

/// Random models, at the last block and after the final norm.
fn for_every_family(mut test: impl FnMut(&str, &Decoder, &TargetStates)) {
    for (case, decoder) in random_decoders(31) {
        for tap in [Tap::Block(decoder.config().n_layers()), Tap::FinalNorm] {
            test(case, &decoder, &target(&decoder, &PROMPT, tap));
        }
    }
}

#[test]
fn noise_below_half_the_margin_changes_nothing() {
    for_every_family(|case, decoder, exact| {
        let (least, _) = range(&margins(decoder, exact));
        let bound = 0.49 * least;
        for seed in 0..3 {
            let mut numbers = Numbers(seed);
            // All of the bound at first, and any part of it later.
            let lengths = (0..).map(|_| if seed == 0 { bound } else { bound * numbers.share() });
            let noisy = disturbed(exact, lengths, seed);
            let rule = Acceptance::NoiseFloor { added: bound };
            for policy in [Policy::new(), Policy::new().then_up_to(16, Prior::new())] {
                let inversion = invert(decoder, &noisy, &policy, settings(rule)).unwrap();
                assert_eq!(inversion.token_ids(), PROMPT, "{case}, {}, {policy}", exact.tap());
                assert!(inversion.is_verified(), "{case}, {}, {policy}: {inversion:?}", exact.tap());
                assert!(inversion.cost.candidates() <= PROMPT.len() * 97);
            }
        }
    });
}

#[test]
fn the_nearest_is_the_truth_where_each_position_has_noise_below_half_its_own_margin() {
    for_every_family(|case, decoder, exact| {
        let margins = margins(decoder, exact);
        let (_, most) = range(&margins);
        for seed in 0..3 {
            let noisy = disturbed(exact, margins.iter().map(|margin| 0.49 * margin), seed);
            // One bound for all: where the margin is small, others lie within it too.
            let rule = Acceptance::NoiseFloor { added: 0.49 * most };
            let nearest_only = whole(rule).with_beam(1);
            let inversion = invert(decoder, &noisy, &Policy::new(), nearest_only).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}, {}", exact.tap());
            for (position, margin) in inversion.positions.iter().zip(&margins) {
                let told = matches!(position.verdict, Verdict::Verified | Verdict::Ambiguous { .. });
                let certain =
                    position.verdict == Verdict::Certain && *margin > 2.0 * position.noise_floor().unwrap();
                assert!(told || certain, "{case}, {}: {position:?}", exact.tap());
            }
        }
    });
}

#[test]
fn noise_far_beyond_the_margin_gives_no_certainty() {
    for_every_family(|case, decoder, exact| {
        let (_, most) = range(&margins(decoder, exact));
        let noisy = disturbed(exact, std::iter::repeat(3.0 * most), 9);
        for on_failure in [OnFailure::Stop, OnFailure::GoOn] {
            // The bound as it is, a bound that is too small, and none at all.
            for added in [3.0 * most, 0.1 * most, 0.0] {
                let settings = whole(Acceptance::NoiseFloor { added }).with_on_failure(on_failure);
                let inversion = invert(decoder, &noisy, &Policy::new(), settings).unwrap();
                assert_eq!(inversion.positions.len(), PROMPT.len());
                for (position, truth) in inversion.positions.iter().zip(PROMPT) {
                    let certain = position.verdict == Verdict::Certain;
                    assert!(!certain || position.token_id() == Some(truth), "{case}: {position:?}");
                }
                assert!(!inversion.is_verified(), "{case}, {}: {added}", exact.tap());
                let ambiguous = |verdict: &Verdict| matches!(verdict, Verdict::Ambiguous { .. });
                match added > most {
                    true => assert!(inversion.positions.iter().any(|p| ambiguous(&p.verdict)), "{case}"),
                    false => assert_eq!(inversion.positions[0].verdict, Verdict::Failed, "{case}"),
                }
            }
        }
    });
}

#[test]
fn a_verified_beginning_is_true_under_any_noise() {
    // With room for many more prompts than a position lists tokens, one of them may be the last that stands.
    let cases = [(8, 1.0), (8, 2.0), (48, 1.0), (48, 1.4), (48, 2.0)];
    for_every_family(|case, decoder, exact| {
        if exact.tap() == Tap::FinalNorm {
            return;
        }
        let (_, most) = range(&margins(decoder, exact));
        for (seed, (beam, share)) in cases.into_iter().enumerate() {
            let added = share * most;
            let noisy = disturbed(exact, std::iter::repeat(added), seed as u64);
            let settings = whole(Acceptance::NoiseFloor { added }).with_beam(beam);
            let inversion = invert(decoder, &noisy, &Policy::new(), settings).unwrap();
            let settled = |verdict: &Verdict| matches!(verdict, Verdict::Verified | Verdict::Certain);
            let verified = inversion.positions.iter().take_while(|position| settled(&position.verdict));
            let ids: Vec<u32> = verified.filter_map(|position| position.token_id()).collect();
            // The true prompt may be dropped for want of room, never excluded by evidence.
            assert!(PROMPT.starts_with(&ids), "{case}, {beam}, {share}: {ids:?}");
        }
    });
}

#[test]
fn a_ball_accepts_within_its_radius_and_nothing_beyond() {
    for_every_family(|case, decoder, exact| {
        let (least, _) = range(&margins(decoder, exact));
        let away = 0.3 * least;
        let moved = disturbed(exact, std::iter::repeat(away), 5);
        for (epsilon, accepts) in [(1.01 * away, true), (0.99 * away, false), (0.0, false)] {
            let rule = Acceptance::Ball { epsilon };
            let inversion = invert(decoder, &moved, &Policy::new(), settings(rule)).unwrap();
            assert_eq!(inversion.is_verified(), accepts, "{case}, {epsilon}");
            assert_eq!(inversion.positions[0].noise_floor(), Some(epsilon), "{case}");
            match accepts {
                true => assert_eq!(inversion.token_ids(), PROMPT, "{case}"),
                false => {
                    let first = &inversion.positions[0];
                    assert_eq!(
                        (&first.verdict, first.token_id()),
                        (&Verdict::Failed, Some(PROMPT[0])),
                        "{case}"
                    );
                    assert!((first.distance().unwrap() - away).abs() < 0.005 * away, "{case}: {first:?}");
                }
            }
        }
    });
}

#[test]
fn a_ball_of_radius_zero_accepts_the_very_same_state() {
    for (case, decoder) in random_decoders(31) {
        let target = target(&decoder, &PROMPT, Tap::Embedding);
        let rule = Acceptance::Ball { epsilon: 0.0 };
        let inversion = invert(&decoder, &target, &Policy::new(), settings(rule)).unwrap();
        assert_eq!(inversion.token_ids(), PROMPT, "{case}");
        assert!(inversion.is_verified(), "{case}");
    }
}

#[test]
fn allclose_accepts_by_the_coordinate_that_is_farthest_off() {
    for_every_family(|case, decoder, exact| {
        let (least, _) = range(&margins(decoder, exact));
        // One coordinate is off by this much, the others by nothing: the ball around the box would not notice.
        let away = 0.05 * least;
        let mut states = exact.states().to_owned();
        states.column_mut(3).mapv_inplace(|value| value + away);
        let size = states.column(3).iter().map(|value| value.abs()).fold(f64::INFINITY, f64::min);
        let moved = TargetStates::new(states, exact.tap(), FloatFormat::F64).unwrap();
        // Sized by the smallest of those coordinates: as wide as it must be there, wider elsewhere.
        for (rtol, atol, accepts) in [
            (0.0, 1.01 * away, true),
            (0.0, 0.99 * away, false),
            (1.01 * away / size, 1e-4 * away, true),
            (0.0, 0.0, false),
        ] {
            let rule = Acceptance::AllClose { rtol, atol };
            let settings = settings(rule).with_beam(1);
            let inversion = invert(decoder, &moved, &Policy::new(), settings).unwrap();
            let fits = inversion.first_failure().is_none();
            assert_eq!(fits, accepts, "{case}, {}, {rtol}, {atol}: {inversion:?}", exact.tap());
        }
    });
}

#[test]
fn tolerances_that_no_distance_satisfies_are_refused() {
    for decoder in inject_testing::on_each(|device| model("gpt2", device).decoder) {
        for wrong in [-1e-9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for acceptance in [
                Acceptance::NoiseFloor { added: wrong },
                Acceptance::Ball { epsilon: wrong },
                Acceptance::AllClose { rtol: wrong, atol: 1e-5 },
                Acceptance::AllClose { rtol: 1e-5, atol: wrong },
            ] {
                let refused = Inverter::new(&decoder, Tap::Block(1), settings(acceptance)).unwrap_err();
                let InvertError::Tolerance { found } = refused else { panic!("{acceptance:?}: {refused}") };
                assert_eq!(found.to_bits(), wrong.to_bits());
                assert!(refused.to_string().contains(&wrong.to_string()), "{refused}");
            }
        }
        let zero = Acceptance::AllClose { rtol: 0.0, atol: 0.0 };
        assert!(Inverter::new(&decoder, Tap::Block(1), settings(zero)).is_ok());
    }
}
