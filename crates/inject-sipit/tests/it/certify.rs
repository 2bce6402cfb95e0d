//! The certificate: exact margins, and no more certainty than they allow.

use crate::{
    small::{FAMILIES, decoders, exhaustive, invert, model, random_decoders, target, with_equal_rows},
    sources::{SimplePolicy, Told},
};
use inject_sipit::{
    Acceptance, Inverter, Policy, Settings, TargetStates, Verdict,
    models::{Decoder, FloatFormat, Logits, Model, Origin, Tap, TokenBatch, silent},
    settings::Scan,
    sources::Prior,
};
use std::path::Path;

use burn::tensor::Device;
use ndarray::Array2;

const PROMPT: [u32; 5] = [5, 96, 41, 0, 5];

const VOCAB: usize = 97;

fn whole() -> Settings {
    Settings::new().with_scan(Scan::Whole)
}

/// A reference model in the widest format the device computes in.
fn widest(case: &str, device: &Device) -> Decoder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures").join(case);
    let precision = match inject_testing::computes_in_f64(device) {
        true => FloatFormat::F64,
        false => FloatFormat::F32,
    };
    Model::load(Origin::of_folder(&folder), precision, device).unwrap().decoder
}

/// Every token's distance at one position, from one forward pass of a whole prompt each, nearest first.
fn naive(decoder: &Decoder, prompt: &[u32], target: &TargetStates, at: usize) -> Vec<(f64, u32)> {
    let distances = (0..VOCAB as u32).map(|id| {
        let mut prompt = prompt.to_vec();
        prompt[at] = id;
        let tokens = TokenBatch::new(&[prompt]).unwrap();
        let states = decoder.forward(&tokens, &[target.tap()], Logits::None).unwrap().states;
        let state: Vec<f64> =
            states[&target.tap()].clone().slice([0..1, at..at + 1]).into_data().iter().collect();
        let wanted = target.states().row(at).to_owned();
        let squares = state.iter().zip(wanted).map(|(a, b)| (a - b) * (a - b));
        (squares.sum::<f64>().sqrt(), id)
    });
    let mut distances: Vec<(f64, u32)> = distances.collect();
    distances.sort_by(|a, b| a.0.total_cmp(&b.0));
    distances
}

#[test]
fn margins_and_runners_up_are_those_of_a_naive_computation() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let (decoder, wide) = (model(case, &device).decoder, widest(case, &device));
            let tap = Tap::Block(decoder.config().n_layers());
            let target = target(&decoder, &PROMPT, tap);
            let told = Policy::new().simple(Told::one(&target, &PROMPT));
            for policy in [Policy::new(), told, Policy::new().then_up_to(8, Prior::new())] {
                let inversion = invert(&decoder, &target, &policy, whole()).unwrap();
                assert!(inversion.is_certain(), "{case}, {policy}: {inversion:?}");
                assert_eq!(inversion.token_ids(), PROMPT, "{case}, {policy}");
                for position in &inversion.positions {
                    assert_eq!(position.candidates_tested, VOCAB);
                    let naive = naive(&wide, &PROMPT, &target, position.position);
                    let ((nearest, id), (second, runner_up)) = (naive[0], naive[1]);
                    let kept = position.kept.unwrap();
                    let floor = kept.noise_floor;
                    assert_eq!((kept.token_id, kept.runner_up.unwrap().id), (id, runner_up), "{case}");
                    assert!((kept.distance - nearest).abs() <= floor, "{case}: {position:?}");
                    let margin = kept.margin.unwrap();
                    assert!((margin - (second - nearest)).abs() <= 2.0 * floor, "{case}: {position:?}");
                    assert!(margin > 2.0 * floor, "{case}: {position:?}");
                }
            }
        }
    }
}

#[test]
fn the_cost_of_a_certificate_is_known_before() {
    for (case, decoder) in decoders() {
        for tap in Tap::all(decoder.config().n_layers()) {
            let target = target(&decoder, &PROMPT, tap);
            let inverter = Inverter::new(&decoder, tap, whole()).unwrap();
            let cost = inverter.scan_cost(PROMPT.len());
            assert_eq!(cost.candidates as usize, PROMPT.len() * VOCAB, "{case}, {tap}");
            let flop = cost.candidates as f64 * decoder.config().flops_per_token(tap);
            assert_eq!(cost.flop, flop, "{case}, {tap}");

            let scan = Policy::new();
            let scanned = inverter.invert(&target, &mut inverter.searcher(&scan), &mut silent).unwrap();
            assert_eq!(scanned.candidates_tested() as u64, cost.candidates, "{case}, {tap}");

            let mut certified = 0;
            let told = Policy::new().simple(Told::one(&target, &PROMPT));
            let drafted = inverter.invert(&target, &mut inverter.searcher(&told), &mut |step| {
                certified += usize::from(step.task == "certify" && step.part == 1.0);
            });
            let stages = drafted.unwrap().cost.stages().clone();
            assert_eq!(stages["draft"].candidates, PROMPT.len(), "{case}, {tap}");
            assert_eq!(stages["scan"].candidates as u64, cost.candidates, "{case}, {tap}");
            assert_eq!(stages["scan"].states as u64, cost.candidates, "{case}, {tap}");
            assert_eq!(certified, PROMPT.len(), "{case}, {tap}");
        }
    }
}

