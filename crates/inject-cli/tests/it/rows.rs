//! `inject invert` on rows that are changed, missing, or in another order.

use std::path::{Path, PathBuf};

use inject_sipit::{
    Inverter, PolicyChoice, Settings, TargetStates, Verdict,
    burn::tensor::Device,
    models::{FloatFormat, Tap, silent},
    ndarray::{Array2, Axis, s},
    states::foreign::{ColumnChoice, StatesFile},
};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;

use super::support::{Ran, run_with};

const PROMPT: [u32; 8] = [31, 41, 59, 26, 53, 58, 9, 79];

/// The states of the prompt at block-2, as the program reads them.
fn states() -> Array2<f32> {
    let dumps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-states/tests/fixtures/dumps");
    let mut file = StatesFile::open(dumps.join("modules.safetensors")).unwrap();
    let states = file.column(ColumnChoice::Tap(Tap::Block(2))).unwrap().into_array();
    states.mapv(|value| value as f32)
}

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures").join(name)
}

/// Writes states to a file, and inverts it.
fn invert(states: &Array2<f32>, options: &str) -> Ran {
    invert_beside(states, None, options)
}

/// The same with the position of each row beside it.
fn invert_beside(states: &Array2<f32>, positions: Option<&[i64]>, options: &str) -> Ran {
    let beside = positions.map(|positions| ("positions", positions));
    invert_with(states, beside.as_slice(), options)
}

/// The same with any integers beside it.
fn invert_with(states: &Array2<f32>, beside: &[(&str, &[i64])], options: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states.safetensors");
    let values: Vec<u8> = states.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = vec![states.nrows(), states.ncols()];
    let mut tensors = vec![("states", TensorView::new(Dtype::F32, shape, &values).unwrap())];
    let bytes = |numbers: &[i64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let beside: Vec<(&str, Vec<u8>)> = beside.iter().map(|&(name, numbers)| (name, bytes(numbers))).collect();
    for (name, bytes) in &beside {
        tensors.push((*name, TensorView::new(Dtype::I64, vec![bytes.len() / 8], bytes).unwrap()));
    }
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    let model = model("llama");
    let mut arguments = vec!["invert", "--model", model.to_str().unwrap(), "--states", "states.safetensors"];
    arguments.extend(options.split_whitespace());
    run_with(folder.path(), &arguments)
}

#[track_caller]
fn recovered(states: &Array2<f32>, options: &str, status: i32) -> Value {
    let ran = invert(states, &format!("--tap block-2 --json {options}")).with_status(status);
    serde_json::from_str::<Value>(&ran.out).unwrap()["recovered"].clone()
}

#[test]
fn a_factor_of_all_states_is_named() {
    let found = recovered(&states().mapv(|value| value * 0.125), "", 0);
    assert_eq!(found["token_ids"], Value::from(&PROMPT[..]));
    assert_eq!(found["change"]["kind"], "scaled");
    let by = found["change"]["by"].as_f64().unwrap();
    assert!((by - 0.125).abs() <= 0.125 * found["change"]["within"].as_f64().unwrap(), "{found}");
    let ran = invert(&states().mapv(|value| value * 0.125), "--tap block-2");
    assert!(ran.out.contains("the states are 0.125 times those of the model"), "{}", ran.out);
    // The tap is found beside the factor.
    invert(&states().mapv(|value| value * 0.125), "--tap auto --json")
        .with_status(0)
        .says(&["block-2, found from the first state"]);
    // States as the model computes them have no such field.
    assert!(recovered(&states(), "", 0).get("change").is_none());
}

#[test]
fn a_gap_in_exact_states_is_not_explained_by_other_weights() {
    let decoder = crate::bundled_model::load(&Device::flex()).decoder;
    for tap in [Tap::Block(1), Tap::Block(3)] {
        let whole = TargetStates::of_prompt(&decoder, tap, &PROMPT).unwrap();
        for rows in [&[0, 2, 4, 6][..], &[0, 2, 1, 3, 4]] {
            let states = whole.states().select(Axis(0), rows);
            let target = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
            let inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
            let policy = PolicyChoice::auto(&decoder, tap, rows.len(), None, None).policy;
            let found = inverter.invert(&target, &mut inverter.searcher(&policy), &mut silent).unwrap();
            assert_eq!(found.producer, None, "{tap}, {rows:?}");
            assert!(found.positions[0].verdict.is_verified(), "{tap}, {rows:?}");
            assert_eq!(found.positions[1].verdict, Verdict::Failed, "{tap}, {rows:?}");
        }
    }
    // The program names the cause, with the option to try.
    let ran = invert(&states().select(Axis(0), &[0, 2, 4, 6]), "--tap block-2 --json").with_status(3);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let cause = &found["recovered"]["likely_cause"];
    assert_eq!(cause["kind"], "rows");
    for part in ["a row is missing", "--missing 1"] {
        assert!(cause["text"].as_str().unwrap().contains(part), "{cause}");
    }
}

#[test]
fn missing_rows_are_named_or_rows_of_nan() {
    let kept: Vec<usize> = (0..PROMPT.len()).filter(|&at| at != 3).collect();
    let without = states().select(Axis(0), &kept);
    let mut nan = states();
    nan.row_mut(3).fill(f32::NAN);
    for (states, options) in [(&without, "--missing 3"), (&nan, "")] {
        let found = recovered(states, options, 0);
        assert_eq!(found["token_ids"], Value::from(&PROMPT[..]), "{options}");
        assert_eq!(found["positions"][3]["found_by"], "gap");
    }
    invert(&without, "--tap block-2 --missing 9").with_status(1).says(&["position 9 has no state"]);
}

#[test]
fn a_gap_that_nothing_bridges_is_named_and_what_follows_is_guessed() {
    let without = states().select(Axis(0), &[0, 1, 2, 6, 7]);
    let found = recovered(&without, "--missing 3,4,5", 3);
    assert_eq!(
        found["token_ids"].as_array().unwrap()[..3],
        PROMPT[..3].iter().map(|&id| Value::from(id)).collect::<Vec<_>>()[..]
    );
    for at in 3..8 {
        let row = &found["positions"][at];
        assert_eq!((&row["verdict"], &row["token_id"]), (&Value::from("open"), &Value::Null), "{row}");
        assert_eq!(row.get("guess").is_some(), at >= 6, "{row}");
    }
    assert_eq!(found["likely_cause"]["kind"], "rows");
    let ran = invert(&without, "--tap block-2 --missing 3,4,5");
    assert!(ran.out.contains("guessed, and not verified, at 2 positions from 6 to 7"), "{}", ran.out);
}

#[test]
fn rows_are_put_in_the_order_of_their_positions() {
    let rows = [4, 0, 7, 1, 2, 6, 5];
    let states = states().select(Axis(0), &rows);
    let positions = rows.map(|row| row as i64);
    let ran = invert_beside(&states, Some(&positions), "--tap block-2 --json").with_status(0);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["recovered"]["token_ids"], Value::from(&PROMPT[..]));
    assert_eq!(json["recovered"]["positions"][3]["found_by"], "gap");
    for wrong in [&[0, 1, 2, 3, 4, 5, 5][..], &[-1, 1, 2, 3, 4, 5, 6], &[0, 1]] {
        invert_beside(&states, Some(wrong), "--tap block-2")
            .with_status(1)
            .says(&["expected one for each row"]);
    }
}

