//! The invert program on stores: all prompts come back, through interruptions, and what cannot be right is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../invert/main.rs"]
mod invert;

use std::{fs, path::Path};

use clap::Parser;
use inject_examples::bundled_model;
use inject_prompts::Generator;
use inject_sipit::{
    models::{Bos, Model, Origin, Precision, Tap},
    states::{
        Extraction, extract_to_store,
        store::{Positions, StateDtype, Store, StoreSpec},
    },
};
use serde_json::Value;

const TAPS: [Tap; 2] = [Tap::Block(1), Tap::Block(3)];

/// Writes a store of generated prompts. `weight_hash` stands in for the model's own.
fn extract(
    dir: &Path,
    prompts: usize,
    positions: Positions,
    dtype: StateDtype,
    weight_hash: Option<&str>,
) -> Store {
    let device = inject_testing::compiled().remove(0);
    let model = Model::load(Origin::of_folder(&bundled_model()), Precision::F32, &device).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let encode = |text: String| {
        let mut ids = tokenizer.encode(&text, Bos::Auto).unwrap();
        ids.truncate(24);
        ids
    };
    let prompts: Vec<Vec<u32>> = Generator::new(21).take(prompts).map(encode).collect();
    let extraction = Extraction::new(TAPS.to_vec(), positions).unwrap();
    let spec = StoreSpec {
        model_id: "bundled".to_owned(),
        revision: None,
        weight_hash: weight_hash.map_or_else(|| model.weight_hash().unwrap(), str::to_owned),
        tokenizer_hash: Some(tokenizer.hash().to_owned()),
        taps: TAPS.to_vec(),
        dtype,
        bos: "auto".to_owned(),
        bos_added: false,
        positions,
        d_model: model.decoder.config().d_model,
    };
    extract_to_store(&extraction, &model.decoder, &prompts, dir, spec, &mut |_| ()).unwrap()
}

/// Runs the program; an error is what it says on its last line.
fn run(store: &Path, out: Option<&Path>, options: &[&str]) -> Result<(), String> {
    let mut arguments = vec!["invert".to_owned(), "--states".to_owned(), store.display().to_string()];
    if let Some(out) = out {
        arguments.extend(["--out".to_owned(), out.display().to_string()]);
    }
    arguments.extend(options.iter().map(|&option| option.to_owned()));
    let options = invert::Options::try_parse_from(arguments).map_err(|error| error.to_string())?;
    invert::run(&options).map_err(|failure| failure.to_string())
}

/// The lines of a file of results, what was timed left out.
fn lines(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| without_times(serde_json::from_str(line).unwrap())).collect()
}

fn without_times(json: Value) -> Value {
    match json {
        Value::Object(fields) => {
            let timed = |name: &str| name == "seconds" || name.ends_with("_seconds");
            let kept = fields.into_iter().filter(|(name, _)| name == "max_seconds" || !timed(name));
            Value::Object(kept.map(|(name, value)| (name, without_times(value))).collect())
        }
        Value::Array(values) => values.into_iter().map(without_times).collect(),
        other => other,
    }
}

#[test]
fn every_prompt_of_a_store_comes_back() {
    for dtype in [StateDtype::F32, StateDtype::F16] {
        let dir = tempfile::tempdir().unwrap();
        let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
        let store = extract(&folder, 30, Positions::All, dtype, None);
        run(&folder, Some(&out), &[]).unwrap();
        let lines = lines(&out);
        assert_eq!(lines[0]["job"]["tap"], "block-3", "the deepest that is stored");
        assert_eq!(lines.len(), 1 + 30);
        for (prompt, (line, ids)) in lines[1..].iter().zip(store.prompts()).enumerate() {
            assert_eq!(line["prompt"], prompt);
            assert_eq!(line["token_ids"], Value::from(ids), "{dtype}");
            assert_eq!(line["exact"], true, "{dtype}: {line}");
            assert!(line["verdicts"].as_array().unwrap().iter().all(|row| row["verdict"] == "verified"));
        }
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    extract(&folder, 12, Positions::All, StateDtype::F32, None);
    let together: &[&str] = &["--policy", "prior", "--tap", "block-1"];
    // With a bound on the time of each prompt, each is a group of its own.
    let alone = [together, &["--max-seconds", "3600"]].concat();
    for (name, options) in [("together", together), ("alone", &alone)] {
        let out = dir.path().join(name);
        run(&folder, Some(&out), options).unwrap();
        let whole = fs::read(&out).unwrap();
        let expected = lines(&out);
        let ends: Vec<usize> = (1..=whole.len()).filter(|&end| whole[end - 1] == b'\n').collect();
        // Within the header and the lines of prompts 0, 4 and 11, and behind the header and the lines of prompts 0, 6 and 11.
        let within = [0, 9, ends[0] + 1, ends[4] + 500, ends[11] + 40, ends[12] - 1];
        for cut in within.into_iter().chain([0, 1, 7, 12].map(|line| ends[line])) {
            fs::write(&out, &whole[..cut]).unwrap();
            run(&folder, Some(&out), options).unwrap();
            assert_eq!(lines(&out), expected, "{name}, cut at {cut}");
            let kept = ends.iter().copied().filter(|&end| end <= cut).max().unwrap_or(0);
            assert_eq!(fs::read(&out).unwrap()[..kept], whole[..kept], "what is there is not written again");
        }
    }
}

#[test]
fn a_search_that_learns_from_prompt_to_prompt_finds_the_same_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 12, Positions::All, StateDtype::F32, None);
    let found = |out: &Path| -> Vec<[Value; 2]> {
        lines(out)[1..].iter().map(|line| [line["token_ids"].clone(), line["exact"].clone()]).collect()
    };
    run(&folder, Some(&out), &["--policy", "secant"]).unwrap();
    let expected = found(&out);
    let whole = fs::read(&out).unwrap();
    fs::write(&out, &whole[..whole.len() / 2]).unwrap();
    run(&folder, Some(&out), &["--policy", "secant"]).unwrap();
    assert_eq!(found(&out), expected);
}

