//! Refusals of the program: their statuses and their words.

mod prompts;

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
        ("extract --text a --field b --out c", "--field needs --prompts"),
        ("extract --merge a --bos no --out b", "--bos needs a run without --merge"),
        ("lens --prompt-ids a --field b --out c", "--field needs --prompts"),
        ("study collisions --prompt-ids a --skip 2", "--skip needs --prompts"),
        ("study collisions --prompts a --prompt-seed 2", "--prompt-seed needs generated text"),
        (
            "depth --prompts a --random 0 --prompt-seed 2",
            "--prompt-seed needs generated text or random tokens",
        ),
        ("depth --noise 0.1 --margin-rivals 3", "--margin-rivals needs --noise-share"),
        ("depth --skip-checksums", "--skip-checksums needs --lens"),
        ("compare-policies --policies scan --seed 99", "--seed needs random"),
        ("invert --text a --out b", "--out needs --states or --merge"),
        ("invert --text a --column 0", "--column needs --states"),
        ("invert --ids 1 --order shuffled", "--order needs --states"),
        ("invert --states a --prefix b --system c", "--system needs --chat-template"),
        ("invert --text a --tap auto", "--tap needs --states"),
        ("invert --merge a --column 0 --out b", "--column needs a run without --merge"),
        ("invert --merge a --share 1/2 --out b", "--share needs a run without --merge"),
        ("invert --states a --order shuffled --policy scan", "--policy needs rows in a known order"),
        ("invert --states a --skip-checksums", "--skip-checksums needs --lens, or a store"),
        ("invert --policy exhaustive --rivals 3", "--rivals needs a search that may end early"),
        ("invert --certify --rivals 3", "--rivals needs a search that may end early"),
        ("invert --calibrations cal --computed-in f32", "--calibrations needs an estimate"),
        ("invert --calibrations cal --epsilon 1", "--calibrations needs an estimate"),
        ("invert --calibrations cal --noise 1", "--calibrations needs an estimate"),
        ("invert --calibrations cal --states a --coordinates permuted", "--calibrations needs an estimate"),
        ("study precision --parts formats --lens a", "--lens needs --parts recovery"),
        ("study precision --parts formats,decoding --whole 3", "--whole needs --parts recovery"),
        ("study precision --parts formats --rivals 7", "--rivals needs --parts recovery"),
        ("study precision --parts formats --every 9", "--every needs --parts decoding"),
        ("study precision --parts recovery --pairs-of 9", "--pairs-of needs --parts formats"),
        (
            "study precision --parts recovery --taps all --whole-taps block-1",
            "--taps needs --parts formats or decoding",
        ),
        ("study training --parts degenerate --depths 7", "--depths needs --parts random"),
        ("study training --parts random --steps 5", "--steps needs --parts training"),
        ("study training --parts random --width 8", "--width needs --parts training or degenerate"),
        ("study training --parts degenerate --count 5", "--count needs --parts training or random"),
    ];
    for (arguments, part) in cases {
        refused(dir.path(), &arguments.split(' ').collect::<Vec<_>>(), 2, &[part]);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn options_for_files_of_states_are_refused_beside_a_store() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), "extract --ids 1,2 --positions all --taps block-1 --out states");
    let options = [
        "--column 0",
        "--tensor a",
        "--axes token-tap",
        "--row 0",
        "--ignore-mask",
        "--prefix-ids 1",
        "--prefix a",
        "--tap auto",
    ];
    for option in options {
        let arguments = format!("invert --states states --out a.jsonl {option}");
        refused(dir.path(), &arguments.split(' ').collect::<Vec<_>>(), 2, &["is a store"]);
    }
    assert!(!dir.path().join("a.jsonl").exists());
}

#[test]
fn a_budget_below_the_vocabulary_is_refused_where_all_of_it_is_tested() {
    let dir = tempfile::tempdir().unwrap();
    for whole in ["--policy exhaustive", "--certify"] {
        let arguments = format!("invert --ids 1,2 --tap block-1 {whole} --max-candidates 5");
        let said = ["--max-candidates 5", "2,048 tokens", "--certify and --policy exhaustive"];
        refused(dir.path(), &arguments.split(' ').collect::<Vec<_>>(), 2, &said);
    }
}

#[test]
fn numbers_and_formats_that_cannot_be_had_are_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        ("extract --text a --format f64 --out q", "f32, f16, bf16"),
        ("depth --format f64", "f32, f16, bf16"),
        ("study exhaustive --prefixes 50 --count 5", "--prefixes 50 is more than --count 5"),
    ] {
        refused(dir.path(), &arguments.split(' ').collect::<Vec<_>>(), 2, &[part]);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
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
fn a_checkpoint_is_not_written_into_a_folder_of_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("mine");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), "{}").unwrap();
    for command in ["train-tiny --steps 1", "random-model --like gpt2"] {
        let arguments: Vec<&str> = command.split(' ').chain(["--out", "mine"]).collect();
        refused(dir.path(), &arguments, 2, &["expected a new or empty folder, found `config.json` in it"]);
    }
    assert_eq!(fs::read_to_string(folder.join("config.json")).unwrap(), "{}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn a_file_of_states_that_does_not_exist_is_named_as_that_whatever_its_ending() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["none", "none.npz", "none.txt"] {
        let ran = run(dir.path(), &format!("invert --states {name}")).with_status(1);
        assert!(ran.err.contains(name) && !ran.err.contains("ending"), "{}", ran.err);
        assert!(cfg!(windows) || ran.err.contains("No such file or directory"), "{}", ran.err);
    }
}

#[test]
fn a_negative_number_is_an_argument_and_named_as_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    for option in ["--epsilon", "--noise"] {
        refused(dir.path(), &["invert", option, "-1"], 2, &[option, "-1"]);
    }
}

#[test]
fn nothing_is_verified_within_a_tolerance_that_everything_fits() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = "invert --epsilon 100000 --policy random --tap block-1 --json";
    let ran = run(dir.path(), arguments).with_status(3);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["recovered"]["verified"], false);
    assert_eq!(json["recovered"]["likely_cause"]["kind"], "several-fit");
    let ran = run(dir.path(), "invert --epsilon 100000 --policy random --tap block-1");
    assert!(ran.out.contains("verified: no") && ran.out.contains("epsilon"), "{}", ran.out);
}

#[test]
fn open_positions_carry_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let ran =
        run(dir.path(), "invert --policy random --max-candidates 1 --tap block-1 --json").with_status(3);
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
