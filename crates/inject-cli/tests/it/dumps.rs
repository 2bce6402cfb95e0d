//! `inject invert` on the files that other programs write; `inject-states/tests/fixtures/dumps/generate.py` says how they were made.

mod advice;
mod as_many_tokens;
mod chat_template;
mod likely_tap;

use std::path::{Path, PathBuf};

use inject_sipit::states::foreign::{ColumnChoice, StatesFile, write_npy};
use serde_json::Value;

use super::support::{Ran, refused, run_with};

const FIRST: [u32; 8] = [31, 41, 59, 26, 53, 58, 9, 79];
const SECOND: [u32; 5] = [27, 18, 28, 18, 2];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-states/tests/fixtures/dumps")
}

/// The model whose states the files hold.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/llama")
}

/// Inverts a file of the model that made the fixtures.
fn invert(file: &str, options: &str) -> Ran {
    invert_by(&model(), file, options)
}

fn invert_by(model: &Path, file: &str, options: &str) -> Ran {
    let mut arguments = vec!["invert", "--model", model.to_str().unwrap(), "--states", file];
    arguments.extend(options.split_whitespace());
    run_with(&fixtures(), &arguments)
}

#[track_caller]
fn recovered(file: &str, options: &str, status: i32) -> Value {
    let ran = invert(file, &format!("{options} --json")).with_status(status);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    json["recovered"].clone()
}

#[test]
fn every_layout_gives_its_prompt_back() {
    let first = [
        ("any-name.safetensors", ""),
        ("batch-of-one.safetensors", ""),
        ("batch-of-one.npy", ""),
        ("vllm.safetensors", ""),
        ("stack.safetensors", ""),
        ("side-by-side.safetensors", "--column 1"),
        ("rows-of-zeros.safetensors", ""),
        ("layers.safetensors", ""),
        ("modules.safetensors", ""),
        ("modules.safetensors", "--tensor model.layers.1"),
        ("hooks.safetensors", ""),
        ("batch-mask.safetensors", "--row 0"),
        ("batch-lengths.safetensors", "--row 0"),
        ("vllm-hook.safetensors", "--row 0"),
        ("stored.npz", ""),
        ("deflated.npz", ""),
        ("tensor.pt", ""),
        ("single-rows.pt", ""),
        ("listed-ids.pt", ""),
        ("listed-ids-prefix.pt", ""),
        ("view.bin", ""),
        ("tuple.pt", ""),
        ("list.pth", ""),
        ("output.pt", ""),
        ("nested.pt", ""),
        ("dictionaries.pt", "--row 0"),
        ("specforge.ckpt", "--column 1"),
        ("specforge.ckpt.gz", "--column 1"),
        ("vllm-hook.pt", "--row 0"),
        ("mask-floats.safetensors", "--row 0"),
        ("mask-added.safetensors", "--row 0"),
        ("expanded.pt", "--row 1"),
        ("base-output.pt", ""),
    ];
    for (file, options) in first {
        let recovered = recovered(file, &format!("--tap block-2 {options}"), 0);
        assert_eq!(recovered["token_ids"], Value::from(&FIRST[..]), "{file} {options}");
    }
    for file in [
        "batch-mask.safetensors",
        "batch-lengths.safetensors",
        "vllm-hook.safetensors",
        "vllm-hook.pt",
        "mask-added.safetensors",
        "left-padded.safetensors",
        "dictionaries.pt",
        "output-with-cache.pt",
        "output-with-old-cache.pt",
        "output-with-tuples.pt",
    ] {
        let row = if file.starts_with("output") { "" } else { "--row 1" };
        let recovered = recovered(file, &format!("--tap block-2 {row}"), 0);
        assert_eq!(recovered["token_ids"], Value::from(&SECOND[..]), "{file}");
    }
    for file in ["generated.pt", "generated-with-cache.pt"] {
        let generated = recovered(file, "--tap block-2", 0);
        assert_eq!(
            generated["token_ids"].as_array().unwrap()[..5],
            Value::from(&FIRST[..5]).as_array().unwrap()[..],
            "{file}"
        );
    }
}

