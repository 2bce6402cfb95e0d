//! Work divided among processes: whatever the division, the merged result is that of one process.

use std::{fs, path::Path, process::Child, thread::sleep, time::Duration};

use super::support::{program, refused, run, succeed};

/// Starts the program in the background, with its words on standard error in a file.
fn start(dir: &Path, arguments: &str, said: &str) -> Child {
    let mut command = program(dir);
    command.args(arguments.split_whitespace());
    command.stdout(std::process::Stdio::null()).stderr(fs::File::create(dir.join(said)).unwrap());
    command.spawn().unwrap()
}

/// Runs all shares of a command at once, in processes of their own. One of them is killed as soon as `begun` sees results of it and
/// is run again, and one is run twice. `{}` stands for the number of the share, in the name of its results too.
fn run_shares(dir: &Path, of: usize, command: &str, results: &str, begun: &dyn Fn(&Path) -> bool) {
    let arguments = |number: usize| {
        let command = command.replace("{}", &number.to_string());
        format!("{command} --share {number}/{of}")
    };
    let killed = of / 2 + 1;
    let others = (1..=of).filter(|&number| number != killed);
    let start = |number| (number, start(dir, &arguments(number), &format!("said-{number}")));
    let others: Vec<(usize, Child)> = others.map(start).collect();
    kill_in_mid_run(dir, &arguments(killed), &dir.join(results.replace("{}", &killed.to_string())), begun);
    for (number, mut child) in others {
        assert!(child.wait().unwrap().success(), "share {number} of {of}");
    }
    succeed(dir, &arguments(killed));
    succeed(dir, &arguments(1));
}

/// Starts a process and kills it as soon as it has `begun`. One that was over sooner is started anew.
fn kill_in_mid_run(dir: &Path, arguments: &str, results: &Path, begun: &dyn Fn(&Path) -> bool) {
    for _ in 0..20 {
        let mut child = start(dir, arguments, KILLED);
        while !begun(results) && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        if !child.wait().unwrap().success() {
            return;
        }
        let removed = if results.is_dir() { fs::remove_dir_all(results) } else { fs::remove_file(results) };
        removed.unwrap();
    }
    panic!("`{arguments}` was always over before it was killed");
}

/// The file with the words of the process that is killed.
const KILLED: &str = "said-by-the-killed";

/// Whether a file of results has a line after its header.
fn has_results(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.lines().count() > 1)
}

/// The names of the results of all shares, the last first.
fn backwards(of: usize, name: &str) -> String {
    (1..=of).rev().map(|number| name.replace("{}", &number.to_string())).collect::<Vec<_>>().join(" ")
}

