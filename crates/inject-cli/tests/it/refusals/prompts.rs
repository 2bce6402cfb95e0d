//! Prompts that are empty, too few, too long, or in a pipe.

use super::*;

#[test]
fn prompts_of_no_tokens_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        "study margins --lengths 0",
        "depth --lengths 4,0",
        "study precision --length 0",
        "lens --out a --longest 0",
    ] {
        refused(dir.path(), &arguments.split(' ').collect::<Vec<_>>(), 2, &["'0'", "expected 1 or more"]);
    }
    refused(dir.path(), &["study", "margins", "--lengths", "2,x"], 2, &["'x'", "expected a whole number"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn more_prompts_than_there_are_end_with_a_word_and_not_never() {
    let dir = tempfile::tempdir().unwrap();
    let margins = "study margins --count 1 --longest 2 --taps block-1 --lengths 1 --per-length 1000";
    let ran = succeed(dir.path(), margins);
    assert!(
        ran.err.contains("different prompts of 1 token in generated text, asked for 1,000"),
        "{}",
        ran.err
    );
    fs::write(dir.path().join("three.txt"), "One.\nTwo.\nThree.\n").unwrap();
    let ran = succeed(dir.path(), "study collisions --prompts three.txt --count 5000 --taps block-1");
    assert!(ran.err.contains("only 3 different prompts in three.txt, asked for 5,000"), "{}", ran.err);
    let arguments =
        ["study", "margins", "--prompts", "three.txt", "--skip", "2", "--lengths", "2", "--out", "other"];
    refused(dir.path(), &arguments, 1, &["only", "expected at least 2"]);
}

#[cfg(unix)]
#[test]
fn prompts_that_are_read_more_than_once_cannot_come_from_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
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
        // One that opens the pipe would wait for ever.
        let mut child = program(dir.path())
            .args(command.split(' '))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            if std::time::Instant::now() > end {
                child.kill().unwrap();
                panic!("`{command}` waits for the pipe");
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let ended = child.wait_with_output().unwrap();
        let text = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{command}: {text}");
        for part in ["error: pipe.jsonl: expected an ordinary file", "write the prompts to a file first"] {
            assert!(text.contains(part), "{command}: {text}");
        }
        assert!(!dir.path().join("a").exists(), "{command}");
    }
}

#[test]
fn empty_prompts_are_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("some.txt"), "One prompt.\n\n\nAnother.\n").unwrap();
    fs::write(dir.path().join("some.jsonl"), "[1, 2]\n[]\n").unwrap();
    fs::write(dir.path().join("none.jsonl"), "{\"text\": \"\"}\n").unwrap();
    let sources = [
        ("--prompts some.txt", "left out 2 empty prompts of some.txt"),
        ("--prompts some.txt --share 1/1", "left out 2 empty prompts of some.txt"),
        ("--prompt-ids some.jsonl", "left out 1 empty prompt of some.jsonl"),
    ];
    for (number, (source, note)) in sources.into_iter().enumerate() {
        let ran = succeed(dir.path(), &format!("extract {source} --taps block-1 --out {number}"));
        assert_eq!(ran.err.matches(note).count(), 1, "{source}: {}", ran.err);
    }
    for share in ["", " --share 1/2"] {
        let command = format!("extract --prompts none.jsonl --taps block-1{share} --out a");
        let parts = ["left out 1 empty prompt of none.jsonl", "error: no prompts: expected at least one"];
        refused(dir.path(), &command.split(' ').collect::<Vec<_>>(), 1, &parts);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_prompt_of_more_tokens_than_fit_into_any_memory_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    // A mask of 16 TB.
    fs::write(dir.path().join("ids.txt"), format!("1,2\n{}1\n", "1,".repeat(3_999_999))).unwrap();
    let arguments = "extract --prompt-ids ids.txt --out store";
    refused(
        dir.path(),
        &arguments.split(' ').collect::<Vec<_>>(),
        1,
        &["prompt 1 has 4,000,000 tokens", "16 TB"],
    );
    assert!(!dir.path().join("store").exists());
}
