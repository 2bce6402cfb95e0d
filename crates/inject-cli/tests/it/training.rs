//! `inject study training`: it says the same twice, finds what the theory predicts, and writes every file.

use std::{fs, path::Path};

use serde_json::Value;

use super::support::succeed;

/// Runs the program on decoders that take a second.
fn run(out: &Path) {
    let options =
        "--width 16 --layers 1 --steps 1 --windows 10 --count 30 --probes 1 --widths 16 --depths 1 --out .";
    succeed(out, &format!("study training {options}"));
}

#[test]
fn a_rerun_gives_the_same_figures_and_they_are_those_the_theory_predicts() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    folders.iter().for_each(|folder| run(folder.path()));
    let [first, second] = folders.each_ref().map(|folder| folder.path());
    for name in ["training", "degenerate", "random"] {
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
            assert_eq!(tap["margins"]["resolution"], "separated", "{tap}");
        }
    }
    for plot in ["gpt2-loss", "gpt2-closest", "llama-margins", "gpt2-relu-taps", "random"] {
        assert!(first.join(plot).with_extension("png").is_file(), "{plot}");
    }
}
