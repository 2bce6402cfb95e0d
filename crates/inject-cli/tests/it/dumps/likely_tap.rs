//! The tap of states that their producer changed, or computed with rounded weights.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use inject_sipit::{
    TargetStates,
    models::{Decoder, FloatFormat, Matrix, Model, NumberFormat, Origin, Precision, Tap},
    states::foreign::write_npy,
};
use ndarray::Array2;
use serde_json::Value;

use crate::support::{Ran, run_with};

const PROMPT: [u32; 6] = [618, 819, 325, 907, 294, 497];

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("model")
}

fn decoder() -> Decoder {
    Model::load(Origin::of_folder(&bundled()), Precision::default(), &Device::flex()).unwrap().decoder
}

/// Inverts the states of [`PROMPT`] at a tap of the model, changed in some way.
fn invert(decoder: &Decoder, tap: Tap, change: &dyn Fn(&mut Array2<f64>), options: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("states.npy");
    let mut states = TargetStates::of_prompt(decoder, tap, &PROMPT).unwrap().states().to_owned();
    change(&mut states);
    write_npy(&path, states.mapv(|value| value as f32).view()).unwrap();
    let mut arguments = vec!["invert", "--states", path.to_str().unwrap(), "--json"];
    arguments.extend(options.split_whitespace());
    run_with(dir.path(), &arguments)
}

#[track_caller]
fn assert_recovered(ran: &Ran, tap: Tap) {
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["recovered"]["token_ids"], Value::from(&PROMPT[..]));
    assert_eq!(json["tap"], tap.to_string());
}

#[test]
fn the_last_block_is_told_from_the_final_norm_by_noisy_directions() {
    let (decoder, bf16) = (decoder(), FloatFormat::Bf16);
    let unit = |states: &mut Array2<f64>| {
        for mut row in states.outer_iter_mut() {
            let length = row.dot(&row).sqrt();
            row.mapv_inplace(|value| bf16.round(value / length));
        }
    };
    for tap in [Tap::Block(5), Tap::FinalNorm] {
        assert_recovered(&invert(&decoder, tap, &unit, "--tap auto"), tap);
    }
}

#[test]
fn a_wrong_tap_of_states_that_were_multiplied_is_named() {
    let decoder = decoder();
    let scaled = |states: &mut Array2<f64>| states.mapv_inplace(|value| 0.37 * value);
    for (tap, given) in
        [(Tap::Block(5), Tap::FinalNorm), (Tap::FinalNorm, Tap::Block(5)), (Tap::Block(4), Tap::Block(5))]
    {
        invert(&decoder, tap, &scaled, &format!("--tap {given}"))
            .with_status(1)
            .says(&[&format!("look like states of {tap}, not {given}")]);
    }
}

#[test]
fn rounded_weights_need_no_tap() {
    let decoder = decoder();
    let unchanged = |_: &mut Array2<f64>| {};
    for (format, tap) in [
        (NumberFormat::Q4_0, Tap::Block(3)),
        (NumberFormat::Q4_0, Tap::Block(5)),
        (NumberFormat::Int8, Tap::Block(3)),
    ] {
        let rounded = decoder.clone().with_weights_in(format).unwrap();
        for options in ["--tap auto".to_owned(), format!("--tap {tap}")] {
            assert_recovered(&invert(&rounded, tap, &unchanged, &options), tap);
        }
    }
}

#[test]
fn other_weights_of_the_model_are_not_called_another_model() {
    let other = decoder().map_matrices(&mut |matrix, values| match matrix {
        Matrix::AttentionOut { .. } => values * 1.3,
        _ => values,
    });
    invert(&other, Tap::Block(3), &|_| {}, "--tap auto").with_status(1).says(&[
        "other weights of this model",
        "try --tap block-3, where the nearest state is",
        "of the state's length",
    ]);
}