/// What the program says, which is one line.
#[track_caller]
fn refused(store: &Path, out: Option<&Path>, options: &[&str], parts: &[&str]) {
    let error = run(store, out, options).unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
    parts.iter().for_each(|part| assert!(error.contains(part), "`{part}` is not in: {error}"));
}

#[test]
fn a_store_that_cannot_be_inverted_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.jsonl");
    let of = |name: &str, positions, weight_hash| {
        let folder = dir.path().join(name);
        extract(&folder, 2, positions, StateDtype::F32, weight_hash);
        folder
    };
    refused(&of("last", Positions::Last, None), Some(&out), &[], &["last position", "--positions all"]);
    let other = of("other", Positions::All, Some("0123"));
    refused(&other, Some(&out), &[], &["other weights", "0123", "expected"]);
    let store = of("store", Positions::All, None);
    refused(&store, None, &[], &["is a store", "--out"]);
    refused(&store, Some(&out), &["--column", "0"], &["--tap", "--column"]);
    refused(&store, Some(&out), &["--tap", "block-2"], &["block-2", "block-1"]);
    refused(dir.path(), Some(&out), &[], &["manifest.json"]);
    let without_effect = [
        ("--rivals 9 --max-candidates 9", "--max-candidates 9"),
        ("--policy prior --lens nowhere", "auto and lens"),
        ("--snap 4", "gradient"),
        ("--allclose 1e-5", "RTOL,ATOL"),
    ];
    for (options, part) in without_effect {
        refused(&store, Some(&out), &options.split_whitespace().collect::<Vec<_>>(), &[part]);
    }
    assert!(run(&store, Some(&out), &["--epsilon", "1", "--noise", "2"]).unwrap_err().contains("--noise"));
    let file = store.join("tap-block-1.safetensors");
    refused(&file, Some(&out), &[], &["--out is for the prompts of a store"]);
    assert!(!out.exists(), "nothing is written before the store is known to be right");
}

#[test]
fn a_file_of_another_job_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 3, Positions::All, StateDtype::F32, None);
    run(&folder, Some(&out), &["--tap", "block-1"]).unwrap();
    let whole = fs::read_to_string(&out).unwrap();
    let first_two = whole.lines().take(2).collect::<Vec<_>>().join("\n") + "\n";
    let swapped = first_two + whole.lines().nth(3).unwrap() + "\n";
    let damaged = whole.replace("\"exact\"", "\"exct\"");
    let cases: [(&str, &str, &[&str]); 7] = [
        (&whole, "", &["tap = \"block-1\", now \"block-3\""]),
        (&whole, "--tap block-1 --policy prior", &["policy = \"auto\", now \"prior\""]),
        (&whole, "--tap block-1 --max-candidates 9", &["max_candidates = null, now 9"]),
        ("Dear diary", "--tap block-1", &["not a file of recovered prompts"]),
        ("Dear diary,\n", "--tap block-1", &["not a file of recovered prompts"]),
        (&swapped, "--tap block-1", &["line 3", "prompt 2, expected prompt 1"]),
        (&damaged, "--tap block-1", &["line 2", "exact"]),
    ];
    for (content, options, parts) in cases {
        fs::write(&out, content).unwrap();
        let options: Vec<&str> = options.split_whitespace().collect();
        refused(&folder, Some(&out), &options, parts);
        assert_eq!(fs::read_to_string(&out).unwrap(), content, "{parts:?}");
    }
}

#[test]
fn a_file_that_holds_no_prompt_yet_is_begun_anew_with_other_options() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 2, Positions::All, StateDtype::F32, None);
    // Whether a distance makes sense is known only when the inverter is made.
    refused(&folder, Some(&out), &["--tap", "block-1", "--epsilon=-1"], &["-1"]);
    assert_eq!(lines(&out).len(), 1, "the file is begun");
    run(&folder, Some(&out), &["--tap", "block-1"]).unwrap();
    assert_eq!(lines(&out).len(), 3);
}
