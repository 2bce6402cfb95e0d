//! Ends of the program: a closed or full output, and a signal.
#![cfg(unix)]

mod signals;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::{self, sleep},
    time::Duration,
};

use super::support::{ended, program, ran, succeed, wait_until};

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
    ran(program(dir.path()).args(STUDY).arg("out").stdout(full()))
        .with_status(1)
        .says(&["error: cannot write to standard output: No space left"]);
    assert!(dir.path().join("out/report.html").is_file());
    ran(program(dir.path()).args(STUDY).arg("err").stderr(full())).with_status(0);
}

#[test]
fn descriptors_that_were_closed_before_the_start_lose_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let command = program(dir.path());
    for (name, closed) in [("out", "1>&-"), ("err", "2>&-"), ("both", "1>&- 2>&-")] {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$0\" \"$@\" {closed}")]).arg(command.get_program());
        let ran = ran(shell.current_dir(dir.path()).args(STUDY).arg(name)).with_status(0);
        assert!(!(ran.out + &ran.err).contains("panicked"), "{name}");
        // No file of the study took the place of the closed descriptor.
        let corpus = fs::read_to_string(dir.path().join(name).join("corpus.json")).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&corpus).is_ok(), "{name}: {corpus}");
        assert!(dir.path().join(name).join("report.html").is_file());
    }
}

#[test]
fn a_recovered_text_cannot_command_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let text = "a\u{1b}[31m\u{202e}b\r";
    for (json, shown) in [(None, "a\\u{1b}[31m\\u{202e}b\\r"), (Some("--json"), "a\\u001b[31m\\u202eb\\r")] {
        let mut command = program(dir.path());
        command.args(["invert", "--tap", "block-1", "--text", text]).args(json);
        let out = ran(&mut command).out;
        assert!(out.contains(shown), "{out:?}");
        assert!(!out.contains(['\u{1b}', '\u{202e}', '\r']), "{out:?}");
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
    ran(program(dir.path()).arg("--help").stdout(full))
        .with_status(1)
        .says(&["error: cannot write to standard output: No space left"]);
}

#[test]
fn a_file_that_may_not_grow_any_further_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 8; exec \"$0\" \"$@\""]).arg(program(dir.path()).get_program());
    shell.args("extract --generate 300 --positions all --taps block-3 --out store".split(' '));
    let err = ran(shell.current_dir(dir.path())).with_status(1).err;
    assert!(err.contains("error: ") && err.to_lowercase().contains("file too large"), "{err}");
}

#[test]
fn a_model_that_takes_too_many_addresses_is_named_with_its_size_and_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("large.gguf")).unwrap();
    // It takes nothing on the disk.
    file.set_len(64 << 30).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v 16777216; exec \"$0\" \"$@\""]).arg(program(dir.path()).get_program());
    shell.args("extract --model large.gguf --ids 1 --positions all --taps block-1 --out store".split(' '));
    ran(shell.current_dir(dir.path())).with_status(1).says(&[
        "error: cannot map large.gguf: it takes 68719476736 bytes of addresses",
        "`ulimit -v`",
        "Cannot allocate memory",
    ]);
}

/// The program, to be run in a folder under a system that allows it this many threads.
fn with_threads(folder: &Path, allowed: usize) -> Command {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};

    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    let mut shell = Command::new("sh");
    let limited = format!("ulimit -u {allowed} 2>&- || ulimit -p {allowed}; exec \"$0\" \"$@\"");
    shell.args(["-c", &limited]).arg(program(folder).get_program()).current_dir(folder);
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout == b"0\n" {
        // The limit does not hold for root. Nobody else has these numbers, one for each run.
        let number = 54_321 + NUMBER.fetch_add(1, Ordering::Relaxed);
        shell.uid(number).gid(number);
    }
    shell
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

