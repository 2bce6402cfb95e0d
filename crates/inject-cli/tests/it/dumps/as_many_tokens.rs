//! Files with as many tokens as taps, whose axes may be the other way round.

use std::path::Path;

use inject_sipit::{
    TargetStates,
    burn::tensor::Device,
    models::Tap,
    ndarray::{Array2, Array3, Axis, s, stack},
    states::foreign::{ColumnChoice, StatesFile},
};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;

use super::{FIRST, fixtures, invert, recovered};
use crate::{bundled_model::load, support::run_with};

/// The states of the first tokens at some of the five taps of the model. Shape `[tap, token, d_model]`.
fn states(taps: &[usize]) -> Array3<f32> {
    let mut file = StatesFile::open(fixtures().join("vllm.safetensors")).unwrap();
    let columns: Vec<_> = taps
        .iter()
        .map(|&tap| {
            let column = file.column(ColumnChoice::Index(tap)).unwrap().into_array();
            column.slice(s![..taps.len(), ..]).mapv(|value| value as f32)
        })
        .collect();
    stacked(&columns)
}

fn stacked(columns: &[Array2<f32>]) -> Array3<f32> {
    stack(Axis(0), &columns.iter().map(|column| column.view()).collect::<Vec<_>>()).unwrap()
}

/// The same with the first two axes exchanged.
fn turned(states: Array3<f32>) -> Array3<f32> {
    states.permuted_axes([1, 0, 2]).as_standard_layout().into_owned()
}

/// Writes states, and the ids of as many tokens under this name.
fn write(path: &Path, states: &Array3<f32>, ids: &str) {
    let values: Vec<u8> = states.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tokens = states.shape()[0];
    let numbers: Vec<u8> = FIRST[..tokens].iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect();
    let tensors = [
        ("hidden_states", TensorView::new(Dtype::F32, states.shape().to_vec(), &values).unwrap()),
        (ids, TensorView::new(Dtype::I64, vec![tokens], &numbers).unwrap()),
    ];
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

#[test]
fn the_axes_of_as_many_tokens_as_taps_are_those_of_the_format_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states.safetensors");
    let file = path.to_str().unwrap();
    let (all, of_list) = (states(&[0, 1, 2, 3, 4]), states(&[0, 1, 2, 4]));
    for (states, ids, axes) in [
        // As vLLM writes, and as a stack of `hidden_states`.
        (turned(all.clone()), "token_ids", None),
        (of_list.clone(), "input_ids", None),
        // The other way round.
        (all, "token_ids", Some("tap-token")),
        (of_list.clone(), "token_ids", Some("tap-token")),
    ] {
        write(&path, &states, ids);
        let tokens = Value::from(&FIRST[..states.shape()[0]]);
        for tap in ["block-1", "block-2"] {
            let stated = match axes {
                None => {
                    let ran = invert(file, &format!("--tap {tap}"));
                    assert!(ran.err.contains("say so by --axes"), "{ids}: {}", ran.err);
                    String::new()
                }
                Some(axes) => {
                    let ran = invert(file, &format!("--tap {tap}"));
                    assert!(ran.status == 1 || ran.status == 2, "{ids} {tap}: {}{}", ran.out, ran.err);
                    format!("--axes {axes}")
                }
            };
            assert_eq!(
                recovered(file, &format!("--tap {tap} {stated}"), 0)["token_ids"],
                tokens,
                "{ids} {tap}"
            );
        }
    }
}

#[test]
fn axes_that_the_states_contradict_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states.safetensors");
    let file = path.to_str().unwrap();
    for (states, ids, right) in [
        (states(&[0, 1, 2, 3, 4]), "token_ids", "--axes tap-token"),
        (turned(states(&[0, 1, 2, 4])), "input_ids", "--axes token-tap"),
        // No column holds embeddings.
        (turned(states(&[1, 2, 3, 4])), "input_ids", "--axes token-tap"),
    ] {
        write(&path, &states, ids);
        for tap in ["embedding", "block-1", "block-2", "auto"] {
            let ran = invert(file, &format!("--tap {tap}"));
            assert_eq!(ran.status, 1, "{right} {tap}: {}{}", ran.out, ran.err);
            assert!(ran.err.contains(right) && ran.out.is_empty(), "{right} {tap}: {}", ran.err);
        }
    }
}

#[test]
fn a_later_token_of_learned_positions_has_no_first_state() {
    let folder = tempfile::tempdir().unwrap();
    let decoder = load(&Device::flex()).decoder;
    let mut taps = Tap::all(decoder.config().n_layers());
    let states_at = |taps: &[Tap]| {
        let prompt = &FIRST[..taps.len()];
        let at =
            |&tap: &Tap| TargetStates::of_prompt(&decoder, tap, prompt).unwrap().states().mapv(|v| v as f32);
        stacked(&taps.iter().map(at).collect::<Vec<_>>())
    };
    let all = states_at(&taps);
    // As `hidden_states` has them.
    taps.remove(taps.len() - 2);
    for (states, ids, right) in [
        (all, "token_ids", "--axes tap-token"),
        (states_at(&taps), "token_ids", "--axes tap-token"),
        (turned(states_at(&taps)), "input_ids", "--axes token-tap"),
    ] {
        write(&folder.path().join("states.safetensors"), &states, ids);
        for tap in ["block-3", "auto"] {
            let ran = run_with(folder.path(), &["invert", "--states", "states.safetensors", "--tap", tap]);
            // Columns without names need one first.
            let unnamed = ran.status == 2 && ran.err.contains("without naming them");
            assert!(ran.status == 1 || unnamed && tap != "auto", "{right} {tap}: {}{}", ran.out, ran.err);
            assert!(unnamed || ran.err.contains(right), "{right} {tap}: {}", ran.err);
        }
    }
}
