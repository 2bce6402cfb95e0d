//! `--help` of every subcommand, and one run of each, against files in tests/golden.
//!
//! With `UPDATE_GOLDEN=1` the files are written instead.

use std::{fs, path::Path};

use super::support::{run, succeed};

#[track_caller]
fn check(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name}: found\n{found}\nexpected\n{expected}");
}

/// A text without what differs between runs and machines: every number becomes `#`, unless it is part of a name such as block-3;
/// so do the units of times and operations. Runs of spaces become one.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let previous = masked.chars().next_back();
        let in_name = previous.is_some_and(|p| p.is_alphanumeric() || "-_/".contains(p));
        if c.is_ascii_digit() && !in_name {
            let mut last = c;
            let number = |next: char, last: char| {
                next.is_ascii_digit() || ".,e".contains(next) || (next == '-' && last == 'e')
            };
            while let Some(next) = characters.next_if(|&next| number(next, last)) {
                last = next;
            }
            masked.push('#');
        } else if !(c == ' ' && previous == Some(' ')) {
            masked.push(c);
        }
    }
    for unit in ["h # min", "min # s", "ms"] {
        masked = masked.replace(&format!("# {unit}"), "# s");
    }
    for prefix in ["k", "M", "G", "T"] {
        masked = masked.replace(&format!("# {prefix}FLOP"), "# FLOP");
    }
    // Whether two computations in a model this small differ at all depends on the instruction set.
    masked.replace("# - - noise unknown", "# # # separated")
}

/// Standard error without the lines of progress, which come every ten seconds.
fn without_progress(err: &str) -> String {
    let lines = masked(err).lines().filter(|line| !line.contains(": # of # ")).collect::<Vec<_>>().join("\n");
    if lines.is_empty() { lines } else { lines + "\n" }
}

#[test]
fn numbers_are_masked_and_names_are_not() {
    assert_eq!(masked("block-3:   1,234 of 0.5 (7 x)"), "block-3: # of # (# x)");
    assert_eq!(masked("1.2e-5 after 43.1 ms, 3 min 20 s or 5 GFLOP"), "# after # s, # s or # FLOP");
    assert_eq!(without_progress("2 taps\nrecover: 3 of 9 prompts\n"), "# taps\n");
}

#[test]
fn every_help_reads_as_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let commands = [
        "",
        "invert",
        "extract",
        "lens",
        "depth",
        "compare-policies",
        "study",
        "study collisions",
        "study margins",
        "study exhaustive",
        "study stress",
        "study precision",
        "study training",
        "train-tiny",
        "random-model",
        "sizes",
        "completions",
    ];
    for command in commands {
        let ran = succeed(folder.path(), &format!("{command} --help"));
        assert!(ran.err.is_empty(), "{}", ran.err);
        check(format!("help {command}").trim().replace(' ', "-").as_str(), &ran.out);
    }
}

#[test]
fn one_run_of_every_subcommand_says_what_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let runs = [
        ("invert", "invert --policy prior --tap block-1", 0),
        ("extract", "extract --generate 3 --taps block-1,block-2 --positions all --out states", 0),
        ("invert-store", "invert --states states --out recovered.jsonl --policy prior", 0),
        ("lens", "lens --taps block-1 --count 60 --out lenses", 0),
        ("invert-lens", "invert --lens lenses --tap block-1 --ids 52,11,9", 0),
        ("invert-not-recovered", "invert --policy prior --max-candidates 1 --tap block-1", 3),
        ("depth", "depth --taps block-1,block-2 --lengths 4 --count 1 --policy prior", 0),
        ("compare-policies", "compare-policies --policies scan,auto --count 2 --length 4", 0),
        ("study-collisions", "study collisions --count 20 --taps embedding,block-1", 0),
        (
            "study-margins",
            "study margins --count 1 --longest 6 --lengths 2,3 --per-length 4 --taps block-1",
            0,
        ),
        ("study-exhaustive", "study exhaustive --prefixes 2 --count 20 --longest 6", 0),
        ("study-stress", "study stress --count 4 --taps block-1 --tokens a --repeats 3", 0),
        (
            "study-precision",
            "study precision --taps block-1 --weights int8 --disturbances f16 --noise 0.5 --dimensions 4 --pairs-of 20 \
             --count 1 --directions 2 --whole 1 --length 4",
            0,
        ),
        ("study-training", "study training --parts random --count 10 --widths 16 --depths 1", 0),
        ("train-tiny", "train-tiny --steps 1 --batch 1 --layers 1 --width 16 --out tiny", 0),
        ("random-model", "random-model --like tiny/config.json --seed 7 --out random", 0),
        ("sizes", "sizes tiny", 0),
    ];
    for (name, arguments, status) in runs {
        let ran = run(folder, arguments).with_status(status);
        let out = match name {
            // After one step the model says anything.
            "train-tiny" => ran
                .out
                .split("---\n")
                .filter(|part| !part.starts_with("One") && !part.starts_with("def"))
                .collect(),
            // The name of the tightest tap depends on the rounding of the machine.
            "study-training" => ran.out.replace("final-norm", "TAP").replace("block-1", "TAP"),
            _ => ran.out,
        };
        check(
            &format!("run-{name}"),
            &format!(
                "$ inject {arguments}\n{}\n[standard error]\n{}",
                masked(&out),
                without_progress(&ran.err)
            ),
        );
    }
}

#[test]
fn completions_are_written_for_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = succeed(folder.path(), &format!("completions {shell}"));
        assert!(ran.out.contains("compare-policies"), "{shell}");
    }
}
