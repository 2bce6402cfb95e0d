//! Refusals: stores that cannot be inverted, files of results of another job, exchanged and damaged states.

use std::{fs, path::Path};

use inject_sipit::{
    models::FloatFormat,
    states::store::{Block, Opened, Positions, Store, StoreWriter},
};

use super::{
    super::support::{refused, succeed, without_checksums},
    TAPS, arguments, extract, invert, stored,
};

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
    let (dir, folder, out) = stored(3);
    invert(&folder, &out, &["--tap", "block-1"]);
    let whole = fs::read_to_string(&out).unwrap();
    let first_two = whole.lines().take(2).collect::<Vec<_>>().join("\n") + "\n";
    let swapped = first_two + whole.lines().nth(3).unwrap() + "\n";
    let damaged = whole.replace("\"verified\":true", "\"verfied\":true");
    let unknown = without_checksums(&damaged);
    let cases: [(&str, &str, &[&str]); 8] = [
        (&whole, "", &["tap = \"block-1\", now \"block-3\""]),
        (&whole, "--tap block-1 --policy prior", &["begun with --policy auto, now --policy prior"]),
        (
            &whole,
            "--tap block-1 --max-candidates 9",
            &["begun with no --max-candidates, now --max-candidates 9"],
        ),
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
    let (dir, folder, out) = stored(2);
    invert(&folder, &out, &["--tap", "block-1"]);
    let whole = fs::read_to_string(&out).unwrap();
    // All lines are those of an older version.
    let surplus = whole.lines().last().unwrap().replace("\"prompt\":1", "\"prompt\":2");
    fs::write(&out, without_checksums(&format!("{whole}{surplus}\n"))).unwrap();
    let arguments = arguments(&folder, Some(&out), &["--tap", "block-1"]);
    refused(dir.path(), &arguments, 1, &["holds 3 prompts", "the 2 of the store"]);
    let repeated = format!("{whole}{}\n", whole.lines().last().unwrap());
    fs::write(&out, repeated).unwrap();
    refused(dir.path(), &arguments, 1, &["line 4: holds prompt 1, expected prompt 2"]);
}

#[test]
fn no_changed_digit_of_a_result_is_counted() {
    let (dir, folder, out) = stored(2);
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
    let (dir, folder, out) = stored(3);
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
    let (dir, folder, out) = stored(2);
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
    let (dir, folder, out) = stored(2);
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
