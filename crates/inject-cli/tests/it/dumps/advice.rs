//! The commands that the program suggests work when they are typed.

use std::{fs, path::Path};

use inject_sipit::{
    TargetStates,
    burn::tensor::Device,
    models::{FloatFormat, Model, Origin, Tap},
    ndarray::{Array2, s},
    states::foreign::write_npy,
};
use serde_json::{Value, json};

use super::{FIRST, fixtures, invert, invert_by, model, recovered};

/// The states of a prompt at a tap of a model.
fn states_of(folder: &Path, tap: Tap, ids: &[u32]) -> Array2<f32> {
    let model = Model::load(Origin::of_folder(folder), FloatFormat::F32, &Device::flex()).unwrap();
    TargetStates::of_prompt(&model.decoder, tap, ids).unwrap().states().mapv(|value| value as f32)
}

/// Writes states and ids, and the name of a tap, as a `.safetensors` file.
fn write(path: &Path, states: &Array2<f32>, ids: &[i64], tap: Option<&str>) {
    let values: Vec<u8> = states.iter().flat_map(|value| value.to_le_bytes()).collect();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let mut header = json!({
        "states": {"dtype": "F32", "shape": states.shape(), "data_offsets": [0, values.len()]},
        "token_ids": {"dtype": "I64", "shape": [ids.len()], "data_offsets": [values.len(), values.len() + bytes.len()]},
    });
    if let Some(tap) = tap {
        header["__metadata__"] = json!({ "tap": tap });
    }
    let header = header.to_string();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &values, &bytes].concat();
    fs::write(path, file).unwrap();
}

#[test]
fn a_name_that_is_not_that_of_a_tap_is_no_reason_to_refuse_the_one_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("numbered.safetensors");
    write(&path, &states_of(&model(), Tap::Block(2), &FIRST), &FIRST.map(i64::from), Some("2"));
    let ran = invert(path.to_str().unwrap(), "");
    assert_eq!(ran.status, 1, "{}", ran.out);
    assert!(ran.err.contains("unknown tap `2`"), "{}", ran.err);
    assert!(ran.err.contains("give --tap TAP, or --tap auto to find it"), "{}", ran.err);
    for tap in ["block-2", "auto"] {
        let recovered = recovered(path.to_str().unwrap(), &format!("--tap {tap}"), 0);
        assert_eq!(recovered["token_ids"], Value::from(&FIRST[..]), "{tap}");
    }
}

#[test]
fn a_mask_that_cannot_be_read_can_be_ignored() {
    let refused = invert("packed.safetensors", "--row 1 --tap block-2");
    assert_eq!(refused.status, 1, "{}", refused.out);
    assert!(refused.err.contains("ignore it by --ignore-mask"), "{}", refused.err);
    let first = recovered("packed.safetensors", "--row 0 --tap block-2 --ignore-mask --axes batch-token", 0);
    assert_eq!(first["token_ids"], Value::from(&FIRST[..]));
}

#[test]
fn the_tap_that_is_suggested_can_be_given_where_the_file_names_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("misnamed.safetensors");
    write(&path, &states_of(&model(), Tap::Block(2), &FIRST), &FIRST.map(i64::from), Some("block-1"));
    let path = path.to_str().unwrap();
    let ran = invert(path, "").with_status(1);
    assert!(ran.err.trim_end().ends_with("give --tap block-2"), "{}", ran.err);
    assert_eq!(recovered(path, "--tap block-2", 0)["token_ids"], Value::from(&FIRST[..]));
}

#[test]
fn a_column_of_a_stack_is_named_beside_its_tap() {
    let ran = invert("stack.safetensors", "--column 2 --tap block-1").with_status(1);
    assert!(ran.err.trim_end().ends_with("give --column 2 --tap block-2"), "{}", ran.err);
    assert_eq!(
        recovered("stack.safetensors", "--column 2 --tap block-2", 0)["token_ids"],
        Value::from(&FIRST[..])
    );
    let layers = Model::load(Origin::of_folder(&model()), FloatFormat::F32, &Device::flex()).unwrap();
    let last = Tap::Block(layers.decoder.config().n_layers());
    invert("stack.safetensors", &format!("--tap {last}"))
        .with_status(2)
        .says(&[&format!("with --column beside --tap {last}")]);
}

