//! The choice of a policy for a model, a tap and a lens, and its reason.

use inject_sipit::{
    Lens, PolicyChoice, Settings,
    lens::{FirstPosition, LensBuilder},
    models::{Decoder, Tap, silent},
};
use std::sync::Arc;

use burn::tensor::Device;

use crate::small::{invert, of_vocabulary, target};

/// A vocabulary in which nothing pays but the scan, and a larger one.
const SMALL: usize = 97;
const LARGE: usize = 4096;

pub(crate) fn lens(decoder: &Decoder, tap: Tap) -> Arc<Lens> {
    let vocab_size = decoder.config().vocab_size as u32;
    let prompt = |i: u32| (0..16).map(|p| (i * 31 + p * p * 7 + p) % vocab_size).collect();
    let text = (0..24).map(prompt).collect();
    let builder = LensBuilder::new(vec![tap], vec![vec![5, 6]], text, FirstPosition::Any);
    Arc::new(builder.build(decoder, "hash", &mut silent).unwrap().remove(0))
}

/// The sources of the policy chosen, in the order in which they are asked, and the reason.
fn chosen(decoder: &Decoder, tap: Tap, lens: Option<Arc<Lens>>) -> (Vec<String>, String) {
    let choice = PolicyChoice::auto(decoder, tap, 12, lens, Some(5));
    let sources = choice.policy.to_string().split(", ").map(str::to_owned).collect();
    let prompt: Vec<u32> = (0..12).map(|p| (5 + p * 29) % SMALL as u32).collect();
    let states = target(decoder, &prompt, tap);
    let inversion = invert(decoder, &states, &choice.policy, Settings::new()).unwrap();
    assert!(inversion.token_ids() == prompt && inversion.is_verified(), "{tap}, {choice:?}");
    (sources, choice.reason)
}

/// Whether one of the sources is this one, alone or weighed together with others.
fn has(sources: &[String], name: &str) -> bool {
    sources.iter().any(|source| source.split('+').any(|part| part == name))
}

fn for_every_tap(device: &Device, vocab_size: usize, test: impl Fn(&Decoder, Tap)) {
    for case in ["gpt2", "llama"] {
        let decoder = of_vocabulary(case, vocab_size, 5, device);
        for tap in [Tap::Block(1), Tap::Block(decoder.config().n_layers()), Tap::FinalNorm] {
            test(&decoder, tap);
        }
    }
}

#[test]
fn a_small_vocabulary_is_scanned() {
    for device in inject_testing::compiled() {
        for_every_tap(&device, SMALL, |decoder, tap| {
            let (sources, reason) = chosen(decoder, tap, None);
            assert_eq!(sources, ["scan"], "{tap}");
            let scan = format!("expected forward passes: scan {:.0}, prior and secant ", SMALL as f64 / 2.0);
            assert!(reason.starts_with(&scan), "{tap}: {reason}");
        });
    }
}

#[test]
fn a_large_vocabulary_is_searched_by_prior_and_secant() {
    for device in inject_testing::compiled() {
        for_every_tap(&device, LARGE, |decoder, tap| {
            let (sources, reason) = chosen(decoder, tap, None);
            assert!(has(&sources, "prior") && has(&sources, "secant"), "{tap}: {sources:?}");
            assert!(!has(&sources, "lens"), "{tap}: {sources:?}");
            assert_eq!(sources.last().map(String::as_str), Some("scan"), "{tap}: {sources:?}");
            assert!(reason.starts_with("expected forward passes: prior and secant "), "{tap}: {reason}");
            assert!(reason.ends_with(&format!(", scan 2048; no lens for {tap}")), "{tap}: {reason}");
        });
    }
}

#[test]
fn the_survey_of_a_search_is_counted_once_over_the_positions_of_the_prompt() {
    let device = inject_testing::any_device();
    const VOCAB_SIZE: usize = 16_384;
    let decoder = of_vocabulary("gpt2", VOCAB_SIZE, 5, &device);
    let passes = |positions: usize| -> f64 {
        let reason = PolicyChoice::auto(&decoder, Tap::Block(1), positions, None, None).reason;
        let number = reason
            .strip_prefix("expected forward passes: prior and secant ")
            .unwrap()
            .split(',')
            .next()
            .unwrap();
        number.parse().unwrap()
    };
    // A sixteenth of the vocabulary, after the first position. Both numbers are rounded.
    let survey = VOCAB_SIZE as f64 / 16.0;
    let expected = survey / 2.0 - survey / 16.0;
    assert!((passes(2) - passes(16) - expected).abs() <= 1.0, "{} {}", passes(2), passes(16));
    assert!(passes(1) < passes(16), "a prompt of one token has no survey");
}

#[test]
fn a_good_lens_is_asked_before_everything_else_whatever_the_vocabulary() {
    for device in inject_testing::compiled() {
        for vocab_size in [SMALL, LARGE] {
            for_every_tap(&device, vocab_size, |decoder, tap| {
                let lens = lens(decoder, tap);
                let right = format!("right at {:.1} % of positions", 100.0 * lens.info().held_out_top_1);
                let (sources, reason) = chosen(decoder, tap, Some(lens));
                assert_eq!(sources.first().map(String::as_str), Some("lens"), "{tap}: {sources:?}");
                assert!(has(&sources, "prior") && has(&sources, "secant"), "{tap}: {sources:?}");
                assert_eq!(sources.last().map(String::as_str), Some("scan"), "{tap}: {sources:?}");
                let scan = format!(", scan {:.0}", vocab_size as f64 / 2.0);
                let said = [&right, ", prior and secant ", &scan];
                assert!(reason.starts_with("expected forward passes: lens "), "{tap}: {reason}");
                assert!(said.iter().all(|part| reason.contains(part)), "{tap}: {reason}");
            });
        }
    }
}