#[test]
fn a_position_is_certain_just_where_its_margin_exceeds_twice_the_floor() {
    for (case, decoder) in random_decoders(4) {
        let target = target(&decoder, &PROMPT, Tap::Block(2));
        let margins: Vec<f64> =
            exhaustive(&decoder, &target).unwrap().positions.iter().map(|p| p.margin().unwrap()).collect();
        let least = margins.iter().copied().fold(f64::INFINITY, f64::min);
        let told = || Policy::new().simple(Told::one(&target, &PROMPT));
        for added in [0.45, 0.49, 0.51, 0.55, 0.7, 0.95].map(|share| share * least) {
            let settings = whole().with_acceptance(Acceptance::NoiseFloor { added });
            for policy in [Policy::new(), told()] {
                let inversion = invert(&decoder, &target, &policy, settings.clone()).unwrap();
                assert_eq!(inversion.token_ids(), PROMPT, "{case}");
                for (position, margin) in inversion.positions.iter().zip(&margins) {
                    assert!(
                        position.noise_floor() >= Some(added) && position.noise_floor() < Some(1.01 * added),
                        "{case}"
                    );
                    let expected = match *margin > 2.0 * position.noise_floor().unwrap() {
                        true => Verdict::Certain,
                        false => Verdict::Verified,
                    };
                    assert_eq!(position.verdict, expected, "{case}, {policy}: {position:?}");
                }
            }
        }
    }
}

#[test]
fn tokens_with_equal_embeddings_are_ambiguous_whatever_was_drafted() {
    for decoder in inject_testing::on_each(|device| with_equal_rows(11, [12], device)) {
        let prompt = [3, 11, 5, 12];
        let target = target(&decoder, &prompt, Tap::Block(2));
        let told = || Policy::new().simple(Told::one(&target, &prompt));
        for (settings, alone) in [(Settings::new(), Verdict::Verified), (whole(), Verdict::Certain)] {
            let inversion = invert(&decoder, &target, &told(), settings).unwrap();
            for position in &inversion.positions {
                let Verdict::Ambiguous { candidates, .. } = &position.verdict else {
                    assert_eq!((position.position % 2, &position.verdict), (0, &alone));
                    continue;
                };
                let mut ids: Vec<u32> = candidates.iter().map(|candidate| candidate.id).collect();
                ids.sort_unstable();
                assert_eq!((position.position % 2, ids), (1, vec![11, 12]));
            }
        }
    }
}

#[test]
fn a_certificate_goes_by_the_same_rule_as_the_search() {
    for (case, decoder) in random_decoders(4) {
        let target = target(&decoder, &PROMPT, Tap::Block(2));
        // As wide as no other token fits in every coordinate, though some lie within the ball around that box.
        let acceptance = Acceptance::AllClose { rtol: 0.0, atol: 0.9 * least_of_largest(&decoder, &target) };
        let settings = whole().with_acceptance(acceptance);
        let told = Policy::new().simple(Told::one(&target, &PROMPT));
        for policy in [Policy::new(), told] {
            let inversion = invert(&decoder, &target, &policy, settings.clone()).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}");
            assert!(inversion.is_verified(), "{case}, {policy}: {inversion:?}");
        }
    }
}

/// The least, over positions and wrong tokens, of the largest difference of a coordinate.
fn least_of_largest(decoder: &Decoder, target: &TargetStates) -> f64 {
    let mut least = f64::INFINITY;
    for at in 0..PROMPT.len() {
        for id in (0..VOCAB as u32).filter(|&id| id != PROMPT[at]) {
            let mut prompt = PROMPT;
            prompt[at] = id;
            let states = crate::small::target(decoder, &prompt, target.tap()).states().to_owned();
            let apart = &states.row(at) - &target.states().row(at);
            least = least.min(apart.iter().fold(0.0, |largest: f64, value| largest.max(value.abs())));
        }
    }
    least
}

#[test]
fn a_failed_position_is_not_certified_and_the_rest_is_open() {
    for decoder in inject_testing::on_each(|device| model("llama", device).decoder) {
        let tap = Tap::Block(2);
        let honest = target(&decoder, &PROMPT, tap);
        let mut states: Array2<f64> = honest.states().to_owned();
        states.row_mut(2).mapv_inplace(|value| value * 1.5);
        let forged = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
        let told = Policy::new().simple(Told::one(&forged, &PROMPT));
        for policy in [Policy::new(), told] {
            let inversion = invert(&decoder, &forged, &policy, whole()).unwrap();
            let verdicts: Vec<&Verdict> = inversion.positions.iter().map(|p| &p.verdict).collect();
            // The told policy drafted the positions after the forged one.
            let drafted = !policy.to_string().starts_with("scan");
            let open = |at: usize| Verdict::Open { guess: drafted.then_some(PROMPT[at]) };
            let expected = [Verdict::Certain, Verdict::Certain, Verdict::Failed, open(3), open(4)];
            assert_eq!(verdicts, expected.iter().collect::<Vec<_>>(), "{policy}");
            assert!(!inversion.is_certain() && !inversion.is_verified());
        }
    }
}
