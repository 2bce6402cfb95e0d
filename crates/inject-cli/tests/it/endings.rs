//! Ends of the program: a closed or full output, and a signal.
#![cfg(unix)]

mod signals;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use super::support::{program, succeed};

const STUDY: [&str; 7] = ["study", "collisions", "--count", "20", "--taps", "block-1", "--out"];

#[test]
fn a_closed_output_ends_quietly_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (name, closed) in [("out", true), ("err", false)] {
        let mut child = program(dir.path());
        child.args(STUDY).arg(name).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let kept = if closed {
            drop(out);
            err.map(|mut err| text(&mut err))
        } else {
            drop(err);
            out.map(|mut out| text(&mut out))
        };
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}: {kept:?}");
        assert!(!kept.unwrap().contains("panicked"));
        assert!(dir.path().join(name).join("report.html").is_file());
    }
}

fn text(stream: &mut impl std::io::Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_full_output_is_an_error_after_everything_else_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let output = program(dir.path()).args(STUDY).arg("out").stdout(full()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error: cannot write to standard output: No space left"), "{err}");
    assert!(dir.path().join("out/report.html").is_file());
    let output = program(dir.path()).args(STUDY).arg("err").stderr(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn descriptors_that_were_closed_before_the_start_lose_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let command = program(dir.path());
    for (name, closed) in [("out", "1>&-"), ("err", "2>&-"), ("both", "1>&- 2>&-")] {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$0\" \"$@\" {closed}")]).arg(command.get_program());
        let output = shell.current_dir(dir.path()).args(STUDY).arg(name).output().unwrap();
        let kept = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(0), "{name}: {kept:?}");
        assert!(!kept.concat().contains("panicked"), "{kept:?}");
        // No file of the study took the place of the closed descriptor.
        let corpus = fs::read_to_string(dir.path().join(name).join("corpus.json")).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&corpus).is_ok(), "{name}: {corpus}");
        assert!(dir.path().join(name).join("report.html").is_file());
    }
}

#[test]
fn help_into_a_closed_pipe_is_not_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(dir.path()).arg("--help").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn help_into_a_full_output_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = program(dir.path()).arg("--help").stdout(full).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error: cannot write to standard output: No space left"), "{err}");
}

#[test]
fn a_file_that_may_not_grow_any_further_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 8; exec \"$0\" \"$@\""]).arg(program(dir.path()).get_program());
    shell.args("extract --generate 300 --positions all --taps block-3 --out store".split(' '));
    let output = shell.current_dir(dir.path()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error: ") && err.to_lowercase().contains("file too large"), "{err}");
}

#[test]
fn a_system_that_allows_no_threads_only_takes_longer() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};

    let dir = tempfile::tempdir().unwrap();
    let extract = "extract --generate 20 --positions all --taps block-3 --out";
    succeed(dir.path(), &format!("{extract} store"));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -u 1 2>&- || ulimit -p 1; exec \"$0\" \"$@\""])
        .arg(program(dir.path()).get_program());
    shell.args(extract.split(' ')).arg("other").current_dir(dir.path());
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout == b"0\n" {
        // The limit does not hold for root. Nobody else has this number.
        shell.uid(54_321).gid(54_321);
    }
    let output = shell.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains("the system allows 0 more threads"), "{err}");
    for file in ["checksums.jsonl", "tap-block-3.safetensors"] {
        let [store, other] = ["store", "other"].map(|folder| fs::read(dir.path().join(folder).join(file)));
        assert_eq!(store.unwrap(), other.unwrap(), "{file}");
    }
}

#[test]
fn a_contained_panic_prints_no_backtrace_and_every_cause_is_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), "train-tiny --steps 1 --batch 1 --layers 1 --width 16 --out model");
    // The tokenizers library panics at a prefix that is longer than the second part of a merge.
    let tokenizer = r#"{"model": {"type": "BPE", "continuing_subword_prefix": "longer than any part",
        "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}"#;
    fs::write(dir.path().join("model/tokenizer.json"), tokenizer).unwrap();
    for trace in ["0", "1", "full"] {
        let mut command = program(dir.path());
        command.env("RUST_BACKTRACE", trace).args(["invert", "--model", "model", "--text", "a"]);
        let output = command.output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        // The model loads without its tokenizer, with a note. The text then needs it.
        let lines: Vec<&str> = err.trim_end().lines().collect();
        let [note, error] = lines.as_slice() else { panic!("{err}") };
        assert!(note.contains("the tokenizer cannot be used, so give token ids"), "{err}");
        let parts = ["error: ", "tokenizer.json", "the tokenizers library failed: "];
        assert!(parts.iter().all(|part| error.contains(part)), "{err}");
        assert!(!err.contains("panicked at") && !err.contains("stack backtrace"), "{err}");
    }
}