#[track_caller]
pub(crate) fn assert_same_store(dir: &Path, found: &str, expected: &str) {
    let names = |store: &str| {
        let entries = fs::read_dir(dir.join(store)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    assert_eq!(names(found), names(expected));
    for name in names(expected) {
        let [found, expected] = [found, expected].map(|store| fs::read(dir.join(store).join(&name)).unwrap());
        assert!(found == expected, "{name:?} differs");
    }
}

#[track_caller]
fn assert_same(dir: &Path, found: &str, expected: &str) {
    let [found, expected] = [found, expected].map(|name| fs::read_to_string(dir.join(name)).unwrap());
    assert_eq!(found, expected);
}

#[test]
fn shares_of_an_extraction_are_merged_into_the_store_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let extract = "extract --generate 900 --taps block-2,final-norm --positions all --memory 2 --out";
    succeed(dir, &format!("{extract} whole"));
    for of in [1, 2, 7] {
        let begun = |store: &Path| store.join("checksums.progress.jsonl").exists();
        run_shares(dir, of, &format!("{extract} {of}-{{}}"), &format!("{of}-{{}}"), &begun);
        let shares = backwards(of, &format!("{of}-{{}}"));
        succeed(dir, &format!("extract --merge {shares} --out merged-{of}"));
        assert_same_store(dir, &format!("merged-{of}"), "whole");
    }
    let merge = |shares: &str| format!("extract --merge {shares} --out other");
    let no =
        |shares: &str, parts: &[&str]| refused(dir, &merge(shares).split(' ').collect::<Vec<_>>(), 1, parts);
    no("7-1 7-2 7-4 7-5 7-6 7-7", &["expected share 3/7"]);
    no("2-1 2-2 2-1", &["share 1/2 is there twice", "2-1"]);
    no("2-1 7-2", &["share 2/7", "share 1/2"]);
    no("2-1 whole", &["whole", "not a share"]);
    assert!(!dir.join("other/manifest.json").exists());
    refused(dir, &["extract", "--merge", "2-1", "--text", "a", "--out", "other"], 2, &["--text"]);
    refused(dir, &["extract", "--merge", "2-1", "--taps", "all", "--out", "other"], 2, &["--taps"]);
    refused(dir, &["extract", "--merge", "2-1", "--hold", "f32", "--out", "other"], 2, &["--hold"]);
    no("2-1 2-3", &["2-3", "No such file"]);
    let ran = succeed(dir, &format!("{extract} again --share 1/3"));
    assert!(ran.out.contains("share 1/3 of a store"), "{}", ran.out);
}

#[test]
fn shares_of_an_inversion_are_merged_into_the_results_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    succeed(dir, "extract --generate 24 --positions all --taps block-1 --out states");
    // A source that learns from prompt to prompt, and groups of one prompt.
    let invert = "invert --states states --policy secant --max-seconds 3600 --out";
    succeed(dir, &format!("{invert} whole.jsonl"));
    for of in [1, 2, 7] {
        let results = format!("{of}-{{}}.jsonl");
        run_shares(dir, of, &format!("{invert} {results}"), &results, &has_results);
        let shares = backwards(of, &format!("{of}-{{}}.jsonl"));
        let merge = format!("invert --merge {shares} --out merged-{of}.jsonl");
        let ran = succeed(dir, &merge);
        assert!(ran.out.contains("24 prompts: 24 verified"), "{}", ran.out);
        let merged = dir.join(format!("merged-{of}.jsonl"));
        assert_same(dir, &format!("merged-{of}.jsonl"), "whole.jsonl");
        let bytes = fs::read_to_string(&merged).unwrap();
        // Cut anywhere and merged again, it is the same.
        fs::write(&merged, &bytes[..bytes.len() / 2]).unwrap();
        succeed(dir, &merge);
        assert_eq!(fs::read_to_string(&merged).unwrap(), bytes);
    }
    let no = |shares: &str, parts: &[&str]| {
        let arguments = format!("invert --merge {shares} --out other.jsonl");
        refused(dir, &arguments.split(' ').collect::<Vec<_>>(), 1, parts);
    };
    no("7-1.jsonl 7-2.jsonl 7-4.jsonl 7-5.jsonl 7-6.jsonl 7-7.jsonl", &["expected share 3/7"]);
    no("2-1.jsonl 2-2.jsonl 2-1.jsonl", &["share 1/2 is there twice"]);
    no("whole.jsonl 2-1.jsonl", &["whole.jsonl is not a share"]);
    no("states/manifest.json", &["not a file of results"]);
    let share = fs::read_to_string(dir.join("2-2.jsonl")).unwrap();
    let unfinished = share.lines().take(4).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(dir.join("unfinished.jsonl"), unfinished).unwrap();
    no("2-1.jsonl unfinished.jsonl", &["unfinished.jsonl is unfinished", "3 of the 12 prompts of share 2/2"]);
    for (prompts, part) in
        [("13", "share 2/2 ends before number 25"), ("18446744073709551615", "not a file of results")]
    {
        let hostile = share.replacen("\"prompts\":12", &format!("\"prompts\":{prompts}"), 1);
        assert_ne!(hostile, share);
        fs::write(dir.join("hostile.jsonl"), hostile).unwrap();
        no("2-1.jsonl hostile.jsonl", &["hostile.jsonl", part]);
    }
    // The merge computes nothing again, so the remedy is the command of the share.
    fs::write(dir.join("damaged.jsonl"), share.replacen("\"verified\":true", "\"verfied\":true", 1)).unwrap();
    no("2-1.jsonl damaged.jsonl", &["damaged.jsonl", "line 2", "the command of the share that wrote it"]);
    // A policy that draws by the number of the prompt.
    let random = "invert --states states --policy random --max-candidates 50 --max-seconds 3600 --out";
    run(dir, &format!("{random} random.jsonl"));
    run(dir, &format!("{random} random-1.jsonl --share 1/2"));
    run(dir, &format!("{random} random-2.jsonl --share 2/2"));
    run(dir, "invert --merge random-1.jsonl random-2.jsonl --out random-merged.jsonl");
    assert_same(dir, "random-merged.jsonl", "random.jsonl");
    succeed(dir, "invert --states states --policy prior --max-seconds 3600 --share 2/2 --out prior.jsonl");
    no("2-1.jsonl prior.jsonl", &["not shares of one job", "policy is \"prior\""]);
    for (option, value) in [("--seed", "3"), ("--hold", "f32"), ("--calibrations", "c")] {
        refused(dir, &["invert", "--merge", "2-1.jsonl", option, value, "--out", "o"], 2, &[option]);
    }
    refused(dir, &["invert", "--share", "1/2"], 2, &["--states"]);
}

