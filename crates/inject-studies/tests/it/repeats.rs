//! Repetitions of one token.

use inject_sipit::{
    collisions::Verdict,
    models::{Precision, Tap},
};
use inject_studies::{RepeatOptions, RepeatStudy, Run, Why, repeats};

use super::{in_parts, model};

fn study(name: &str, precision: Precision) -> RepeatStudy {
    let model = model(name, precision);
    let taps = Tap::all(model.decoder.config().n_layers());
    let bos = model.bos_token_id();
    let options = RepeatOptions { taps, tokens: vec![7, 40], most: 12, bos };
    repeats(&model.decoder, &options, Run::in_memory(&mut |_| ())).unwrap()
}

#[test]
fn rotary_models_without_bos_collide_at_every_tap_and_the_study_says_why() {
    for name in ["llama", "llama3-scaling", "mistral", "gemma3", "phi3"] {
        let found = study(name, Precision::F32);
        assert!(!found.learned_positions);
        let (expected, collisions) = found.expected_and_found();
        assert!(expected > 0 && collisions == expected, "{name}: {collisions} of {expected}");
        for repeats in found.repeats.iter().filter(|repeats| repeats.bos.is_none()) {
            for at in &repeats.taps {
                assert_ne!(at.verdict, Verdict::Separated, "{name} {}: {at:?}", at.tap);
                assert!(at.why.is_some_and(|why| !why.to_string().is_empty()));
            }
        }
    }
}

#[test]
fn in_f64_the_collisions_are_exact() {
    for name in ["llama", "gemma3", "phi3"] {
        let found = study(name, Precision::F64);
        for at in
            found.repeats.iter().filter(|repeats| repeats.bos.is_none()).flat_map(|repeats| &repeats.taps)
        {
            assert_eq!((at.verdict, at.equal_pairs), (Verdict::Collision, at.pairs), "{name} {}", at.tap);
        }
    }
}

#[test]
fn bos_in_front_tells_repetitions_apart() {
    for name in ["llama", "mistral"] {
        let found = study(name, Precision::F32);
        let behind_bos: Vec<_> = found.repeats.iter().filter(|repeats| repeats.bos.is_some()).collect();
        assert_eq!(behind_bos.len(), 2);
        for at in behind_bos.iter().flat_map(|repeats| &repeats.taps) {
            match at.tap {
                Tap::Embedding => {
                    assert_eq!((at.verdict, at.why), (Verdict::Collision, Some(Why::EmbeddingAlone)))
                }
                _ => assert_eq!((at.verdict, at.why), (Verdict::Separated, None), "{name} {}", at.tap),
            }
        }
    }
}

#[test]
fn learned_positions_tell_repetitions_apart() {
    for name in ["gpt2", "gpt-neo"] {
        let found = study(name, Precision::F32);
        assert!(found.learned_positions);
        assert_eq!(found.expected_and_found(), (0, 0));
        for at in found.repeats.iter().flat_map(|repeats| &repeats.taps) {
            assert_eq!(at.equal_pairs, 0, "{name} {}", at.tap);
            assert_eq!(at.verdict, Verdict::Separated, "{name} {}", at.tap);
        }
    }
}

#[test]
fn parts_add_up_to_the_whole() {
    let model = model("llama", Precision::F32);
    let folder = tempfile::tempdir().unwrap();
    let options = RepeatOptions {
        taps: vec![Tap::Block(2)],
        tokens: vec![7, 40, 41],
        most: 5,
        bos: model.bos_token_id(),
    };
    let study = |run: Run<'_>| repeats(&model.decoder, &options, run).unwrap();
    assert_eq!(in_parts(folder.path(), study), study(Run::in_memory(&mut |_| ())));
}
