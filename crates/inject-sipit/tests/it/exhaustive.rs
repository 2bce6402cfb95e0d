//! The scan of the whole vocabulary, on every family.

use crate::small::{FAMILIES, batches, decoders, exhaustive, invert, model, random, target, with_equal_rows};
use half::f16;
use inject_sipit::{
    InvertError, Inverter, Policy, Settings, TargetStates, Verdict,
    models::{FloatFormat, ModelError, Tap},
    settings::{Budget, Scan},
    sources::RandomOrder,
};
use ndarray::Array2;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn inversion_gives_back_exactly_the_prompt(
        seed in any::<u64>(),
        prompt in prop::collection::vec(0_u32..97, 1..14),
        tap in any::<prop::sample::Index>(),
    ) {
        for device in inject_testing::compiled() {
            for case in FAMILIES {
                let decoder = random(case, seed, &device);
                let taps = Tap::all(decoder.config().n_layers());
                let tap = taps[tap.index(taps.len())];
                let inversion = exhaustive(&decoder, &target(&decoder, &prompt, tap)).unwrap();
                prop_assert_eq!(inversion.token_ids(), prompt.clone(), "{}, {}", case, tap);
                prop_assert!(inversion.is_verified(), "{case}, {tap}: {inversion:?}");
            }
        }
    }
}

#[test]
fn every_tap_of_every_family_inverts_beyond_windows_and_rotary_switches() {
    for (case, decoder) in decoders() {
        let len = decoder.config().max_len().unwrap_or(40).min(40);
        let prompt: Vec<u32> = (0..len as u32).map(|i| (i * 29 + 7) % 97).collect();
        for tap in Tap::all(decoder.config().n_layers()) {
            let target = target(&decoder, &prompt, tap);
            let inversion = exhaustive(&decoder, &target).unwrap();
            assert_eq!(inversion.token_ids(), prompt, "{case}, {tap}");
            assert!(inversion.is_verified(), "{case}, {tap}");
            assert_eq!(inversion.candidates_tested(), len * 97);
        }
    }
}

#[test]
fn two_equal_embedding_rows_are_ambiguous_and_both_named() {
    for device in inject_testing::compiled() {
        let twin = with_equal_rows(11, [12], &device);
        let prompt = [3, 11, 5];
        let tap = Tap::Block(1);
        let inversion = exhaustive(&twin, &target(&twin, &prompt, tap)).unwrap();
        let Verdict::Ambiguous { candidates, .. } = &inversion.positions[1].verdict else {
            panic!("{:?}", inversion.positions[1]);
        };
        let ids: Vec<u32> = candidates.iter().map(|candidate| candidate.id).collect();
        assert_eq!(ids, [11, 12]);
        assert_eq!(inversion.positions[0].verdict, Verdict::Certain);
        assert_eq!(inversion.positions[2].verdict, Verdict::Certain);
    }
}

#[test]
fn states_of_no_prompt_fail_by_position_and_keep_the_nearest() {
    for decoder in inject_testing::on_each(|device| model("llama", device).decoder) {
        let tap = Tap::Block(2);
        let honest = target(&decoder, &[1, 2, 3, 4], tap);
        let mut states = honest.states().to_owned();
        states.row_mut(2).mapv_inplace(|value| value * 1.5);
        let forged = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
        let inversion = exhaustive(&decoder, &forged).unwrap();
        assert_eq!(inversion.positions.len(), 4);
        assert_eq!(inversion.first_failure().unwrap().position, 2);
        assert_eq!(inversion.token_ids()[..2], [1, 2]);
        assert!(!inversion.is_verified());
    }
}

#[test]
fn bf16_states_are_verified_within_their_rounding() {
    for (case, decoder) in decoders() {
        let prompt = [9, 8, 7, 6, 5];
        let tap = Tap::Block(2);
        let exact = target(&decoder, &prompt, tap);
        let rounded = exact.states().mapv(|value| half::bf16::from_f64(value).to_f64());
        let target = TargetStates::new(rounded, tap, FloatFormat::Bf16).unwrap();
        let inversion = exhaustive(&decoder, &target).unwrap();
        assert_eq!(inversion.token_ids(), prompt, "{case}");
        assert!(inversion.is_verified(), "{case}: {inversion:?}");
    }
}