#[test]
fn a_wrong_prompt_is_not_called_equal_and_the_status_says_so() {
    let mut ids = PROMPT.map(i64::from);
    ids[3] += 1;
    let of_another = [("token_ids", &ids[..])];
    let ran = invert_with(&states(), &of_another, "--tap block-2 --json").with_status(4);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["recovered"]["verified"], true);
    assert_eq!(json["recovered"]["equals_prompt"], false);
    assert_eq!(json["recovered"]["likely_cause"]["kind"], "other-prompt");
    let ran = invert_with(&states(), &of_another, "--tap block-2");
    assert!(ran.out.contains("equal to the prompt: no"), "{}", ran.out);
}

#[test]
fn the_tap_is_found_from_the_row_of_the_first_position() {
    let rows = [3, 1, 0, 2, 5, 4];
    let states = states().select(Axis(0), &rows);
    let positions = rows.map(|row| row as i64);
    let ran = invert_beside(&states, Some(&positions), "--json").with_status(0);
    assert!(ran.err.contains("block-2, found from the first state"), "{}", ran.err);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["recovered"]["token_ids"], Value::from(&PROMPT[..6]));
}

#[test]
fn ids_before_the_first_row_are_taken_as_given() {
    let states = states().select(Axis(0), &[3, 5, 6]);
    let ids = PROMPT.map(i64::from);
    for options in ["--tap block-2", ""] {
        let ran = invert_with(
            &states,
            &[("positions", &[3, 5, 6]), ("token_ids", &ids)],
            &format!("--json {options}"),
        )
        .with_status(0);
        ran.says(&["taken from the file as given: 3 tokens before the first row"]);
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        let found = &json["recovered"];
        assert_eq!(found["token_ids"], Value::from(&PROMPT[..7]));
        assert_eq!(found["equals_prompt"], true);
        for (at, verdict) in [(0, "given"), (2, "given"), (3, "verified")] {
            assert_eq!(found["positions"][at]["verdict"], verdict, "{found}");
        }
    }
    // Ids of the rows alone are not those of the tokens before them.
    let ran = invert_with(&states, &[("positions", &[3, 5, 6]), ("token_ids", &ids[..3])], "--tap block-2");
    assert!(!ran.err.contains("as given"), "{}", ran.err);
}