#[test]
fn shares_with_weights_that_are_held_otherwise_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/llama-bf16-shards");
    let model = model.display();
    let ids: Vec<String> =
        (0..1100).map(|i| format!("{{\"ids\": [{}, {}, 7]}}\n", i % 90, 1 + i / 90)).collect();
    fs::write(dir.join("ids.jsonl"), ids.concat()).unwrap();
    let no = |command: &str, parts: &[&str]| refused(dir, &command.split(' ').collect::<Vec<_>>(), 1, parts);
    let held = ["weights_held_as", "stored", "f32"];

    let extract =
        format!("extract --model {model} --prompt-ids ids.jsonl --taps block-1 --positions all --memory 1");
    succeed(dir, &format!("{extract} --hold f32 --share 1/2 --out 1"));
    succeed(dir, &format!("{extract} --hold stored --share 2/2 --out 2"));
    no("extract --merge 1 2 --out merged", &held);
    assert!(!dir.join("merged").exists());
    // The same for a share that is continued, and without the option that decides.
    no(&format!("{extract} --hold stored --share 1/2 --out 1"), &held);
    succeed(dir, &format!("{extract} --hold f32 --share 2/2 --out 2-f32"));
    succeed(dir, "extract --merge 1 2-f32 --out states");

    let invert = format!("invert --model {model} --states states --policy scan");
    run(dir, &format!("{invert} --hold f32 --share 1/2 --out 1.jsonl"));
    run(dir, &format!("{invert} --hold stored --share 2/2 --out 2.jsonl"));
    no("invert --merge 1.jsonl 2.jsonl --out merged.jsonl", &held);
    no(&format!("{invert} --hold stored --share 1/2 --out 1.jsonl"), &held);

    let study = format!(
        "study margins --model {model} --prompt-ids ids.jsonl --count 4 --lengths 2 --per-length 2 --taps block-1"
    );
    succeed(dir, &format!("{study} --hold f32 --share 1/2 --out margins-1"));
    let merge = format!("{study} --share 2/2 --merge margins-1/margins.jsonl --out margins-2");
    no(&format!("{merge} --hold stored"), &held);
    assert!(!dir.join("margins-2/margins.jsonl").exists());
    // The corrected command is not refused on account of the first.
    succeed(dir, &format!("{merge} --hold f32"));
}

#[test]
fn shares_of_a_folder_of_files_are_merged_into_the_results_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("files")).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-states/tests/fixtures/dumps");
    for file in ["any-name.safetensors", "batch-mask.safetensors", "tensor.pt"] {
        fs::copy(fixtures.join(file), dir.join("files").join(file)).unwrap();
    }
    let model = fixtures.join("../../../../inject-models/tests/fixtures/llama");
    let invert =
        format!("invert --model {} --states files --tap block-2 --policy secant --out", model.display());
    succeed(dir, &format!("{invert} whole.jsonl"));
    for of in [1, 2, 7] {
        for number in (1..=of).rev() {
            succeed(dir, &format!("{invert} {of}-{number}.jsonl --share {number}/{of}"));
        }
        // There are fewer prompts than seven, so some shares are empty and have no file.
        let shares: Vec<String> = (1..=of)
            .map(|number| format!("{of}-{number}.jsonl"))
            .filter(|name| dir.join(name).exists())
            .collect();
        succeed(dir, &format!("invert --merge {} --out merged-{of}.jsonl", shares.join(" ")));
        assert_same(dir, &format!("merged-{of}.jsonl"), "whole.jsonl");
    }
}

