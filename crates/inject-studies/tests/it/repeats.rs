//! Repetitions of one token.

use inject_sipit::{
    collisions::Resolution,
    models::{FloatFormat, Tap},
};
use inject_studies::{
    Run, repeats,
    repeats::{EqualityReason, RepeatOptions, RepeatStudy},
};

use super::{in_parts, model};

fn study(name: &str, precision: FloatFormat) -> RepeatStudy {
    let model = model(name, precision);
    let taps = Tap::all(model.decoder.config().n_layers());
    let bos = model.bos_token_id();
    let options = RepeatOptions::new(taps, vec![7, 40], 12).with_bos(bos);
    repeats(&model.decoder, &options, Run::silent()).unwrap()
}

#[test]
fn rotary_models_without_bos_collide_at_every_tap_and_the_study_says_why() {
    for name in ["llama", "llama3-scaling", "mistral", "gemma3", "phi3"] {
        let found = study(name, FloatFormat::F32);
        assert!(!found.learned_positions);
        let (expected, collisions) = found.expected_and_found();
        assert!(expected > 0 && collisions == expected, "{name}: {collisions} of {expected}");
        for repeats in found.repeats.iter().filter(|repeats| repeats.bos.is_none()) {
            for at in &repeats.taps {
                assert_ne!(at.resolution, Resolution::Separated, "{name} {}: {at:?}", at.tap);
                assert!(at.reason.is_some_and(|reason| !reason.to_string().is_empty()));
            }
        }
    }
}

#[test]
fn in_f64_the_collisions_are_exact() {
    for name in ["llama", "gemma3", "phi3"] {
        let found = study(name, FloatFormat::F64);
        for at in
            found.repeats.iter().filter(|repeats| repeats.bos.is_none()).flat_map(|repeats| &repeats.taps)
        {
            assert_eq!(
                (at.resolution, at.equal_pairs),
                (Resolution::Collision, at.pairs),
                "{name} {}",
                at.tap
            );
        }
    }
}

#[test]
fn repetitions_after_bos_have_different_states() {
    for name in ["llama", "mistral"] {
        let found = study(name, FloatFormat::F32);
        let after_bos: Vec<_> = found.repeats.iter().filter(|repeats| repeats.bos.is_some()).collect();
        assert_eq!(after_bos.len(), 2);
        for at in after_bos.iter().flat_map(|repeats| &repeats.taps) {
            match at.tap {
                Tap::Embedding => {
                    assert_eq!(
                        (at.resolution, at.reason),
                        (Resolution::Collision, Some(EqualityReason::EmbeddingAlone))
                    )
                }
                _ => {
                    assert_eq!((at.resolution, at.reason), (Resolution::Separated, None), "{name} {}", at.tap)
                }
            }
        }
    }
}

#[test]
fn learned_positions_tell_repetitions_apart() {
    for name in ["gpt2", "gpt-neo"] {
        let found = study(name, FloatFormat::F32);
        assert!(found.learned_positions);
        assert_eq!(found.expected_and_found(), (0, 0));
        for at in found.repeats.iter().flat_map(|repeats| &repeats.taps) {
            assert_eq!(at.equal_pairs, 0, "{name} {}", at.tap);
            assert_eq!(at.resolution, Resolution::Separated, "{name} {}", at.tap);
        }
    }
}

#[test]
fn parts_add_up_to_the_whole() {
    let model = model("llama", FloatFormat::F32);
    let folder = tempfile::tempdir().unwrap();
    let options = RepeatOptions::new(vec![Tap::Block(2)], vec![7, 40, 41], 5).with_bos(model.bos_token_id());
    let study = |run: Run<'_>| repeats(&model.decoder, &options, run).unwrap();
    assert_eq!(in_parts(folder.path(), |study| &study.completeness, study), study(Run::silent()));
}