#[test]
fn the_prompts_of_sentence_transformers_are_those_of_its_dictionaries() {
    for options in ["--row 1", "--tensor 1.token_embeddings"] {
        let second = recovered("sentences.pt", &format!("--tap final-norm {options}"), 0);
        assert_eq!(second["token_ids"], Value::from(&SECOND[..]), "{options}");
        assert_eq!(second["equals_prompt"], true, "{options}");
    }
}

#[test]
fn the_shallowest_of_several_named_taps_is_read() {
    let ran = invert("tuple.pt", "--json").with_status(0);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&json["tap"], &json["recovered"]["token_ids"]),
        (&"block-1".into(), &Value::from(&FIRST[..]))
    );
    let note = "holds the taps embedding, block-1, block-2, final-norm: block-1 is read";
    assert!(ran.err.contains(note), "{}", ran.err);
    let ran = invert("vllm-prefix.safetensors", "").with_status(0);
    assert!(ran.err.contains("3 rows of states for 8 token ids"), "{}", ran.err);
}

#[test]
fn ids_in_a_list_are_compared() {
    assert_eq!(recovered("listed-ids.pt", "--tap block-2", 0)["equals_prompt"], true);
    assert_eq!(recovered("listed-other-ids.pt", "--tap block-2", 4)["equals_prompt"], false);
}

#[test]
fn rows_of_a_generation_follow_the_prompt_whose_ids_the_file_has() {
    let alone = recovered("generated.pt", "--tap block-2", 0);
    let beside = recovered("generated-with-inputs.pt", "--tap block-2", 0);
    assert_eq!(beside["token_ids"], alone["token_ids"]);
    assert_eq!(beside["token_ids"].as_array().unwrap().len(), 8);
    assert_eq!(beside["equals_prompt"], Value::Null);
    let other = recovered("generated-with-other-inputs.pt", "--tap block-2", 4);
    assert_eq!((&other["token_ids"], &other["equals_prompt"]), (&alone["token_ids"], &Value::Bool(false)));
}

#[test]
fn a_batch_of_as_many_prompts_as_taps_is_no_stack() {
    for options in ["--tap block-2", "--tap auto", "--tap embedding", "--tap auto --column 1"] {
        for file in ["as-many-prompts.safetensors", "as-many-prompts.pt"] {
            let ran = invert(file, options).with_status(1);
            assert!(ran.err.contains("--axes batch-token"), "{file} {options}: {}", ran.err);
            assert_eq!(ran.out, "", "{file} {options}");
        }
    }
    for file in ["as-many-prompts.safetensors", "as-many-prompts.pt"] {
        let prompt = recovered(file, "--tap block-2 --axes batch-token --row 3", 0);
        assert_eq!(prompt["token_ids"], Value::from(&[14, 41, 59, 26, 53, 58][..]), "{file}");
    }
}

#[test]
fn a_column_that_fits_nothing_is_named() {
    invert("other-columns.safetensors", "--tap auto").with_status(0).says(&[
        "column 0: none, because it holds nothing but zeros",
        "column 1: block-2, found from the first state",
        "column 2: none, because no token tested has its first state",
        "times the noise floor",
    ]);
}

#[test]
fn columns_at_one_tap_are_not_one_prompt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("twice.npy");
    let mut file = StatesFile::open(fixtures().join("any-name.safetensors")).unwrap();
    let states = file.column(ColumnChoice::Only).unwrap().into_array().mapv(|value| value as f32);
    let twice = ndarray::concatenate![ndarray::Axis(1), states, states];
    write_npy(&path, twice.view()).unwrap();
    invert(path.to_str().unwrap(), "--tap auto")
        .with_status(1)
        .says(&["the columns 0, 1", "--column I --tap block-2"]);
    let one = recovered(path.to_str().unwrap(), "--column 1 --tap block-2", 0);
    assert_eq!(one["token_ids"], Value::from(&FIRST[..]));
}

