//! The fixture of the documentation's examples.

use std::path::{Path, PathBuf};

use inject_sipit::{
    InvertError, TargetStates,
    collisions::distance,
    models::{FloatFormat, Model, Origin, Tap},
    states::foreign::write_npy,
};
use inject_sipit::{NoiseModel, collisions::norm};

const PROMPT: [u32; 4] = [17, 4, 33, 4];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny")
}

#[test]
fn the_stored_states_are_those_of_the_prompt() {
    for device in inject_testing::compiled() {
        let model = Model::load(Origin::of_folder(&folder()), FloatFormat::F32, &device).unwrap();
        let stored = TargetStates::open(&folder().join("states.safetensors"), None).unwrap();
        assert_eq!((stored.tap(), stored.positions()), (Tap::Block(2), PROMPT.len()));
        let computed = TargetStates::of_prompt(&model.decoder, stored.tap(), &PROMPT).unwrap();
        let noise = NoiseModel::measure(&model.decoder, stored.tap(), PROMPT.len()).unwrap();
        for position in 0..PROMPT.len() {
            let (stored, computed) = (stored.state(position), computed.state(position));
            let apart = distance(stored, computed);
            let floor = noise.bound(norm(computed), 0.0);
            assert!(apart <= floor, "position {position}: {apart}, floor {floor}");
        }
    }
}

#[test]
fn a_tap_that_contradicts_the_file_is_refused() {
    let path = folder().join("states.safetensors");
    assert_eq!(TargetStates::open(&path, Some(Tap::Block(2))).unwrap().tap(), Tap::Block(2));
    let refused = TargetStates::open(&path, Some(Tap::Block(1))).unwrap_err();
    let InvertError::TapNotInFile { found, expected, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((&found[..], *expected), (&[Tap::Block(2)][..], Tap::Block(1)));
    assert!(refused.to_string().contains("states.safetensors"), "{refused}");

    // A file of numbers alone says nothing about its tap.
    let states = TargetStates::open(&path, None).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let plain = copy.path().join("states.npy");
    write_npy(&plain, states.states().mapv(|value| value as f32).view()).unwrap();
    let refused = TargetStates::open(&plain, None).unwrap_err();
    assert!(matches!(refused, InvertError::UnknownTap { columns: 1, named: 0, .. }), "{refused}");
    assert_eq!(TargetStates::open(&plain, Some(Tap::Block(1))).unwrap().tap(), Tap::Block(1));
}