#[test]
fn shares_of_the_vocabulary_are_merged_into_the_lenses_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lens = "lens --taps block-1,block-3 --count 40 --out";
    succeed(dir, &format!("{lens} whole"));
    for of in [1, 2, 7] {
        // All shares go into one folder, each under a name of its own. A killed one leaves no file, or the whole file.
        let results = format!("{of}/lens-share-{{}}-of-{of}.safetensors");
        // It says the cost when it has read everything and begins to compute.
        let begun = |_: &Path| {
            fs::read_to_string(dir.join(KILLED)).is_ok_and(|said| said.contains(" tokens of text, "))
        };
        run_shares(dir, of, &format!("{lens} {of}"), &results, &begun);
        let shares = backwards(of, &format!("{of}/lens-share-{{}}-of-{of}.safetensors"));
        succeed(dir, &format!("{lens} merged-{of} --merge {shares}"));
        assert_same_store(dir, &format!("merged-{of}"), "whole");
    }
    let no = |command: &str, parts: &[&str]| refused(dir, &command.split(' ').collect::<Vec<_>>(), 1, parts);
    no(&format!("{lens} other --merge 2/lens-share-2-of-2.safetensors"), &["tokens 0 to", "share 1/2"]);
    let both = "2/lens-share-2-of-2.safetensors 2/lens-share-1-of-2.safetensors";
    let twice = format!("{lens} other --merge {both} 2/lens-share-1-of-2.safetensors");
    no(&twice, &["share 1/2 is there twice"]);
    let other_text = format!("lens --taps block-1,block-3 --count 44 --out other --merge {both}");
    no(&other_text, &["made for other weights, text, taps or prefixes"]);
    no(&format!("{lens} other --merge whole/lens-block-1.safetensors"), &["inject.lens-share is none"]);
}

#[test]
fn shares_of_the_pairs_are_merged_into_the_study_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let study =
        "study collisions --count 300 --taps block-1,block-3 --minima-only --tiles 4 --states states --out";
    succeed(dir, &format!("{study} whole"));
    let result = |folder: &str| fs::read_to_string(dir.join(folder).join("corpus.json")).unwrap();
    for of in [1, 2, 7] {
        let begun = |folder: &Path| has_results(&folder.join("corpus.jsonl"));
        run_shares(dir, of, &format!("{study} {of}-{{}}"), &format!("{of}-{{}}"), &begun);
        let shares = backwards(of, &format!("{of}-{{}}/corpus.jsonl"));
        let ran = succeed(dir, &format!("{study} merged-{of} --merge {shares}"));
        assert!(ran.out.contains("corpus is complete"), "{}", ran.out);
        assert_eq!(result(&format!("merged-{of}")), result("whole"));
    }
    // The merge does what is missing.
    succeed(dir, &format!("{study} missing --merge 7-2/corpus.jsonl 7-5/corpus.jsonl"));
    assert_eq!(result("missing"), result("whole"));
    // A journal that is named twice adds the same units.
    succeed(dir, &format!("{study} twice --merge 2-1/corpus.jsonl 2-2/corpus.jsonl 2-1/corpus.jsonl"));
    assert_eq!(result("twice"), result("whole"));
    let share = fs::read_to_string(dir.join("2-2/corpus.jsonl")).unwrap();
    let damaged = share.replacen("\"unit\":", "\"unti\":", 1);
    assert_ne!(damaged, share);
    fs::write(dir.join("damaged.jsonl"), damaged).unwrap();
    let merge = format!("{study} damaged --merge 2-1/corpus.jsonl damaged.jsonl");
    let parts = ["damaged.jsonl", "line 2", "the command of the share that wrote it"];
    refused(dir, &merge.split(' ').collect::<Vec<_>>(), 1, &parts);
    let other = "study collisions --count 300 --taps block-1,block-3 --minima-only --tiles 5 --states states";
    let no = |command: &str, part: &str| {
        let merge = format!("{command} other --merge 2-1/corpus.jsonl");
        refused(dir, &merge.split(' ').collect::<Vec<_>>(), 1, &["2-1/corpus.jsonl", part]);
    };
    no(&format!("{other} --out"), "tiles");
    no(&study.replace("--out", "--memory 512 --out"), "memory_budget");
}