#[test]
fn the_missing_row_that_is_suggested_is_counted_from_the_first_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefix-and-gap.safetensors");
    let whole = states_of(&model(), Tap::Block(2), &FIRST);
    // The rows of positions 2, 3, 5, 6 and 7.
    let rows = inject_sipit::ndarray::concatenate![
        inject_sipit::ndarray::Axis(0),
        whole.slice(s![2..4, ..]),
        whole.slice(s![5.., ..])
    ];
    write(&path, &rows, &FIRST.map(i64::from), None);
    let path = path.to_str().unwrap();
    // Nothing says yet which of the ids the rows belong to, and so the first row has those before it given.
    let cause = recovered(path, "--tap block-2", 3)["likely_cause"]["text"].to_string();
    assert!(cause.contains("try --missing 2 or --order shuffled --tap block-2"), "{cause}");
    let bridged = recovered(path, "--tap block-2 --missing 2", 0);
    assert_eq!(bridged["token_ids"], Value::from(&FIRST[..]));
}

#[test]
fn final_norm_and_the_last_block_are_told_apart_where_one_is_nearly_a_multiple_of_the_other() {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("model");
    let (block, norm) = (Tap::Block(5), Tap::FinalNorm);
    let dir = tempfile::tempdir().unwrap();
    for (own, given) in [(norm, block), (block, norm)] {
        let path = dir.path().join(format!("{own}.npy"));
        let ids = [618, 819, 17, 300, 41, 9];
        write_npy(&path, states_of(&bundled, own, &ids).view()).unwrap();
        let path = path.to_str().unwrap();
        let ran = invert_by(&bundled, path, &format!("--tap {given}")).with_status(1);
        assert!(ran.err.trim_end().ends_with(&format!("give --tap {own}")), "{}", ran.err);
        invert_by(&bundled, path, &format!("--tap {own}")).with_status(0);
    }
}

#[test]
fn one_file_of_a_folder_does_not_end_the_others_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let own = states_of(&model(), Tap::Block(2), &FIRST);
    write_npy(folder.join("a.npy"), own.view()).unwrap();
    write_npy(folder.join("b.npy"), states_of(&model(), Tap::Block(1), &FIRST).view()).unwrap();
    write_npy(folder.join("c.npy"), Array2::<f32>::zeros((4, own.ncols())).view()).unwrap();
    let named = states_of(&model(), Tap::Block(1), &FIRST);
    write(&folder.join("d.safetensors"), &named, &FIRST.map(i64::from), Some("block-1"));
    fs::copy(fixtures().join("any-name.safetensors"), folder.join("e.safetensors")).unwrap();
    let out = dir.path().join("out.jsonl");
    for turn in 0..2 {
        let options = format!("--tap block-2 --out {}", out.display());
        let ran = invert(folder.to_str().unwrap(), &options).with_status(3);
        let text = fs::read_to_string(&out).unwrap();
        let lines: Vec<Value> =
            text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        let verified: Vec<bool> =
            lines.iter().map(|line| line["recovered"]["verified"].as_bool().unwrap()).collect();
        assert_eq!(verified, [true, false, false, false, true], "turn {turn}");
        let path = |name: &str| folder.join(name).display().to_string();
        for (prompt, name, said) in [
            (1, "b.npy", "--tap block-1"),
            (2, "c.npy", "nothing but zeros"),
            (3, "d.safetensors", "--tap block-1"),
        ] {
            let cause = lines[prompt]["recovered"]["likely_cause"]["text"].as_str().unwrap();
            assert!(cause.starts_with(&path(name)) && cause.contains(said), "{cause}");
            assert!(turn == 1 || ran.err.contains(cause), "{}", ran.err);
        }
        assert_eq!(lines[1]["recovered"]["positions"].as_array().unwrap().len(), FIRST.len());
    }
    // The command that is named.
    let alone = folder.join("b.npy");
    assert_eq!(recovered(alone.to_str().unwrap(), "--tap block-1", 0)["token_ids"], Value::from(&FIRST[..]));
}
