//! Signals: the program ends between two pieces of work, and the same command continues.

use super::*;
use serde_json::json;

/// An inversion of a store that takes minutes.
fn long_inversion(folder: &Path) -> Child {
    let arguments = ["invert", "--states", "states", "--out", "out.jsonl", "--policy", "exhaustive"];
    program(folder).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends a signal, and checks the status and what the program says as it ends.
fn interrupt(child: Child, signal: &str, status: i32, said: &str) {
    let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = ended(child);
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
        let mut child = long_inversion(dir.path());
        let lines = || fs::read_to_string(&out).map_or(0, |text| text.lines().count());
        wait_until(&mut child, || lines() >= before + 2);
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
    let extract = "extract --generate 3000 --taps block-3 --positions all --memory 2 --out";
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut child = program(dir.path());
        child.args(extract.split(' ')).arg("killed").stdout(Stdio::piped()).stderr(Stdio::piped());
        let journal = dir.path().join("killed/progress.json");
        let progress = || fs::read(&journal).ok();
        let before = progress();
        let mut child = child.spawn().unwrap();
        // Until it has added a block of its own.
        wait_until(&mut child, || progress() != before);
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
fn a_signal_ends_a_pass_over_a_batch_of_the_default_size() {
    let dir = tempfile::tempdir().unwrap();
    // A block of a store has up to 1,024 prompts, whose passes take many seconds.
    let id = |number: u32, at: u32| ((number * 31 + at * 17) % 2048).to_string();
    let line = |number| (0..256).map(|at| id(number, at)).collect::<Vec<_>>().join(",");
    let lines: Vec<String> = (0..2000).map(line).collect();
    fs::write(dir.path().join("ids.txt"), lines.join("\n")).unwrap();
    let extract = "extract --prompt-ids ids.txt --taps final-norm --positions all --out";
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut child = program(dir.path());
        child.args(extract.split(' ')).arg(signal).stdout(Stdio::piped()).stderr(Stdio::piped());
        let journal = dir.path().join(signal).join("progress.json");
        let mut child = child.spawn().unwrap();
        // It is written before the first block is computed.
        wait_until(&mut child, || journal.exists());
        sleep(Duration::from_millis(300));
        interrupt(child, signal, status, "interrupted: the same command continues where this one stopped");
        let journal: serde_json::Value = serde_json::from_slice(&fs::read(journal).unwrap()).unwrap();
        assert_eq!(journal["prompts_done"], 0, "the block was finished before the signal was heeded");
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
        let mut child = child.spawn().unwrap();
        wait_until(&mut child, || lines() >= before + 2);
        interrupt(child, signal, status, "interrupted: finished parts are in the journal; the same command");
        assert!(fs::read_to_string(&journal).unwrap().ends_with('\n'));
    }
    succeed(dir.path(), &format!("{margins} study"));
    succeed(dir.path(), &format!("{margins} whole"));
    let [continued, whole] =
        ["study", "whole"].map(|folder| fs::read(dir.path().join(folder).join("margins.json")).unwrap());
    assert!(continued == whole);
}

#[test]
fn a_signal_leaves_nothing_of_a_training_that_is_not_finished_and_the_same_command_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let training = "train-tiny --batch 1 --layers 1 --width 16 --out model --steps";
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut child = program(dir.path());
        child.args(training.split(' ')).arg("1000000").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        wait_until(&mut child, || dir.path().join("model/config.json").exists());
        interrupt(child, signal, status, "interrupted: nothing was kept, and the same command begins again");
        assert!(!dir.path().join("model").exists());
    }
    // A killed run leaves its files, and the next one takes them back.
    let mut child = program(dir.path()).args(training.split(' ')).arg("1000000").spawn().unwrap();
    wait_until(&mut child, || dir.path().join("model/config.json").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dir.path().join("model/config.json").exists());
    succeed(dir.path(), &format!("{training} 1"));
}

/// Waits until the program listens for signals, where the system reports it.
fn listens(child: &mut Child) {
    const SIGINT: u64 = 1 << (2 - 1);
    let path = format!("/proc/{}/status", child.id());
    let caught = || {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        line.is_none_or(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & SIGINT != 0)
    };
    wait_until(child, caught);
    // So that it has most likely come to what it waits for.
    sleep(Duration::from_millis(300));
}

