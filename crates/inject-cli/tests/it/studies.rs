//! The studies: shares add up to the whole, and every study has a report.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use inject_studies::StudyName;

use super::support::{refused, run, succeed};

/// Every study, on a size that takes a second, and the results it writes.
pub(crate) const STUDIES: [(&str, &[&str]); 7] = [
    ("study collisions --count 20 --taps block-1,block-2", &["corpus"]),
    ("study collisions --count 20 --taps block-1,block-2 --minima-only --tiles 3", &["corpus"]),
    (
        "study margins --count 2 --longest 5 --lengths 2,3 --per-length 4 --taps block-1",
        &["margins", "lengths"],
    ),
    ("study exhaustive --prefixes 2 --count 10 --longest 5 --across", &["exhaustive"]),
    ("study stress --count 4 --taps block-1 --tokens a,the --repeats 3", &["stress", "repeats"]),
    (
        "study precision --taps block-1 --weights int8 --disturbances f16 --noise 0.5 --dimensions 4 --pairs-of 10 --count 2 \
         --directions 2 --whole 1 --length 4",
        &["formats", "decoding", "recovery"],
    ),
    (
        "study training --width 16 --layers 1 --steps 1 --windows 10 --count 10 --probes 1 --widths 16 --depths 1",
        &["training", "degenerate", "random-weights"],
    ),
];

#[test]
fn every_study_is_run() {
    let of_studies = STUDIES.iter().flat_map(|(_, names)| names.iter().copied());
    // These two have tests of their own.
    let run: BTreeSet<&str> = of_studies.chain(["compare-policies", "depth"]).collect();
    let known: BTreeSet<&str> = StudyName::ALL.iter().map(|name| name.as_str()).collect();
    assert_eq!(run, known);
}

fn read(folder: &Path, name: &str, extension: &str) -> String {
    fs::read_to_string(folder.join(name).with_extension(extension)).unwrap()
}

/// The files of a folder by their names. States that a study extracted are in folders of their own.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

#[test]
fn the_shares_of_every_study_add_up_to_the_whole() {
    for (study, names) in STUDIES {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let ran = succeed(dir, &format!("{study} --out whole"));
        assert!(ran.out.trim_end().lines().last().unwrap().starts_with("wrote "), "{}", ran.out);
        let half = succeed(dir, &format!("{study} --share 1/2 --out first"));
        let mut merged = format!("{study} --share 2/2 --out second");
        for name in names {
            merged += &format!(" --merge first/{name}.jsonl");
        }
        let ran = succeed(dir, &merged);
        assert!(ran.out.contains("this run did share 2/2"), "{}", ran.out);
        for name in names {
            let json: serde_json::Value =
                serde_json::from_str(&read(&dir.join("first"), name, "json")).unwrap();
            let missing = json["completeness"]["missing"].as_array().unwrap().len();
            let said = match missing {
                0 => format!("{name} is complete\n"),
                _ => format!("{name} is incomplete: {missing} of "),
            };
            assert!(half.out.contains(&said), "{study}: `{said}` is not in {}", half.out);
            let page = read(&dir.join("first"), "report", "html");
            assert_eq!(page.contains(&format!("{name} is incomplete")), missing > 0, "{study}");
            assert!(ran.out.contains(&format!("{name} is complete\n")), "{}", ran.out);
        }
        let [found, expected] = ["second", "whole"].map(|folder| files(&dir.join(folder)));
        assert!(found.keys().eq(expected.keys()), "{study}: {:?}", found.keys());
        for (name, bytes) in &expected {
            assert!(&found[name] == bytes, "{study}: {name} differs");
        }
        for name in names {
            assert!(expected.contains_key(&format!("{name}.json")), "{study}: {:?}", expected.keys());
            assert!(expected.contains_key(&format!("{name}.jsonl")), "{study}: {:?}", expected.keys());
        }
        let page = read(&dir.join("whole"), "report", "html");
        let command = format!("<dt>Command<dd>inject {study}<dt>");
        for part in [&*command, "<dt>Version", "width=device-width", "<table>"] {
            assert!(page.contains(part), "{study}: {part}");
        }
    }
}

