//! `inject invert` on stores: all prompts come back, through interruptions.

mod refused;

use std::{
    fs,
    path::{Path, PathBuf},
};

use inject_prompts::Generator;
use inject_sipit::{
    models::{Bos, FloatFormat, Tap},
    states::{
        Extraction, extract_to_store,
        store::{Positions, Store, StoreSpec},
    },
};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    bundled_model,
    support::{refused, run_with},
};

const TAPS: [Tap; 2] = [Tap::Block(1), Tap::Block(3)];

/// Writes a store of generated prompts. `weight_hash` stands in for the model's own.
fn extract(
    dir: &Path,
    prompts: usize,
    positions: Positions,
    dtype: FloatFormat,
    weight_hash: Option<&str>,
) -> Store {
    let device = inject_testing::any_device();
    let model = bundled_model::load(&device);
    let tokenizer = model.tokenizer().unwrap();
    let encode = |text: String| {
        let mut ids = tokenizer.encode(&text, Bos::Auto).unwrap();
        ids.truncate(24);
        ids
    };
    let prompts: Vec<Vec<u32>> = Generator::new(21).take(prompts).map(encode).collect();
    let extraction = Extraction::new(TAPS.to_vec(), positions).unwrap();
    let weight_hash = weight_hash.map_or_else(|| model.weight_hash().unwrap(), str::to_owned);
    let d_model = model.decoder.config().d_model;
    let spec = StoreSpec::new("bundled", weight_hash, TAPS.to_vec(), positions, d_model)
        .with_tokenizer(tokenizer, Bos::Auto, false)
        .with_dtype(dtype);
    extract_to_store(&extraction, &model.decoder, &prompts, dir, spec, &mut |_| ()).unwrap()
}

/// A folder, with a store of generated prompts in it and a place for the results of their inversion.
fn stored(prompts: usize) -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, prompts, Positions::All, FloatFormat::F32, None);
    (dir, folder, out)
}

/// Arguments that invert a store.
fn arguments<'a>(store: &'a Path, out: Option<&'a Path>, options: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["invert", "--states", store.to_str().unwrap()];
    arguments.extend(out.into_iter().flat_map(|out| ["--out", out.to_str().unwrap()]));
    arguments.extend(options);
    arguments
}

/// Inverts a store and expects every prompt back.
#[track_caller]
fn invert(store: &Path, out: &Path, options: &[&str]) {
    run_with(store.parent().unwrap(), &arguments(store, Some(out), options)).with_status(0);
}

/// The lines of a file of results. Those of older versions have no checksum.
fn lines(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out).unwrap();
    assert!(text.ends_with('\n'));
    let without = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        assert!(line["recovered"]["seconds"].is_null(), "{line}");
        line.as_object_mut().unwrap().remove("xxh3");
        line
    };
    text.lines().map(without).collect()
}

#[test]
fn every_prompt_of_a_store_comes_back() {
    for dtype in [FloatFormat::F32, FloatFormat::F16] {
        let dir = tempfile::tempdir().unwrap();
        let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
        let store = extract(&folder, 30, Positions::All, dtype, None);
        invert(&folder, &out, &[]);
        let lines = lines(&out);
        assert_eq!(lines[0]["job"]["tap"], "block-3", "the deepest that is stored");
        assert_eq!(lines.len(), 1 + 30);
        for (prompt, (line, ids)) in lines[1..].iter().zip(store.prompts()).enumerate() {
            assert_eq!(line["prompt"], prompt);
            assert_eq!(line["recovered"]["token_ids"], Value::from(ids), "{dtype}");
            assert_eq!(line["recovered"]["equals_prompt"], true, "{dtype}: {line}");
            assert!(
                line["recovered"]["positions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|row| row["verdict"] == "verified")
            );
        }
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    extract(&folder, 12, Positions::All, FloatFormat::F32, None);
    let together: &[&str] = &["--policy", "prior", "--tap", "block-1"];
    // With a bound on the time of each prompt, each is a group of its own.
    let alone = [together, &["--max-seconds", "3600"]].concat();
    for (name, options) in [("together", together), ("alone", &alone[..])] {
        let out = dir.path().join(name);
        invert(&folder, &out, options);
        let whole = fs::read(&out).unwrap();
        let ends: Vec<usize> = (1..=whole.len()).filter(|&end| whole[end - 1] == b'\n').collect();
        // Within the header and the lines of prompts 0, 4 and 11, and after the header and the lines of prompts 0, 6 and 11.
        let within = [0, 9, ends[0] + 1, ends[4] + 500, ends[11] + 40, ends[12] - 1];
        for cut in within.into_iter().chain([0, 1, 7, 12].map(|line| ends[line])) {
            fs::write(&out, &whole[..cut]).unwrap();
            invert(&folder, &out, options);
            assert!(fs::read(&out).unwrap() == whole, "{name}, cut at {cut}");
        }
    }
}

#[test]
fn a_search_that_learns_from_prompt_to_prompt_finds_the_same_after_a_kill() {
    let (_dir, folder, out) = stored(12);
    // With a bound on the time of each prompt, each is a group of its own.
    let options = ["--policy", "secant", "--max-seconds", "3600"];
    invert(&folder, &out, &options);
    let whole = fs::read(&out).unwrap();
    for cut in [whole.len() / 2, whole.len() - 1] {
        fs::write(&out, &whole[..cut]).unwrap();
        invert(&folder, &out, &options);
        assert!(fs::read(&out).unwrap() == whole, "candidates and margins included");
    }
}

#[test]
fn a_file_that_holds_no_prompt_yet_is_begun_anew_with_other_options() {
    let (dir, folder, out) = stored(2);
    // Whether the budget allows a certificate is known only when the inverter is made.
    let options = ["--tap", "block-1", "--certify", "--max-candidates", "9"];
    refused(dir.path(), &arguments(&folder, Some(&out), &options), 2, &["--max-candidates 9"]);
    assert_eq!(lines(&out).len(), 1, "the file is begun");
    invert(&folder, &out, &["--tap", "block-1"]);
    assert_eq!(lines(&out).len(), 3);
}

#[test]
fn a_prompt_that_is_not_recovered_gives_another_status() {
    let (dir, folder, out) = stored(2);
    let options = ["--policy", "random", "--max-candidates", "1", "--json"];
    let ran = run_with(dir.path(), &arguments(&folder, Some(&out), &options)).with_status(3);
    let tally: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(tally["not_recovered"], serde_json::json!([0, 1]));
    assert!(ran.err.contains("wrote 2 prompts to"), "{}", ran.err);
}
