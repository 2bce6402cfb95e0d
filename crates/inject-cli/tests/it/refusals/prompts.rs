//! Prompts that are empty, too few or too long.

use super::*;

#[test]
fn a_prompt_that_takes_more_than_the_memory_given_is_refused_by_every_program() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let long = vec!["1"; 20_000].join(",");
    fs::write(dir.join("ids.txt"), format!("{long}\n1,2\n3,4\n")).unwrap();
    // Rotary positions set no limit.
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../inject-models/tests/fixtures/llama");
    let of_file = ["--model", model, "--prompt-ids", "ids.txt"];
    for command in [
        "extract --taps block-1 --out out",
        "study collisions --longest 20000 --taps block-1 --out out",
        "study exhaustive --longest 20000 --out out",
        "study margins --longest 20000 --taps block-1 --lengths 2 --out out",
        "study precision --length 20000 --taps block-1 --parts formats --out out",
        "study stress --repeats 20000 --taps block-1 --out out",
    ] {
        let arguments = command.split(' ').chain(of_file).chain(["--memory", "16"]);
        let said = ["20,", "whose computation takes about", "--memory allows"];
        refused(dir, &arguments.collect::<Vec<_>>(), 1, &said);
    }
    let arguments = ["invert", "--model", model, "--ids", &long, "--memory", "16"];
    refused(dir, &arguments, 1, &["20,000 tokens", "--memory allows"]);
    // Without the option the free memory is the limit, which only Linux reports.
    if !cfg!(target_os = "linux") {
        return;
    }
    for command in ["compare-policies --length", "depth --lengths", "study precision --length"] {
        let arguments = command.split(' ').chain(["4000000000"]).chain(of_file);
        let said = ["4,000,000,000 tokens", "of memory are available"];
        refused(dir, &arguments.collect::<Vec<_>>(), 1, &said);
    }
}

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
    ran.says(&["different prompts of 1 token in generated text, asked for 1,000"]);
    fs::write(dir.path().join("three.txt"), "One.\nTwo.\nThree.\n").unwrap();
    let ran = succeed(dir.path(), "study collisions --prompts three.txt --count 5000 --taps block-1");
    assert!(ran.err.contains("only 3 different prompts in three.txt, asked for 5,000"), "{}", ran.err);
    let arguments =
        ["study", "margins", "--prompts", "three.txt", "--skip", "2", "--lengths", "2", "--out", "other"];
    refused(dir.path(), &arguments, 1, &["only", "expected at least 2"]);
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
fn a_prompt_of_millions_of_tokens_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ids.txt"), format!("1,2\n{}1\n", "1,".repeat(3_999_999))).unwrap();
    let arguments = "extract --prompt-ids ids.txt --memory 1024 --out store";
    refused(
        dir.path(),
        &arguments.split(' ').collect::<Vec<_>>(),
        1,
        &["prompt 1 has 4,000,000 tokens", "--memory allows"],
    );
    assert!(!dir.path().join("store").exists());
}

#[test]
fn the_longest_prompt_of_a_file_is_set_by_an_option_that_the_error_names() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("a.txt"), "One day.\nOnce upon a time.\n").unwrap();
    let object = |text: &str| serde_json::json!({ "text": text }).to_string();
    fs::write(dir.join("a.jsonl"), [object("One day."), object("Once upon a time.")].join("\n")).unwrap();
    fs::write(dir.join("a.csv"), "text\nOne day.\nOnce upon a time.\n").unwrap();
    for (name, place) in [("a.txt", "line 2"), ("a.jsonl", "line 2"), ("a.csv", "row 1")] {
        for command in [
            "extract --taps block-1 --out out",
            "lens --count 2 --taps block-1 --out out",
            "study collisions --count 2 --taps block-1 --out out",
        ] {
            let arguments = command.split(' ').chain(["--prompts", name, "--max-prompt-bytes", "10"]);
            let said = [name, place, "more than 10 bytes; --max-prompt-bytes sets the limit of a prompt"];
            refused(dir, &arguments.collect::<Vec<_>>(), 1, &said);
        }
        let out = format!("out-{name}");
        succeed(dir, &format!("extract --taps block-1 --prompts {name} --max-prompt-bytes 17 --out {out}"));
    }
    // Longer than the usual limit.
    fs::write(dir.join("long.txt"), "a ".repeat(2 << 20) + "a").unwrap();
    let extract = "extract --taps embedding --prompts long.txt --out long";
    refused(
        dir,
        &extract.split(' ').collect::<Vec<_>>(),
        1,
        &["line 1 has more than 4194304 bytes; --max-prompt-bytes"],
    );
    refused(
        dir,
        &format!("{extract} --max-prompt-bytes 5000000 --memory 1").split(' ').collect::<Vec<_>>(),
        1,
        &["--memory allows"],
    );
    // Ids have a limit of their own.
    refused(
        dir,
        &["extract", "--ids", "1", "--out", "out", "--max-prompt-bytes", "10"],
        2,
        &["--max-prompt-bytes", "--prompts"],
    );
}