#[test]
fn a_merge_with_something_missing_says_so_wherever_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let study = "study margins --count 9 --longest 5 --lengths 2 --per-length 4 --taps block-1";
    succeed(dir, &format!("{study} --share 1/3 --out first"));
    let merge = format!("{study} --share 2/3 --merge first/margins.jsonl");
    let printed = succeed(dir, &format!("{merge} --out printed")).out;
    let missing = "margins is incomplete: 3 of 9 ";
    assert!(printed.contains(missing), "{printed}");
    let ran = succeed(dir, &format!("{merge} --json --out json"));
    assert!(ran.err.contains(missing), "{}", ran.err);
    let first: serde_json::Value =
        serde_json::Deserializer::from_str(&ran.out).into_iter().next().unwrap().unwrap();
    for completeness in [
        &first["completeness"],
        &serde_json::from_str::<serde_json::Value>(&read(&dir.join("printed"), "margins", "json")).unwrap()["completeness"],
    ] {
        assert_eq!(completeness["complete"], false, "{completeness}");
        assert_eq!(completeness["missing"].as_array().unwrap().len(), 3, "{completeness}");
    }
    assert!(read(&dir.join("printed"), "report", "html").contains(missing));
}

#[test]
fn a_journal_of_another_study_is_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    succeed(dir, "study stress --count 4 --taps block-1 --tokens a --repeats 2 --out stress");
    let arguments = ["study", "margins", "--merge", "stress/stress.jsonl", "--out", "out"];
    refused(dir, &arguments, 2, &["the journal of the study stress, expected margins or lengths"]);
    assert!(!dir.join("out").exists());
}

#[test]
fn json_goes_to_standard_output_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ran = succeed(dir.path(), "study collisions --count 20 --taps block-1 --json");
    let study: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(study["prompts"], 20);
    assert!(ran.err.contains("wrote "), "{}", ran.err);
}

#[test]
fn a_noise_floor_that_prompts_of_one_token_cannot_give_is_absent_wherever_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("ids.txt"), (1..20).map(|id| format!("{id}\n")).collect::<String>()).unwrap();
    // Its weights stay in their files, so each row of a product is computed by itself.
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../inject-models/tests/fixtures/llama-bf16-shards");
    let command = |command: &str| format!("{command} --model {model} --prompt-ids ids.txt");
    let ran = succeed(dir, &command("study collisions --taps block-1,final-norm --out study"));
    assert_eq!(ran.out.matches("noise unknown").count(), 2, "{}", ran.out);
    assert!(!ran.out.contains("separated"), "{}", ran.out);
    let json: serde_json::Value = serde_json::from_str(&read(&dir.join("study"), "corpus", "json")).unwrap();
    for tap in json["taps"].as_array().unwrap() {
        assert_eq!(tap["resolution"], "noise-unknown");
        assert!(tap["noise"]["batched"].is_null() && tap["noise"]["cached"].is_null(), "{tap}");
    }
    let ran = succeed(dir, &command("extract --taps block-1 --out store"));
    assert!(ran.out.contains("noise floor not measured: "), "{}", ran.out);
    let text = fs::read_to_string(dir.join("store/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(manifest["noise"]["floors"]["block-1"].is_null(), "{manifest}");
    let ran = succeed(dir, &command("extract --taps embedding,block-1 --out both"));
    assert!(ran.out.contains("block-1      not measured"), "{}", ran.out);
}

#[test]
fn a_collision_by_construction_is_called_one_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let ran = succeed(dir.path(), "study collisions --count 200 --taps embedding,block-1 --out .");
    assert!(ran.out.contains("collision by construction"), "{}", ran.out);
    assert!(read(dir.path(), "report", "html").contains("collision by construction"));
    assert!(read(dir.path(), "minima", "svg").contains("zero"));
}

#[test]
fn two_models_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), "study collisions --count 20 --taps block-1 --out first");
    succeed(
        dir.path(),
        "study collisions --count 20 --taps block-1 --against first/corpus.json --out second",
    );
    assert!(dir.path().join("second/between_models.json").is_file());
    let text = fs::read_to_string(dir.path().join("first/corpus.json")).unwrap();
    let changed = text.replacen("\"prompts\": 20", "\"prompts\": 21", 1);
    assert_ne!(changed, text);
    fs::write(dir.path().join("changed.json"), changed).unwrap();
    let ran = run(dir.path(), "study collisions --against changed.json");
    assert!(ran.status == 1 && ran.err.contains("does not agree with its checksum"), "{}", ran.err);
    fs::write(dir.path().join("other.json"), "{}").unwrap();
    let ran = run(dir.path(), "study collisions --against other.json");
    assert!(ran.status == 1 && ran.err.contains("expected the corpus.json of a study"), "{}", ran.err);
}
