//! The depth program: every prompt comes back, and every quantity is there against tap and against length.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../depth/main.rs"]
mod depth;

use std::{collections::BTreeSet, fs, path::Path};

use clap::Parser;

/// Runs the program on two prompts of text and two of random tokens; the plots it wrote.
fn run(out: &Path, options: &str) -> BTreeSet<String> {
    let options = format!("depth --policy prior --count 2 {options} --out");
    let options = options.split(' ').chain([out.to_str().unwrap()]);
    depth::run(&depth::Options::parse_from(options)).map_err(|failure| failure.to_string()).unwrap();
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
    let [exact, seconds, equivalents, margin] =
        ["exact", "seconds", "forward_pass_equivalents", "least_margin_over_floor"].map(column);
    let mut count = 0;
    for row in rows {
        assert_eq!(row[exact], "true", "{row:?}");
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
fn a_single_tap_or_length_is_no_axis() {
    let dir = tempfile::tempdir().unwrap();
    let plots = run(dir.path(), "--taps block-1 --lengths 4,8");
    assert!(plots.len() == 3 && plots.iter().all(|plot| plot.ends_with("-by-length")), "{plots:?}");
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), "--taps block-1 --lengths 4").is_empty());
}
