//! Ends of the program: a closed or full output, and a signal.
#![cfg(unix)]

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

/// An inversion of a store that takes minutes.
fn long_inversion(folder: &Path) -> Child {
    let arguments = ["invert", "--states", "states", "--out", "out.jsonl", "--policy", "exhaustive"];
    program(folder).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends a signal, and checks the status and what the program says as it ends.
fn interrupt(child: Child, signal: &str, status: i32, said: &str) {
    let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{err}");
    assert!(err.contains(said), "{err}");
    assert!(!err.contains("panicked") && !err.contains("error"), "{err}");
}

#[test]
fn a_signal_ends_between_two_lines_and_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.jsonl");
    succeed(dir.path(), "extract --generate 300 --positions all --taps block-3 --out states");
    let mut before = 0;
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let child = long_inversion(dir.path());
        let lines = || fs::read_to_string(&out).map_or(0, |text| text.lines().count());
        while lines() < before + 2 {
            sleep(Duration::from_millis(10));
        }
        interrupt(child, signal, status, "interrupted: finished prompts are in the file");
        let text = fs::read_to_string(&out).unwrap();
        assert!(text.ends_with('\n'));
        let numbers = text
            .lines()
            .skip(1)
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["prompt"].as_u64().unwrap());
        let numbers: Vec<u64> = numbers.collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
        before = lines();
    }
}

#[test]
fn a_signal_ends_an_extraction_after_a_block_and_the_same_command_continues() {
    let dir = tempfile::tempdir().unwrap();
    let extract = "extract --generate 3000 --taps block-3 --positions all --memory 1 --out";
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut child = program(dir.path());
        child.args(extract.split(' ')).arg("killed").stdout(Stdio::piped()).stderr(Stdio::piped());
        let journal = dir.path().join("killed/progress.json");
        let progress = || fs::read(&journal).ok();
        let before = progress();
        let child = child.spawn().unwrap();
        // Until it has added a block of its own.
        while progress() == before {
            sleep(Duration::from_millis(5));
        }
        interrupt(child, signal, status, "interrupted: the same command continues where this one stopped");
        assert!(journal.exists(), "the work is not finished");
    }
    succeed(dir.path(), &format!("{extract} killed"));
    succeed(dir.path(), &format!("{extract} whole"));
    for name in ["tap-block-3.safetensors", "checksums.jsonl", "rows.safetensors"] {
        let [killed, whole] =
            ["killed", "whole"].map(|folder| fs::read(dir.path().join(folder).join(name)).unwrap());
        assert!(killed == whole, "{name} differs");
    }
}

#[test]
fn a_signal_ends_a_study_between_two_units_and_the_same_command_continues() {
    let dir = tempfile::tempdir().unwrap();
    let margins = "study margins --count 200 --longest 8 --lengths 2 --per-length 2 --taps block-1 --out";
    let journal = dir.path().join("study/margins.jsonl");
    let lines = || fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let before = lines();
        let mut child = program(dir.path());
        child.args(margins.split(' ')).arg("study").stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        while lines() < before + 2 {
            sleep(Duration::from_millis(5));
        }
        interrupt(child, signal, status, "interrupted: finished parts are in the journal; the same command");
        assert!(fs::read_to_string(&journal).unwrap().ends_with('\n'));
    }
    succeed(dir.path(), &format!("{margins} study"));
    succeed(dir.path(), &format!("{margins} whole"));
    let [continued, whole] =
        ["study", "whole"].map(|folder| fs::read(dir.path().join(folder).join("margins.json")).unwrap());
    assert!(continued == whole);
}

#[cfg(feature = "hub")]
/// A Hub that announces a config of 64 KiB, sends half of it and falls silent, or falls silent at once. Each request arrives at the
/// receiver, after its answer was sent.
fn silent_hub(answers: bool) -> (String, Receiver<String>) {
    const WHOLE: &str = "200 OK\r\nContent-Length: 65536";
    const REST: &str =
        "206 Partial Content\r\nContent-Length: 32768\r\nContent-Range: bytes 32768-65535/65536";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (send, receive) = channel();
    // The threads end with the process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let send = send.clone();
            thread::spawn(move || {
                let mut stream: TcpStream = stream;
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let request = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
                let is_head = request.starts_with("HEAD");
                let is_rest = request.to_lowercase().contains("range: bytes=32768-");
                if answers {
                    let head = if is_rest { REST } else { WHOLE };
                    let (commit, hash) = ("1".repeat(40), "a".repeat(40));
                    write!(stream, "HTTP/1.1 {head}\r\nX-Repo-Commit: {commit}\r\nETag: \"{hash}\"\r\n\r\n")
                        .unwrap();
                }
                if answers && !is_head && !is_rest {
                    stream.write_all(&[b' '; 1 << 15]).unwrap();
                }
                send.send(request).unwrap();
                if !(answers && is_head) {
                    sleep(Duration::from_secs(600));
                }
            });
        }
    });
    (endpoint, receive)
}

#[cfg(feature = "hub")]
#[test]
fn a_signal_ends_the_wait_for_a_hub_and_the_same_command_fetches_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let fetch = |endpoint: &str| {
        let mut command = program(dir.path());
        command.args(["extract", "--model", "owner/tiny", "--ids", "1,2", "--out", "out"]);
        command
            .env("HF_ENDPOINT", endpoint)
            .env("HF_HUB_CACHE", dir.path().join("cache"))
            .env("HF_HOME", dir.path());
        command
            .env("HF_HUB_DOWNLOAD_TIMEOUT", "500")
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("TRANSFORMERS_OFFLINE");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let blobs = dir.path().join("cache/models--owner--tiny/blobs");
    let part = blobs.join(format!("{}.incomplete", "a".repeat(40)));
    for (answers, signal, status) in [(false, "INT", 130), (true, "TERM", 143), (true, "INT", 130)] {
        let had = fs::metadata(&part).map_or(0, |part| part.len());
        let (endpoint, requests) = silent_hub(answers);
        let child = fetch(&endpoint);
        let request = requests.iter().find(|request| !answers || request.starts_with("GET")).unwrap();
        if answers {
            assert_eq!(request.to_lowercase().contains("range: bytes=32768-"), had > 0, "{request}");
            while fs::metadata(&part).map_or(0, |part| part.len()) < 1 << 15 {
                sleep(Duration::from_millis(5));
            }
        }
        let begin = Instant::now();
        interrupt(
            child,
            signal,
            status,
            "interrupted: what has arrived is kept, and the same command fetches the rest",
        );
        // At most a second on an idle machine, and not the 500 of the timeout.
        assert!(begin.elapsed() < Duration::from_secs(60));
        assert!(!dir.path().join("out").exists());
    }
    assert_eq!(fs::metadata(&part).unwrap().len(), 1 << 15);
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