#[test]
fn a_system_that_allows_no_threads_only_takes_longer() {
    let dir = tempfile::tempdir().unwrap();
    let extract = "extract --generate 20 --positions all --taps block-3 --out";
    succeed(dir.path(), &format!("{extract} store"));
    ran(with_threads(dir.path(), 1).args(extract.split(' ')).arg("other"))
        .with_status(0)
        .says(&["the system allows 0 more threads"]);
    for file in ["checksums.jsonl", "tap-block-3.safetensors"] {
        let [store, other] = ["store", "other"].map(|folder| fs::read(dir.path().join(folder).join(file)));
        assert_eq!(store.unwrap(), other.unwrap(), "{file}");
    }
}

#[test]
fn a_command_that_computes_nothing_starts_no_threads() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in ["sizes", "completions bash", "--help"] {
        let ran = ran(with_threads(dir.path(), 1).args(arguments.split(' '))).with_status(0);
        assert_eq!(ran.err, "", "{arguments}");
    }
}

#[test]
fn the_main_thread_needs_a_small_stack_only() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in ["invert --text Hello. --tap block-1", "extract --generate 2 --taps block-1 --out a"] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -s 64; exec \"$0\" \"$@\""]).arg(program(dir.path()).get_program());
        ran(shell.args(arguments.split(' ')).current_dir(dir.path())).with_status(0);
    }
}

#[cfg(feature = "hub")]
#[test]
fn a_system_that_allows_few_threads_is_told_of_when_the_hub_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing listens on port 1.
    let ran = |allowed, name, value| {
        let mut command = with_threads(dir.path(), allowed);
        command.args(["extract", "--model", "owner/tiny", "--ids", "1,2", "--out", "out"]);
        command.env("HF_HOME", dir.path()).env_remove("HF_HUB_CACHE").env_remove("HF_HUB_OFFLINE");
        command.env("HF_ENDPOINT", "http://127.0.0.1:1").env(name, value);
        ran(&mut command).with_status(1).err
    };
    let offline = ran(1, "HF_HUB_OFFLINE", "1");
    assert!(offline.contains("offline mode forbids"), "{offline}");
    let alone = ran(1, "HF_HUB_OFFLINE", "0");
    assert!(alone.contains("cannot start a thread: Resource temporarily unavailable"), "{alone}");
    // The threads of the computation, of the download, of its time and of the name server: each may be the one too many.
    let cores = thread::available_parallelism().unwrap().get();
    for allowed in 2..cores + 6 {
        let err = ran(allowed, "HF_HUB_OFFLINE", "0");
        let told = ["cannot start a thread", "the connection failed: "];
        assert!(told.iter().any(|told| err.contains(told)), "{allowed}: {err}");
    }
}

#[test]
fn no_end_of_the_program_leaves_the_files_of_its_model() {
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    for signal in ["INT", "TERM", "KILL"] {
        let margins = "study margins --count 200 --longest 8 --lengths 2 --per-length 2 --taps block-1 --out";
        let mut child = program(dir.path());
        child.args(margins.split(' ')).arg(signal).env("TMPDIR", &temporary).stderr(Stdio::null());
        let mut child = child.stdout(Stdio::null()).spawn().unwrap();
        let journal = dir.path().join(signal).join("margins.jsonl");
        wait_until(&mut child, || fs::read_to_string(&journal).is_ok_and(|text| text.lines().count() >= 2));
        Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(!ended(child).status.success(), "{signal}");
        let left: Vec<_> = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{signal}: {left:?}");
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
        let err = ran(&mut command).with_status(1).err;
        // The model loads without its tokenizer, with a note. The text then needs it.
        let lines: Vec<&str> = err.trim_end().lines().collect();
        let [note, error] = lines.as_slice() else { panic!("{err}") };
        assert!(note.contains("the tokenizer cannot be used, so give token ids"), "{err}");
        let parts = ["error: ", "tokenizer.json", "the tokenizers library failed: "];
        assert!(parts.iter().all(|part| error.contains(part)), "{err}");
        assert!(!err.contains("panicked at") && !err.contains("stack backtrace"), "{err}");
    }
}