#[test]
fn first_rows_of_nan_are_missing_as_rows_without_a_position_are() {
    let ids = PROMPT.map(i64::from);
    for first in [1, 3] {
        let mut nan = states();
        nan.slice_mut(s![..first, ..]).fill(f32::NAN);
        let prefix: Vec<String> = PROMPT[..first].iter().map(u32::to_string).collect();
        let prefix = format!("--prefix-ids {}", prefix.join(","));
        for (beside, prefix) in [(Some(("token_ids", &ids[..])), ""), (None, &prefix[..])] {
            for tap in ["--tap block-2", ""] {
                let options = format!("--json {tap} {prefix}");
                let ran = invert_with(&nan, beside.as_slice(), &options);
                assert_eq!(ran.status, 0, "{options}: {}{}", ran.out, ran.err);
                let json: Value = serde_json::from_str(&ran.out).unwrap();
                let found = &json["recovered"];
                assert_eq!(found["token_ids"], Value::from(&PROMPT[..]), "{options}");
                for (at, verdict) in [(first - 1, "given"), (first, "verified")] {
                    assert_eq!(found["positions"][at]["verdict"], verdict, "{options}: {found}");
                }
            }
        }
    }
}

#[test]
fn last_rows_without_a_state_are_said_to_be_the_last() {
    let mut nan = states();
    nan.row_mut(7).fill(f32::NAN);
    let found = recovered(&nan, "", 3);
    let cause = found["likely_cause"]["text"].as_str().unwrap();
    assert!(cause.contains("position 7 has no row, and no row follows"), "{cause}");
}

#[test]
fn rows_of_zeros_are_padding_or_missing() {
    let mut within = states();
    within.row_mut(3).fill(0.0);
    let found = recovered(&within, "", 0);
    assert_eq!(found["token_ids"], Value::from(&PROMPT[..]));
    assert_eq!(found["positions"][3]["found_by"], "gap");

    let mut first = Array2::zeros((PROMPT.len() + 2, states().ncols()));
    first.slice_mut(s![2.., ..]).assign(&states());
    for tap in ["--tap block-2", "--tap auto"] {
        let ran = invert(&first, &format!("{tap} --json"));
        assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
        assert!(ran.err.contains("the first 2 rows are of zeros and taken for padding"), "{}", ran.err);
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(json["recovered"]["token_ids"], Value::from(&PROMPT[..]));
    }
    // Known tokens stand for rows that were not written.
    let mut unwritten = states();
    unwritten.slice_mut(s![..2, ..]).fill(0.0);
    let found = recovered(&unwritten, "--prefix-ids 31,41", 0);
    assert_eq!(found["token_ids"], Value::from(&PROMPT[..]));
    assert_eq!(found["positions"][1]["verdict"], "given");
}

#[test]
fn states_of_zeros_are_named_as_that() {
    for options in ["", "--tap block-2"] {
        invert(&Array2::zeros(states().dim()), options).with_status(1).says(&["nothing but zeros"]);
    }
}

#[test]
fn rows_and_coordinates_in_unknown_order_are_put_in_order() {
    let order = [3, 0, 6, 1, 7, 2, 5, 4];
    let mut from = vec![0; PROMPT.len()];
    order.iter().enumerate().for_each(|(at, &row)| from[row] = at);
    let found = recovered(&states().select(Axis(0), &from), "--order shuffled", 0);
    assert_eq!(found["token_ids"], Value::from(&PROMPT[..]));
    assert_eq!(found["order"], Value::from(&order[..]));

    let width = states().ncols();
    let order: Vec<usize> = (0..width).rev().collect();
    let found = recovered(&states().select(Axis(1), &order), "--coordinates permuted", 0);
    assert_eq!(found["token_ids"], Value::from(&PROMPT[..]));
    assert_eq!(found["change"]["kind"], "permuted");
    assert_eq!(found["change"]["coordinates"], Value::from(order));
}

#[test]
fn rows_without_a_place_are_not_explained_by_a_budget_that_nobody_gave() {
    let cause = |states: &Array2<f32>, options: &str| {
        let ran = invert(states, &format!("--order shuffled --json {options}"));
        assert_eq!(ran.status, 3, "{options}: {}{}", ran.out, ran.err);
        serde_json::from_str::<Value>(&ran.out).unwrap()["recovered"]["likely_cause"].clone()
    };
    let states = states();
    let at_other_tap = cause(&states, "--tap block-1");
    assert_eq!(at_other_tap["kind"], "tap-or-weights", "{at_other_tap}");
    let twice = cause(&states.mapv(|value| 2.0 * value), "--tap block-2");
    assert_eq!(twice["kind"], "tap-or-weights", "{twice}");
    for (cause, part) in [(&at_other_tap, "block-1 was taken"), (&twice, "is 2.00 times a state")] {
        assert!(cause["text"].as_str().unwrap().contains(part), "{cause}");
    }
    let missing = cause(&states.select(Axis(0), &[5, 0, 6, 1, 2]), "--tap block-2");
    assert_eq!(missing["kind"], "rows", "{missing}");
    assert!(missing["text"].as_str().unwrap().contains("a row is missing"), "{missing}");
    let spent = cause(&states, "--tap block-1 --max-seconds 0.000001");
    assert_eq!(spent["kind"], "budget", "{spent}");
}

#[test]
fn unknown_order_asks_for_the_tap_and_for_one_prompt() {
    invert(&states(), "--order shuffled").with_status(2).says(&["give --tap"]);
    invert(&states(), "--tap block-2 --order shuffled --out results.jsonl")
        .with_status(2)
        .says(&["describe the rows of one prompt"]);
}
