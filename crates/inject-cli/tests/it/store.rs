//! `inject invert` on stores: all prompts come back, through interruptions, and what cannot be right is refused.

use std::{fs, path::Path};

use inject_prompts::Generator;
use inject_sipit::{
    models::{Bos, FloatFormat, Tap},
    states::{
        Extraction, extract_to_store,
        store::{Block, Opened, Positions, Store, StoreSpec, StoreWriter},
    },
};
use serde_json::Value;

use super::{
    bundled_model,
    support::{refused, run_with, succeed, without_checksums},
};

const TAPS: [Tap; 2] = [Tap::Block(1), Tap::Block(3)];

/// Writes a store of generated prompts. `weight_hash` stands in for the model's own.
fn extract(
    dir: &Path,
    prompts: usize,
    positions: Positions,
    dtype: FloatFormat,
    weight_hash: Option<&str>,
) -> Store {
    let device = inject_testing::any_device();
    let model = bundled_model::load(&device);
    let tokenizer = model.tokenizer().unwrap();
    let encode = |text: String| {
        let mut ids = tokenizer.encode(&text, Bos::Auto).unwrap();
        ids.truncate(24);
        ids
    };
    let prompts: Vec<Vec<u32>> = Generator::new(21).take(prompts).map(encode).collect();
    let extraction = Extraction::new(TAPS.to_vec(), positions).unwrap();
    let weight_hash = weight_hash.map_or_else(|| model.weight_hash().unwrap(), str::to_owned);
    let d_model = model.decoder.config().d_model;
    let spec = StoreSpec::new("bundled", weight_hash, TAPS.to_vec(), positions, d_model)
        .with_tokenizer(tokenizer, Bos::Auto, false)
        .with_dtype(dtype);
    extract_to_store(&extraction, &model.decoder, &prompts, dir, spec, &mut |_| ()).unwrap()
}

/// Arguments that invert a store.
fn arguments<'a>(store: &'a Path, out: Option<&'a Path>, options: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["invert", "--states", store.to_str().unwrap()];
    arguments.extend(out.into_iter().flat_map(|out| ["--out", out.to_str().unwrap()]));
    arguments.extend(options);
    arguments
}

/// Inverts a store and expects every prompt back.
#[track_caller]
fn invert(store: &Path, out: &Path, options: &[&str]) {
    let ran = run_with(store.parent().unwrap(), &arguments(store, Some(out), options));
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
}

/// The lines of a file of results. Those of older versions have no checksum.
fn lines(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out).unwrap();
    assert!(text.ends_with('\n'));
    let without = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        assert!(line["recovered"]["seconds"].is_null(), "{line}");
        line.as_object_mut().unwrap().remove("xxh3");
        line
    };
    text.lines().map(without).collect()
}