#[test]
fn a_choice_that_is_missing_is_asked_for() {
    for (file, options, parts) in [
        ("two.safetensors", "--tap block-2", &["2 prompts of 8 tokens (batch-token)", "by --axes"][..]),
        ("batch-mask.safetensors", "--tap block-2", &["2 prompts", "--row"]),
        (
            "side-by-side.safetensors",
            "--tap block-2",
            &["3 taps", "2: `hidden_states`, tap 2", "give --column beside --tap block-2"],
        ),
        ("vllm.safetensors", "--column 9", &["no column 9", "has 5"]),
        ("any-name.safetensors", "--tensor states --tap block-2", &["`activations` [8, 32]"]),
        ("command.pt", "--tap block-2", &["posix.system"]),
        ("other.bin", "--tap block-2", &["AMLL"]),
    ] {
        let ran = invert(file, options);
        assert!(ran.status == 1 || ran.status == 2, "{file}: {}{}", ran.out, ran.err);
        ran.says(parts);
    }
    // The program ran in this folder.
    assert!(!fixtures().join("run-by-a-pickle").exists(), "nothing in a pickle is run");
}

#[test]
fn missing_rows_are_said_and_known_ones_are_given() {
    let ran = invert("vllm-prefix.safetensors", "--tap block-2").with_status(0);
    assert!(ran.err.contains("3 rows of states for 8 token ids: 5 without one"), "{}", ran.err);
    assert!(ran.err.contains("after the first 5"), "{}", ran.err);
    let prefix = recovered("vllm-prefix.safetensors", "--tap block-2", 0);
    assert_eq!(prefix["token_ids"], Value::from(&FIRST[..]));
    let verdicts: Vec<&str> =
        prefix["positions"].as_array().unwrap().iter().map(|row| row["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, [&["given"; 5][..], &["verified"; 3]].concat());
    assert_eq!(prefix["equals_prompt"], true);
    let cut = recovered("vllm-last-missing.safetensors", "--tap block-2", 0);
    assert_eq!(cut["token_ids"], Value::from(&FIRST[..7]));
    // The wrong beginning: the rows are not those of any tokens after it.
    let wrong = recovered("vllm-prefix.safetensors", "--tap block-2 --prefix-ids 1,2,3,4,5", 3);
    assert_eq!(wrong["verified"], false);
}

#[test]
fn a_batch_and_a_folder_of_files_are_inverted_whole() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.jsonl");
    let lines = |out: &Path| -> Vec<Value> {
        std::fs::read_to_string(out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let options = format!("--tap block-2 --out {}", out.display());
    invert("batch-mask.safetensors", &options).with_status(0);
    let batch = lines(&out);
    assert_eq!(batch[1]["recovered"]["token_ids"], Value::from(&FIRST[..]));
    assert_eq!(batch[2]["recovered"]["token_ids"], Value::from(&SECOND[..]));
    // The same command finds the work done.
    assert_eq!(invert("batch-mask.safetensors", &options).status, 0);
    assert_eq!(lines(&out), batch);

    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    for file in ["any-name.safetensors", "batch-mask.safetensors", "tensor.pt"] {
        std::fs::copy(fixtures().join(file), folder.join(file)).unwrap();
    }
    let folder_out = dir.path().join("folder.jsonl");
    let options = format!("--tap block-2 --out {}", folder_out.display());
    invert(folder.to_str().unwrap(), &options).with_status(0);
    let prompts = lines(&folder_out).split_off(1);
    let places: Vec<(&Value, Option<&Value>)> =
        prompts.iter().map(|line| (&line["file"], line.get("row"))).collect();
    let [any, mask, tensor] =
        ["any-name.safetensors", "batch-mask.safetensors", "tensor.pt"].map(Value::from);
    let [first, second] = [0, 1].map(Value::from);
    let expected = [(&any, None), (&mask, Some(&first)), (&mask, Some(&second)), (&tensor, None)];
    assert_eq!(places, expected);
}

#[test]
fn the_tap_is_found_where_the_file_does_not_name_it() {
    for (file, options, said) in [
        ("any-name.safetensors", "", "block-2, found from the first state"),
        ("any-name.safetensors", "--tap auto", "block-2"),
        ("side-by-side.safetensors", "--tap auto", "column 1: block-2"),
        ("side-by-side.safetensors", "--tap auto --column 1", "block-2"),
    ] {
        let ran = invert(file, &format!("{options} --json")).with_status(0);
        assert!(ran.err.contains(said), "{file} {options}: {}", ran.err);
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(json["recovered"]["token_ids"], Value::from(&FIRST[..]), "{file} {options}");
    }
}

#[test]
fn a_wrong_tap_ends_in_a_line_that_names_the_right_one() {
    let ran = invert("any-name.safetensors", "--tap block-1").with_status(1);
    let last = ran.err.trim_end().lines().last().unwrap();
    for part in ["these look like states of block-2, not block-1", "give --tap block-2"] {
        assert!(last.contains(part), "`{part}` is not in {last}");
    }
}

#[test]
fn states_of_another_model_fit_at_no_tap() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noise.npy");
    let noise = ndarray::Array2::from_shape_fn((3, 32), |(i, j)| ((i * 32 + j) as f32 * 0.7).sin());
    write_npy(&path, noise.view()).unwrap();
    invert(path.to_str().unwrap(), "").with_status(1).says(&[
        "at any likely tap",
        "times the noise floor",
        "another model",
    ]);
}

#[test]
fn a_failure_says_the_likeliest_cause_and_what_to_try() {
    // The rows of a prompt whose first tokens are missing.
    let options = "--tap block-2 --prefix-ids 1,2,3,4,5";
    let ran = invert("vllm-prefix.safetensors", options).with_status(3);
    for part in ["no token of the vocabulary fits position 5", "another tap", "try --tap"] {
        assert!(ran.out.contains(part), "`{part}` is not in {}", ran.out);
    }
    let cause = &recovered("vllm-prefix.safetensors", options, 3)["likely_cause"];
    assert_eq!(cause["kind"], "tap-or-weights");
    assert!(cause["text"].as_str().unwrap().contains("try --tap"), "{cause}");
    assert_eq!(recovered("vllm-prefix.safetensors", "--tap block-2", 0)["likely_cause"], Value::Null);
}

#[test]
fn a_calibration_is_kept_and_never_used_for_other_weights() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("calibrations");
    let options = format!("--tap block-2 --computed-in bf16 --calibrations {}", folder.display());
    let first = recovered("any-name.safetensors", &options, 0);
    let file = folder.join("calibration-block-2-bf16.safetensors");
    let written = std::fs::read(&file).unwrap();
    let again = recovered("any-name.safetensors", &options, 0);
    assert_eq!(again["positions"], first["positions"]);
    assert_eq!(std::fs::read(&file).unwrap(), written);
    let refused = |calibrations: &Path, part: &str| {
        let options = format!("--tap block-2 --computed-in bf16 --calibrations {}", calibrations.display());
        invert("any-name.safetensors", &options).with_status(1).says(&[part]);
    };
    let mut damaged = written;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    refused(&folder, "does not agree with its checksum");

    // A calibration of weights that differ in one bit.
    let (other, of_other) = (dir.path().join("other"), dir.path().join("of-other"));
    std::fs::create_dir(&other).unwrap();
    for entry in std::fs::read_dir(model()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, other.join(path.file_name().unwrap())).unwrap();
    }
    let weights = other.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let place = bytes.len() - 4;
    bytes[place] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let options = format!("--tap block-2 --computed-in bf16 --calibrations {}", of_other.display());
    invert_by(&other, "any-name.safetensors", &options);
    refused(&of_other, "was measured for weights");
}
