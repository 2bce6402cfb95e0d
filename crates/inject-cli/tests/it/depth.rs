//! `inject depth`: every prompt comes back, every quantity is there against tap and against length, and a stopped run goes on.

use std::{collections::BTreeSet, fs, path::Path};

use super::support::{refused, succeed};

/// Runs the program on two prompts of text and two of random tokens; the names of the figures it wrote.
fn run(out: &Path, options: &str) -> BTreeSet<String> {
    succeed(out, &format!("depth --policy prior --count 2 {options} --out ."));
    let names = fs::read_dir(out).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let plots: BTreeSet<String> =
        names.filter_map(|name| Some(name.strip_suffix(".svg")?.to_owned())).collect();
    assert!(plots.iter().all(|plot| out.join(plot).with_extension("png").is_file()));
    plots
}

#[test]
fn time_equivalents_and_margins_are_written_against_taps_and_lengths() {
    let dir = tempfile::tempdir().unwrap();
    let plots = run(dir.path(), "--taps block-1,block-3 --lengths 4,8");
    let expected =
        ["time", "equivalents", "margins"].map(|name| ["tap", "length"].map(|by| format!("{name}-by-{by}")));
    assert_eq!(plots, expected.into_iter().flatten().collect());

    let csv = fs::read_to_string(dir.path().join("depth.csv")).unwrap();
    let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = rows.next().unwrap();
    let column = |name: &str| names.iter().position(|known| *known == name).unwrap();
    let [equal, seconds, equivalents, margin] =
        ["equals_prompt", "seconds", "forward_pass_equivalents", "least_margin_over_floor"].map(column);
    let mut count = 0;
    for row in rows {
        assert_eq!(row[equal], "true", "{row:?}");
        assert!(
            [seconds, equivalents].into_iter().all(|at| row[at].parse::<f64>().unwrap() > 0.0),
            "{row:?}"
        );
        assert!(row[margin].parse::<f64>().unwrap() > 1.0, "no other token lies within the floor: {row:?}");
        count += 1;
    }
    assert_eq!(count, 2 * 2 * 4, "taps, lengths, prompts");
}

#[test]
fn a_single_tap_or_length_is_not_an_axis() {
    let dir = tempfile::tempdir().unwrap();
    let plots = run(dir.path(), "--taps block-1 --lengths 4,8");
    assert!(plots.len() == 3 && plots.iter().all(|plot| plot.ends_with("-by-length")), "{plots:?}");
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), "--taps block-1 --lengths 4").is_empty());
}

#[test]
fn a_stopped_run_goes_on_from_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let options = "--taps block-1,block-3 --lengths 4";
    run(dir.path(), options);
    let (journal, json) = (dir.path().join("depth.jsonl"), dir.path().join("depth.json"));
    let whole = fs::read_to_string(&journal).unwrap();
    let records = |path: &Path| -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&fs::read_to_string(path).unwrap()).unwrap()["records"]
            .take()
    };
    let before = records(&json);
    let first_unit: String = whole.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(&journal, first_unit + &whole.lines().nth(2).unwrap()[..20]).unwrap();
    run(dir.path(), options);
    let after = records(&json);
    assert_eq!(before.as_array().unwrap().len(), 8);
    assert_eq!(
        before.as_array().unwrap()[..4],
        after.as_array().unwrap()[..4],
        "times included: not measured again"
    );
    assert_ne!(before, after, "the second tap is measured again");
    refused(
        dir.path(),
        &["depth", "--taps", "block-2", "--out", "."],
        1,
        &["was begun with --policy prior, now --policy auto"],
    );
}

#[test]
fn a_missing_lens_is_noticed_before_the_folder_is_made() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lenses")).unwrap();
    let arguments = ["depth", "--lens", "lenses", "--taps", "block-1,block-2", "--out", "out"];
    refused(dir.path(), &arguments, 1, &["no lens for block-1, block-2"]);
    assert!(!dir.path().join("out").exists());
}