#[test]
fn states_that_cannot_belong_to_the_model_are_refused() {
    let device = inject_testing::any_device();
    let decoder = model("gpt2", &device).decoder;
    let states = |rows, columns| Array2::<f64>::ones((rows, columns));
    let invert = |states, tap| {
        let target = TargetStates::new(states, tap, FloatFormat::F32)?;
        exhaustive(&decoder, &target)
    };
    let d_model = decoder.config().d_model;
    assert!(matches!(invert(states(0, d_model), Tap::Block(1)), Err(InvertError::NoStates)));
    assert!(matches!(invert(states(2, d_model + 1), Tap::Block(1)), Err(InvertError::Width { .. })));
    assert!(matches!(
        invert(states(2, d_model), Tap::Block(99)),
        Err(InvertError::Model(ModelError::Tap(_)))
    ));
    let too_long = decoder.config().max_len().unwrap() + 1;
    assert!(matches!(
        invert(states(too_long, d_model), Tap::Block(1)),
        Err(InvertError::Model(ModelError::TooLong { .. }))
    ));
    let mut broken = states(2, d_model);
    broken[[1, 3]] = f64::NAN;
    assert!(matches!(
        invert(broken, Tap::Block(1)),
        Err(InvertError::NotFinite { position: 1, coordinate: 3, .. })
    ));
    // No model computes this in f32; its square is not even an f64.
    let mut huge = states(2, d_model);
    huge[[1, 2]] = -1e200;
    assert!(matches!(
        invert(huge, Tap::Block(1)),
        Err(InvertError::OutOfRange { position: 1, coordinate: 2, .. })
    ));
}

#[test]
fn states_that_partly_exceed_f16_give_the_prompt() {
    let prompt = [5, 96, 0, 41, 41];
    for (case, decoder) in decoders() {
        for tap in [Tap::Block(1), Tap::FinalNorm] {
            let mut states = target(&decoder, &prompt, tap).states().to_owned();
            states.mapv_inplace(|value| f16::from_f64(value).to_f64());
            states.row_mut(0)[3] = f64::INFINITY;
            states.row_mut(2)[1] = f64::NEG_INFINITY;
            let target = |dtype| TargetStates::new(states.clone(), tap, dtype);
            let inversion = exhaustive(&decoder, &target(FloatFormat::F16).unwrap()).unwrap();
            assert_eq!(inversion.token_ids(), prompt, "{case}, {tap}");
            assert!(inversion.is_certain(), "{case}, {tap}: {inversion:?}");
            let refused = target(FloatFormat::Bf16).unwrap_err();
            assert!(matches!(refused, InvertError::NotFinite { position: 0, coordinate: 3, .. }));
        }
    }
    // Of such a state nothing is known.
    let unknown = Array2::from_elem((1, 8), f64::INFINITY);
    let refused = TargetStates::new(unknown, Tap::Block(1), FloatFormat::F16).unwrap_err();
    assert!(matches!(refused, InvertError::NotFinite { position: 0, .. }), "{refused}");
}

#[test]
fn states_of_zeros_fail_with_a_distance_and_a_floor() {
    let device = inject_testing::any_device();
    let decoder = model("gpt2", &device).decoder;
    for dtype in [FloatFormat::F64, FloatFormat::F32, FloatFormat::F16] {
        let zeros = Array2::zeros((2, decoder.config().d_model));
        let inversion =
            exhaustive(&decoder, &TargetStates::new(zeros, Tap::Block(1), dtype).unwrap()).unwrap();
        let first = &inversion.positions[0];
        assert_eq!(first.verdict, Verdict::Failed, "{dtype:?}");
        assert!(
            first.distance().is_some_and(f64::is_finite) && first.distance() > first.noise_floor(),
            "{dtype:?}: {first:?}"
        );
        assert_eq!(inversion.positions[1].verdict, Verdict::Open { guess: None });
    }
}

#[test]
fn no_more_candidates_are_tested_than_may_be() {
    let device = inject_testing::any_device();
    let decoder = model("gpt2", &device).decoder;
    let prompt = [0, 96, 50];
    let target = target(&decoder, &prompt, Tap::Block(1));
    let settings = |most: usize, scan: Scan| {
        Settings::new().with_scan(scan).with_budget(Budget::unlimited().with_candidates(most))
    };
    for (most, found) in [(20, 1), (96, 1), (97, 3)] {
        for policy in [Policy::new(), Policy::new().then(RandomOrder::seeded(3).in_batches(batches(7)))] {
            let in_order = policy.to_string() == "scan";
            let inversion = invert(&decoder, &target, &policy, settings(most, Scan::AsNeeded)).unwrap();
            let tested: Vec<usize> = inversion.positions.iter().map(|p| p.candidates_tested).collect();
            assert!(tested.iter().all(|&tested| tested <= most), "{tested:?} of at most {most}");
            let verified = inversion.positions.iter().filter(|p| p.verdict == Verdict::Verified).count();
            assert!(!in_order || verified == found, "{verified} found with at most {most}");
        }
    }
    let refused = Inverter::new(&decoder, Tap::Block(1), settings(96, Scan::Whole)).unwrap_err();
    assert!(matches!(refused, InvertError::NoWholeScan { found: 96, vocab_size: 97 }), "{refused}");
    Inverter::new(&decoder, Tap::Block(1), settings(97, Scan::Whole)).unwrap();
}
