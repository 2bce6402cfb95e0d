//! Refusals of the program: their statuses and their words.

use std::fs;

use super::support::{program, refused, run, succeed};

#[test]
fn absurd_amounts_of_memory_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["invert", "extract --text a --out a", "depth", "study collisions", "study stress"] {
        let mut arguments: Vec<&str> = command.split(' ').collect();
        for memory in ["17592186044416", "0"] {
            arguments.extend(["--memory", memory]);
            refused(dir.path(), &arguments, 2, &["--memory", "a whole number of megabytes"]);
            arguments.truncate(arguments.len() - 2);
        }
    }
}

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
    // Without the option the free memory is the limit, which only Linux tells.
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

#[test]
fn options_without_effect_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("depth --skip 2", "--prompts"),
        ("depth --margin-rivals 3", "--noise-share"),
        ("extract --ids 1,2 --bos yes --out a", "--bos"),
        ("extract --text a --prompt-seed 3 --out a", "--generate"),
        ("invert --column 0", "--states"),
        ("invert --out a", "--states"),
        ("invert --ids 1 --bos no", "--bos"),
        ("lens --prompt-ids a --bos no --out b", "--bos"),
        ("compare-policies --policies scan --lens a", "--lens"),
        ("compare-policies --policies lens", "--lens FOLDER"),
        ("compare-policies --policies auto-with-lens", "--lens FOLDER"),
        ("invert --policy lens", "--lens FOLDER"),
        ("train-tiny", "--out"),
    ];
    for (arguments, part) in cases {
        refused(dir.path(), &arguments.split(' ').collect::<Vec<_>>(), 2, &[part]);
    }
}

#[test]
fn an_error_is_one_line_that_names_the_file_and_the_cause_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.npy"), "no array").unwrap();
    fs::write(dir.path().join("bad.jsonl"), "{\n").unwrap();
    let cases = [
        ("invert --states none.npy", "none.npy"),
        ("invert --states bad.npy", "bad.npy"),
        ("study collisions --prompts none.txt", "none.txt"),
        ("study collisions --prompts bad.jsonl", "bad.jsonl"),
        ("study collisions --against none.json", "none.json"),
        ("study collisions --merge none.jsonl", "none.jsonl"),
        ("invert --model ./none", "./none"),
    ];
    for (arguments, file) in cases {
        let ran = run(dir.path(), arguments);
        assert_eq!((ran.status, ran.err.trim_end().lines().count()), (1, 1), "{arguments}: {}", ran.err);
        assert_eq!(ran.err.matches(file).count(), 1, "{arguments}: {}", ran.err);
        assert!(ran.err.matches("No such file or directory").count() <= 1, "{arguments}: {}", ran.err);
        assert!(ran.out.is_empty());
    }
    assert!(!dir.path().join("studies").exists(), "no folder is made and then abandoned");
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap().success());
    succeed(dir.path(), "extract --generate 1 --positions all --taps block-1 --out states");
    for out in ["/dev/full", "pipe"] {
        refused(
            dir.path(),
            &["invert", "--states", "states", "--out", out],
            2,
            &["expected an ordinary file"],
        );
        for command in FOLDERS {
            let arguments = format!("{command} {out}");
            refused(dir.path(), &arguments.split(' ').collect::<Vec<_>>(), 2, &["expected a folder"]);
        }
    }
    for command in ["study collisions --against /dev/zero", "random-model --like /dev/zero --out a"] {
        let arguments: Vec<&str> = command.split(' ').collect();
        refused(dir.path(), &arguments, 1, &["/dev/zero", "expected an ordinary file"]);
    }
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

/// Every command with a folder for results, without the folder.
#[cfg(unix)]
const FOLDERS: [&str; 12] = [
    "extract --text a --out",
    "extract --merge states --out",
    "lens --taps block-1 --count 4 --out",
    "depth --count 1 --taps block-1 --out",
    "compare-policies --count 1 --out",
    "study collisions --count 2 --taps block-1 --out",
    "study margins --count 1 --longest 2 --lengths 2 --per-length 2 --taps block-1 --out",
    "study exhaustive --count 2 --out",
    "study stress --count 2 --taps block-1 --out",
    "study precision --count 1 --taps block-1 --out",
    "study training --steps 1 --out",
    "train-tiny --steps 1 --out",
];