#[test]
fn a_signal_ends_the_wait_for_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.jsonl");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let commands = [
        "extract --prompts pipe.jsonl --taps block-1 --out a",
        "extract --prompt-ids pipe.jsonl --taps block-1 --out a",
        "lens --prompts pipe.jsonl --out a",
        "study collisions --prompts pipe.jsonl --out a",
        "study stress --prompt-ids pipe.jsonl --out a",
        "depth --prompts pipe.jsonl --lengths 4 --out a",
    ];
    for (number, command) in commands.iter().enumerate() {
        let (signal, status) = [("INT", 130), ("TERM", 143)][number % 2];
        // Without a writer the program cannot open the pipe. A silent one lets it wait for the first line.
        for is_open in [false, true] {
            let writer = is_open.then(|| File::options().read(true).write(true).open(&pipe).unwrap());
            let mut child = program(dir.path());
            child.args(command.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = child.spawn().unwrap();
            listens(&mut child);
            interrupt(child, signal, status, "the same command");
            drop(writer);
            assert!(!dir.path().join("a").exists(), "{command}");
        }
    }
}

#[test]
fn a_signal_ends_the_search_for_a_tap_and_not_only_between_two_taps() {
    let dir = tempfile::tempdir().unwrap();
    // No column holds states of the model, and the search takes seconds for each.
    let shape = [3, 7, 128];
    let values = (0..shape.iter().product()).map(|i: u64| ((i * i + 3 * i) % 101) as f32);
    let values: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    let states = json!({"states": {"dtype": "F32", "shape": shape, "data_offsets": [0, values.len()]}});
    let header = states.to_string();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &values].concat();
    fs::write(dir.path().join("states.safetensors"), file).unwrap();
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let said = dir.path().join("said");
        let mut command = program(dir.path());
        command
            .args("invert --states states.safetensors --axes token-tap --tap auto".split(' '))
            .stdout(Stdio::null());
        let mut child = command.stderr(File::create(&said).unwrap()).spawn().unwrap();
        let text = || fs::read_to_string(&said).unwrap();
        wait_until(&mut child, || text().contains("column 0: none"));
        Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert_eq!(ended(child).status.code(), Some(status), "{}", text());
        assert!(text().contains("interrupted: nothing was kept"), "{}", text());
        assert!(!text().contains("column 6"), "{}", text());
    }
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
                    let identity = format!("X-Repo-Commit: {commit}\r\nETag: \"{hash}\"");
                    write!(stream, "HTTP/1.1 {head}\r\n{identity}\r\nConnection: close\r\n\r\n").unwrap();
                }
                if answers && !is_head && !is_rest {
                    stream.write_all(&[b' '; 1 << 15]).unwrap();
                }
                send.send(request).unwrap();
                if !(answers && is_head) {
                    // For as long as the tests last.
                    loop {
                        thread::park();
                    }
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
            .env("HF_HUB_DOWNLOAD_TIMEOUT", "5000")
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("TRANSFORMERS_OFFLINE");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let blobs = dir.path().join("cache/models--owner--tiny/blobs");
    let part = blobs.join(format!("{}.incomplete", "a".repeat(40)));
    for (answers, signal, status) in [(false, "INT", 130), (true, "TERM", 143), (true, "INT", 130)] {
        let had = fs::metadata(&part).map_or(0, |part| part.len());
        let (endpoint, requests) = silent_hub(answers);
        let mut child = fetch(&endpoint);
        let mut awaited = None;
        wait_until(&mut child, || {
            awaited = requests.try_iter().find(|request| !answers || request.starts_with("GET"));
            awaited.is_some()
        });
        if answers {
            let request = awaited.unwrap().to_lowercase();
            assert_eq!(request.contains("range: bytes=32768-"), had > 0, "{request}");
            wait_until(&mut child, || fs::metadata(&part).is_ok_and(|part| part.len() >= 1 << 15));
        }
        // A program that waited for the time limit of the Hub, which is longer than the patience of the tests, would be killed.
        interrupt(
            child,
            signal,
            status,
            "interrupted: what has arrived is kept, and the same command fetches the rest",
        );
        assert!(!dir.path().join("out").exists());
    }
    assert_eq!(fs::metadata(&part).unwrap().len(), 1 << 15);
}