#[test]
fn every_prompt_of_a_store_comes_back() {
    for dtype in [FloatFormat::F32, FloatFormat::F16] {
        let dir = tempfile::tempdir().unwrap();
        let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
        let store = extract(&folder, 30, Positions::All, dtype, None);
        invert(&folder, &out, &[]);
        let lines = lines(&out);
        assert_eq!(lines[0]["job"]["tap"], "block-3", "the deepest that is stored");
        assert_eq!(lines.len(), 1 + 30);
        for (prompt, (line, ids)) in lines[1..].iter().zip(store.prompts()).enumerate() {
            assert_eq!(line["prompt"], prompt);
            assert_eq!(line["recovered"]["token_ids"], Value::from(ids), "{dtype}");
            assert_eq!(line["recovered"]["equals_prompt"], true, "{dtype}: {line}");
            assert!(
                line["recovered"]["positions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|row| row["verdict"] == "verified")
            );
        }
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    extract(&folder, 12, Positions::All, FloatFormat::F32, None);
    let together: &[&str] = &["--policy", "prior", "--tap", "block-1"];
    // With a bound on the time of each prompt, each is a group of its own.
    let alone = [together, &["--max-seconds", "3600"]].concat();
    for (name, options) in [("together", together), ("alone", &alone[..])] {
        let out = dir.path().join(name);
        invert(&folder, &out, options);
        let whole = fs::read(&out).unwrap();
        let ends: Vec<usize> = (1..=whole.len()).filter(|&end| whole[end - 1] == b'\n').collect();
        // Within the header and the lines of prompts 0, 4 and 11, and after the header and the lines of prompts 0, 6 and 11.
        let within = [0, 9, ends[0] + 1, ends[4] + 500, ends[11] + 40, ends[12] - 1];
        for cut in within.into_iter().chain([0, 1, 7, 12].map(|line| ends[line])) {
            fs::write(&out, &whole[..cut]).unwrap();
            invert(&folder, &out, options);
            assert!(fs::read(&out).unwrap() == whole, "{name}, cut at {cut}");
        }
    }
}

#[test]
fn a_search_that_learns_from_prompt_to_prompt_finds_the_same_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 12, Positions::All, FloatFormat::F32, None);
    // With a bound on the time of each prompt, each is a group of its own.
    let options = ["--policy", "secant", "--max-seconds", "3600"];
    invert(&folder, &out, &options);
    let whole = fs::read(&out).unwrap();
    for cut in [whole.len() / 2, whole.len() - 1] {
        fs::write(&out, &whole[..cut]).unwrap();
        invert(&folder, &out, &options);
        assert!(fs::read(&out).unwrap() == whole, "candidates and margins included");
    }
}

#[test]
fn a_store_that_cannot_be_inverted_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.jsonl");
    let of = |name: &str, positions, weight_hash| {
        let folder = dir.path().join(name);
        extract(&folder, 2, positions, FloatFormat::F32, weight_hash);
        folder
    };
    let no = |store: &Path, out: Option<&Path>, options: &[&str], status: i32, parts: &[&str]| {
        refused(dir.path(), &arguments(store, out, options), status, parts);
    };
    no(&of("last", Positions::Last, None), Some(&out), &[], 1, &["last position", "--positions all"]);
    let other = of("other", Positions::All, Some("0123"));
    no(&other, Some(&out), &[], 1, &["other weights", "0123", "expected"]);
    let store = of("store", Positions::All, None);
    no(&store, None, &[], 2, &["is a store", "--out"]);
    no(&store, Some(&out), &["--column", "0"], 2, &["--tap", "--column"]);
    no(&store, Some(&out), &["--tap", "block-2"], 1, &["block-2", "block-1"]);
    no(dir.path(), Some(&out), &[], 1, &["manifest.json"]);
    let without_effect = [
        ("--rivals 9 --max-candidates 9", "--max-candidates 9"),
        ("--policy prior --lens nowhere", "auto or lens"),
        ("--snap 4", "gradient"),
        ("--seed 4", "random"),
        ("--allclose 1e-5", "RTOL,ATOL"),
        ("--epsilon=-1", "--epsilon -1"),
    ];
    for (options, part) in without_effect {
        no(&store, Some(&out), &options.split_whitespace().collect::<Vec<_>>(), 2, &[part]);
    }
    no(&store, Some(&out), &["--epsilon", "1", "--noise", "2"], 2, &["--noise"]);
    let file = store.join("tap-block-1.safetensors");
    no(&file, Some(&out), &[], 2, &["--out is for the prompts of a store"]);
    assert!(!out.exists(), "nothing is written before the store is known to be right");
}

