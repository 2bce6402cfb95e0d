//! Prompts from pipes: refused in words, and never waited for.

use std::{path::Path, process::Command};

use super::support::refused;

#[test]
fn prompts_that_are_read_more_than_once_cannot_come_from_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    make_pipe(dir.path(), "pipe.jsonl");
    let commands = [
        "extract --prompts pipe.jsonl --taps block-1 --share 1/2 --out a",
        "extract --prompt-ids pipe.jsonl --taps block-1 --share 2/2 --out a",
        "lens --prompts pipe.jsonl --share 1/2 --out a",
        "lens --prompt-ids pipe.jsonl --merge a.safetensors --out a",
        "study margins --prompts pipe.jsonl --out a",
        "study precision --prompts pipe.jsonl --out a",
        "study stress --prompts pipe.jsonl --share 1/2 --out a",
        "study collisions --prompts pipe.jsonl --merge a.jsonl --out a",
        "study exhaustive --prompt-ids pipe.jsonl --share 2/3 --out a",
        "depth --prompts pipe.jsonl --lengths 4,8 --out a",
        "compare-policies --prompts pipe.jsonl --share 1/2 --out a",
    ];
    for command in commands {
        let parts = ["error: pipe.jsonl: expected an ordinary file", "write the prompts to a file first"];
        refused_without_waiting(dir.path(), command, &parts);
    }
}

#[test]
fn a_pipe_without_an_ending_is_refused_as_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    make_pipe(dir.path(), "pipe");
    // As `<(command)` of a shell.
    let commands = [
        "extract --prompts pipe --taps block-1 --out a",
        "lens --prompts pipe --out a",
        "study collisions --prompts pipe --out a",
        "study stress --prompts pipe --out a",
        "depth --prompts pipe --lengths 4 --out a",
        "compare-policies --prompts pipe --out a",
    ];
    for command in commands {
        let parts =
            ["error: pipe: a pipe or a device", "write the prompts to a file whose name has one of `.txt`"];
        refused_without_waiting(dir.path(), command, &parts);
    }
    for name in ["/dev/stdin", "-"] {
        let command = format!("extract --prompts {name} --taps block-1 --out a");
        refused_without_waiting(dir.path(), &command, &["a pipe or a device"]);
    }
}

fn make_pipe(dir: &Path, name: &str) {
    assert!(Command::new("mkfifo").arg(dir.join(name)).status().unwrap().success());
}

/// Runs a command that a pipe without a writer would keep waiting for ever, and expects that it is refused and makes no folder `a`.
#[track_caller]
fn refused_without_waiting(dir: &Path, command: &str, parts: &[&str]) {
    refused(dir, &command.split(' ').collect::<Vec<_>>(), 1, parts);
    assert!(!dir.join("a").exists(), "{command}");
}