#[test]
fn no_folder_is_left_by_a_command_that_cannot_begin() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("wide.json"), "{\"model_type\": \"gpt2\", \"n_embd\": 0}").unwrap();
    for command in [
        "extract --model ./none --text a --out a/b",
        "extract --ids 4000000 --out a/b",
        "extract --prompts none.txt --out a/b",
        "extract --text a --taps block-99 --out a/b",
        "extract --merge none --out a/b",
        "lens --model ./none --out a/b",
        "lens --prompts none.txt --out a/b",
        "lens --taps block-99 --out a/b",
        "lens --merge none.safetensors --out a/b",
        "depth --model ./none --out a/b",
        "depth --prompts none.txt --out a/b",
        "compare-policies --model ./none --out a/b",
        "compare-policies --prompts none.txt --out a/b",
        "study collisions --model ./none --out a/b",
        "study collisions --prompts none.txt --out a/b",
        "study margins --prompts none.txt --out a/b",
        "study exhaustive --prompts none.txt --out a/b",
        "study stress --prompts none.txt --out a/b",
        "study precision --prompts none.txt --out a/b",
        "study margins --merge none.jsonl --out a/b",
        "random-model --like ./none.json --out a/b",
        "random-model --like ./wide.json --out a/b",
        "train-tiny --width 15 --heads 2 --out a/b",
        "invert --states none.npy --out a.jsonl",
    ] {
        let ran = run(dir.path(), command);
        assert!(matches!(ran.status, 1 | 2), "{command}: {}{}", ran.out, ran.err);
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["wide.json"], "{command}");
    }
}

#[test]
fn a_wrong_prompt_is_not_called_equal_and_the_status_says_so() {
    let dir = tempfile::tempdir().unwrap();
    // Everything fits, so the first candidate tested is accepted: it is another token.
    let arguments = "invert --epsilon 100000 --policy random --tap block-1 --json";
    let ran = run(dir.path(), arguments);
    assert_eq!(ran.status, 4, "{}{}", ran.out, ran.err);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["recovered"]["equals_prompt"], false);
    let ran = run(dir.path(), "invert --epsilon 100000 --policy random --tap block-1");
    assert!(ran.out.contains("equal to the prompt: no") && ran.out.contains("epsilon"), "{}", ran.out);
}

#[test]
fn open_positions_carry_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), "invert --policy random --max-candidates 1 --tap block-1 --json");
    assert_eq!(ran.status, 3, "{}", ran.err);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let recovered = &json["recovered"];
    assert_eq!(recovered["verified"], false);
    assert!(recovered["equals_prompt"].is_null(), "nothing contradicts the prompt: {recovered}");
    let positions = recovered["positions"].as_array().unwrap();
    let open: Vec<_> = positions.iter().filter(|row| row["verdict"] == "open").collect();
    assert!(!open.is_empty());
    let nothing = ["token_id", "distance", "tolerance", "found_by"];
    assert!(
        open.iter()
            .all(|row| nothing.iter().all(|&field| row.get(field).is_some_and(|value| value.is_null()))),
        "{open:?}"
    );
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
#[cfg(feature = "hub")]
fn a_name_that_is_neither_a_folder_nor_in_the_cache_is_named_as_both() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program(dir.path());
    command.args(["invert", "--ids", "1", "--model", "no-such/folder"]);
    command.env("HF_HUB_OFFLINE", "1").env("HF_HUB_CACHE", dir.path().join("cache"));
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("there is no folder no-such/folder, and on the Hub: "), "{told}");
    assert!(told.contains("offline mode"), "{told}");
}

#[test]
fn notes_about_a_model_take_one_line_whatever_its_files_say() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), "train-tiny --steps 1 --batch 1 --layers 1 --width 16 --out model");
    let path = dir.path().join("model/config.json");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replacen('{', "{\"two\\nlines\": 1, \"\\u001b[31mred\": 2,", 1)).unwrap();
    let ran = succeed(dir.path(), "extract --model model --ids 1,2 --out store");
    let notes: Vec<&str> = ran.err.lines().filter(|line| line.contains("does not read")).collect();
    let [note] = notes.as_slice() else { panic!("{}", ran.err) };
    assert!(note.contains("[31mred, two; lines") && !ran.err.contains('\u{1b}'), "{note:?}");
}

#[test]
fn all_problems_of_a_config_are_told_however_many_they_are() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("model")).unwrap();
    let keys = [
        "rope_interleaved",
        "embedding_multiplier",
        "residual_multiplier",
        "attention_multiplier",
        "logits_scaling",
        "logit_scale",
        "scale_emb",
        "scale_depth",
        "hidden_act",
        "rms_norm_eps",
        "tie_word_embeddings",
        "mlp_bias",
    ];
    let config: Vec<String> = keys.iter().map(|key| format!("\"{key}\": \"wrong\"")).collect();
    let config = format!("{{\"model_type\": \"llama\", {}}}", config.join(", "));
    fs::write(dir.path().join("model/config.json"), config).unwrap();
    let named: Vec<String> = keys.iter().map(|key| format!("key `{key}` is \"wrong\"")).collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    refused(dir.path(), &["invert", "--model", "model", "--ids", "1,2"], 1, &named);
}
