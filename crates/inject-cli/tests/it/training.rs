//! `inject study training`: it says the same twice, finds what the theory predicts, and writes every file.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::support::{refused, succeed, without_checksums};

/// A study of decoders that take a second.
const STUDY: &str = "study training --width 16 --layers 1 --steps 1 --windows 10 --count 30 --probes 1 --widths 16 --depths 1 --out .";

fn run(out: &Path) {
    succeed(out, STUDY);
}

#[test]
fn a_rerun_gives_the_same_figures_and_they_are_those_the_theory_predicts() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    folders.iter().for_each(|folder| run(folder.path()));
    let [first, second] = folders.each_ref().map(|folder| folder.path());
    for name in ["training", "degenerate", "random-weights"] {
        for kind in ["json", "csv"] {
            let read = |folder: &Path| fs::read_to_string(folder.join(name).with_extension(kind)).unwrap();
            assert_eq!(read(first), read(second), "{name}.{kind}");
        }
    }
    let json = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(first.join(name)).unwrap()).unwrap()
    };
    let starts = json("degenerate.json");
    let starts = starts["starts"].as_array().unwrap();
    assert_eq!(starts.len(), 17);
    assert!(starts.iter().all(|start| start["as_expected"] == true), "{starts:?}");
    let runs = json("training.json");
    for run in runs["runs"].as_array().unwrap() {
        for tap in run["snapshots"].as_array().unwrap().iter().flat_map(|s| s["taps"].as_array().unwrap()) {
            let expected = if tap["closest"]["tap"] == "embedding" { "collision" } else { "separated" };
            assert_eq!(tap["closest"]["resolution"], expected, "{tap}");
            // The prefixes of the margins are so short that some states come out equal in both computations, which is not a measurement.
            let unknown = tap["margins"]["noise"].as_object().unwrap().values().all(Value::is_null);
            let expected = if unknown { "noise-unknown" } else { "separated" };
            assert_eq!(tap["margins"]["resolution"], expected, "{tap}");
        }
    }
    for plot in ["gpt2-loss", "gpt2-closest", "llama-margins", "gpt2-relu-taps", "random-weights"] {
        assert!(first.join(plot).with_extension("png").is_file(), "{plot}");
    }
}

#[test]
fn a_journal_of_other_instructions_is_refused_and_one_that_does_not_know_them_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder);
    for name in ["training", "degenerate", "random-weights"] {
        let path = folder.join(name).with_extension("jsonl");
        let journal = fs::read_to_string(&path).unwrap();
        // The checksum of each line is that of the header too.
        let journal = without_checksums(&journal);
        let (header, units) = journal.split_once('\n').unwrap();
        let mut header: Value = serde_json::from_str(header).unwrap();
        assert!(header["instructions"].is_string(), "{header}");
        header["instructions"] = json!("those of another processor");
        fs::write(&path, format!("{header}\n{units}")).unwrap();
        refused(folder, &STUDY.split(' ').collect::<Vec<_>>(), 1, &[name, "instructions"]);
        header.as_object_mut().unwrap().remove("instructions");
        let old = format!("{header}\n{units}");
        fs::write(&path, &old).unwrap();
        run(folder);
        assert_eq!(fs::read_to_string(&path).unwrap(), old);
    }
}