#[test]
fn a_file_of_another_job_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 3, Positions::All, FloatFormat::F32, None);
    invert(&folder, &out, &["--tap", "block-1"]);
    let whole = fs::read_to_string(&out).unwrap();
    let first_two = whole.lines().take(2).collect::<Vec<_>>().join("\n") + "\n";
    let swapped = first_two + whole.lines().nth(3).unwrap() + "\n";
    let damaged = whole.replace("\"verified\":true", "\"verfied\":true");
    let unknown = without_checksums(&damaged);
    let cases: [(&str, &str, &[&str]); 8] = [
        (&whole, "", &["tap = \"block-1\", now \"block-3\""]),
        (&whole, "--tap block-1 --policy prior", &["policy = \"auto\", now \"prior\""]),
        (&whole, "--tap block-1 --max-candidates 9", &["max_candidates = null, now 9"]),
        ("Dear diary", "--tap block-1", &["was not written by this program"]),
        ("Dear diary,\n", "--tap block-1", &["was not written by this program"]),
        (&swapped, "--tap block-1", &["line 3", "prompt 2, expected prompt 1"]),
        (
            &damaged,
            "--tap block-1",
            &["line 2 does not agree with its checksum", "remove the file from this line on"],
        ),
        (&unknown, "--tap block-1", &["line 2", "verfied"]),
    ];
    for (content, options, parts) in cases {
        fs::write(&out, content).unwrap();
        let options: Vec<&str> = options.split_whitespace().collect();
        refused(dir.path(), &arguments(&folder, Some(&out), &options), 1, parts);
        assert_eq!(fs::read_to_string(&out).unwrap(), content, "{parts:?}");
    }
}

#[test]
fn more_prompts_than_the_store_has_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 2, Positions::All, FloatFormat::F32, None);
    invert(&folder, &out, &["--tap", "block-1"]);
    let whole = fs::read_to_string(&out).unwrap();
    let surplus = without_checksums(whole.lines().last().unwrap()).replace("\"prompt\":1", "\"prompt\":2");
    fs::write(&out, format!("{whole}{surplus}\n")).unwrap();
    let arguments = arguments(&folder, Some(&out), &["--tap", "block-1"]);
    refused(dir.path(), &arguments, 1, &["holds 3 prompts", "the 2 of the store"]);
    let repeated = format!("{whole}{}\n", whole.lines().last().unwrap());
    fs::write(&out, repeated).unwrap();
    refused(dir.path(), &arguments, 1, &["line 4: holds prompt 1, expected prompt 2"]);
}

#[test]
fn no_changed_digit_of_a_result_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 2, Positions::All, FloatFormat::F32, None);
    invert(&folder, &out, &["--tap", "block-1"]);
    let whole = fs::read(&out).unwrap();
    let first_result = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    // The digit in the name of the checksum is not one of the result.
    let of_result = |at: &usize| whole[*at].is_ascii_digit() && !whole[..*at].ends_with(b"xxh");
    let digits = (first_result..whole.len()).filter(of_result);
    for at in digits.step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] = if damaged[at] == b'9' { b'8' } else { damaged[at] + 1 };
        fs::write(&out, &damaged).unwrap();
        refused(dir.path(), &arguments(&folder, Some(&out), &["--tap", "block-1"]), 1, &["its checksum"]);
    }
}

#[test]
fn exchanged_states_and_an_exchanged_lens_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 3, Positions::All, FloatFormat::F32, None);
    let lens = |count: &str, out: &str| {
        succeed(
            dir.path(),
            &format!("lens --taps block-1 --count {count} --prefixes 1 --word-prefixes 0 --out {out}"),
        );
    };
    lens("40", "lenses");
    lens("44", "others");
    let options = ["--tap", "block-1", "--lens", "lenses"];
    invert(&folder, &out, &options);
    let lines = fs::read_to_string(&out).unwrap();
    // Moved to another place, the lens is the same.
    fs::rename(dir.path().join("lenses"), dir.path().join("moved")).unwrap();
    invert(&folder, &out, &["--tap", "block-1", "--lens", "moved"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), lines);
    let refused = |options: &[&str], part: &str| {
        refused(dir.path(), &arguments(&folder, Some(&out), options), 1, &["begun with job.", part]);
    };
    refused(&["--tap", "block-1", "--lens", "others"], "lens = ");
    refused(&["--tap", "block-1"], "lens = ");

    // States of the same prompts, disturbed in one bit, with the checksums that they have then.
    let other = dir.path().join("other");
    let store = Store::open(&folder).unwrap();
    let mut spec = store.manifest().spec.clone();
    spec.taps = TAPS.to_vec();
    let prompts: Vec<Vec<u32>> = store.prompts().map(<[u32]>::to_vec).collect();
    let Opened::Writing(mut writer) = StoreWriter::open(&other, spec, &prompts).unwrap() else { panic!() };
    let mut states = TAPS.map(|tap| store.tap(tap).unwrap().to_array().into_raw_vec_and_offset().0);
    states[0][5] = f32::from_bits(states[0][5].to_bits() ^ 1);
    let views = [(TAPS[0], &states[0][..]), (TAPS[1], &states[1][..])];
    writer.append(&Block::new(prompts.len(), &views)).unwrap();
    writer.finish(None).unwrap();
    drop(store);
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&other, &folder).unwrap();
    refused(&["--tap", "block-1", "--lens", "moved"], "states = ");
}

#[test]
fn a_flipped_bit_of_a_state_is_noticed_unless_nobody_looks() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 2, Positions::All, FloatFormat::F32, None);
    let path = folder.join("tap-block-1.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let damaged = arguments(&folder, Some(&out), &["--tap", "block-1"]);
    refused(dir.path(), &damaged, 1, &["tap-block-1.safetensors", "rows"]);
    assert!(!out.exists());
    invert(&folder, &out, &["--tap", "block-1", "--skip-checksums"]);
}

#[test]
fn a_flipped_bit_of_a_lens_is_noticed_unless_nobody_looks() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 2, Positions::All, FloatFormat::F32, None);
    succeed(dir.path(), "lens --taps block-1 --count 40 --prefixes 1 --word-prefixes 0 --out lenses");
    let path = dir.path().join("lenses/lens-block-1.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let options = ["--tap", "block-1", "--lens", "lenses"];
    let parts = ["lens-block-1.safetensors", "tensor ", "does not agree with its checksum"];
    refused(dir.path(), &arguments(&folder, Some(&out), &options), 1, &parts);
    let text = ["invert", "--text", "a", "--tap", "block-1"];
    refused(dir.path(), &[&text[..], &["--lens", "lenses"]].concat(), 1, &parts);
    succeed(dir.path(), "invert --text a --tap block-1 --lens lenses --skip-checksums");
    refused(dir.path(), &[&text[..], &["--skip-checksums"]].concat(), 2, &["--lens", "--states"]);
}

#[test]
fn a_file_that_holds_no_prompt_yet_is_begun_anew_with_other_options() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 2, Positions::All, FloatFormat::F32, None);
    // Whether the budget allows a certificate is known only when the inverter is made.
    let options = ["--tap", "block-1", "--certify", "--max-candidates", "9"];
    refused(dir.path(), &arguments(&folder, Some(&out), &options), 1, &["9 candidates"]);
    assert_eq!(lines(&out).len(), 1, "the file is begun");
    invert(&folder, &out, &["--tap", "block-1"]);
    assert_eq!(lines(&out).len(), 3);
}

#[test]
fn a_prompt_that_is_not_recovered_gives_another_status() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("store"), dir.path().join("out.jsonl"));
    extract(&folder, 2, Positions::All, FloatFormat::F32, None);
    let options = ["--policy", "random", "--max-candidates", "1", "--json"];
    let ran = run_with(dir.path(), &arguments(&folder, Some(&out), &options));
    assert_eq!(ran.status, 3, "{}", ran.err);
    let tally: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(tally["not_recovered"], serde_json::json!([0, 1]));
    assert!(ran.err.contains("wrote 2 prompts to"), "{}", ran.err);
}
