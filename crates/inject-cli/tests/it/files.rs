//! `inject invert` on a folder of files: what a file of results was begun with, and how many prompts it may hold.

use std::{
    fs,
    path::{Path, PathBuf},
};

use inject_sipit::{TargetStates, models::Tap, states::foreign::write_npy};
use serde_json::Value;

use super::{
    bundled_model,
    support::{refused, run_with, succeed, without_checksums},
};

const PROMPTS: [[u32; 4]; 3] = [[31, 41, 59, 26], [27, 18, 28, 18], [5, 6, 7, 8]];

/// A folder with a file of states for each of [`PROMPTS`], and the file of results beside it.
struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = Folder { dir: tempfile::tempdir().unwrap() };
        let model = bundled_model::load(&inject_testing::any_device());
        fs::create_dir(folder.states()).unwrap();
        for (name, prompt) in ["a.npy", "b.npy", "c.npy"].into_iter().zip(PROMPTS) {
            let states = TargetStates::of_prompt(&model.decoder, Tap::Block(1), &prompt).unwrap();
            let states = states.states().mapv(|value| value as f32);
            write_npy(folder.states().join(name), states.view()).unwrap();
        }
        folder
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn states(&self) -> PathBuf {
        self.path().join("states")
    }

    fn results(&self) -> String {
        fs::read_to_string(self.path().join("out.jsonl")).unwrap()
    }

    fn arguments<'a>(&self, options: &[&'a str]) -> Vec<&'a str> {
        [&["invert", "--states", "states", "--out", "out.jsonl", "--tap", "block-1"][..], options].concat()
    }

    #[track_caller]
    fn invert(&self, options: &[&str]) {
        run_with(self.path(), &self.arguments(options)).with_status(0);
    }

    /// Expects that the file of results is refused, and left as it is.
    #[track_caller]
    fn refuses(&self, options: &[&str], parts: &[&str]) {
        let before = self.results();
        refused(self.path(), &self.arguments(options), 1, parts);
        assert_eq!(self.results(), before);
    }
}

#[test]
fn exchanged_files_are_noticed_and_named() {
    let folder = Folder::new();
    folder.invert(&[]);
    let lines = folder.results();

    let file = folder.states().join("b.npy");
    let whole = fs::read(&file).unwrap();
    let mut other = whole.clone();
    // The lowest bit of the last number.
    let last = other.len() - 4;
    other[last] ^= 1;
    fs::write(&file, &other).unwrap();
    folder.refuses(&[], &["begun with job.files.b.npy = "]);

    fs::rename(&file, folder.path().join("b.npy")).unwrap();
    folder.refuses(&[], &["begun with job.files.b.npy = ", "now nothing"]);

    // Moved to another place, the files are the same.
    fs::write(&file, whole).unwrap();
    fs::rename(folder.states(), folder.path().join("moved")).unwrap();
    let ran =
        run_with(folder.path(), &["invert", "--states", "moved", "--out", "out.jsonl", "--tap", "block-1"]);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert_eq!(folder.results(), lines);
}

#[test]
fn an_exchanged_lens_and_another_reading_are_noticed() {
    let folder = Folder::new();
    for (count, out) in [("40", "lenses"), ("44", "others")] {
        let fit = format!("lens --taps block-1 --count {count} --prefixes 1 --word-prefixes 0 --out {out}");
        succeed(folder.path(), &fit);
    }
    folder.invert(&["--lens", "lenses"]);
    folder.refuses(&["--lens", "others"], &["begun with job.lens = "]);
    folder.refuses(&[], &["begun with job.lens = "]);
    folder.refuses(&["--lens", "lenses", "--axes", "token"], &["job.axes = nothing, now \"token\""]);
    folder.refuses(&["--lens", "lenses", "--prefix-ids", "5"], &["job.prefix = nothing, now [5]"]);
    folder.invert(&["--lens", "lenses"]);
}

#[test]
fn files_in_folders_within_a_folder_follow_each_other_by_their_numbers() {
    let folder = Folder::new();
    for (from, to) in [("a.npy", "rows/data_10"), ("b.npy", "rows/data_9")] {
        fs::create_dir_all(folder.states().join(to)).unwrap();
        fs::rename(folder.states().join(from), folder.states().join(to).join("states.npy")).unwrap();
    }
    folder.invert(&[]);
    let results = folder.results();
    let lines = results.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<Value> =
        lines.map(|line| line["recovered"]["token_ids"].clone()).filter(Value::is_array).collect();
    assert_eq!(found, [PROMPTS[2], PROMPTS[1], PROMPTS[0]].map(|prompt| Value::from(&prompt[..])));
    fs::remove_file(folder.states().join("rows/data_9/states.npy")).unwrap();
    folder.refuses(&[], &["begun with job.files.rows/data_9/states.npy = "]);

    // A folder of one file is that file, and needs no --out.
    let alone = ["invert", "--states", "states/rows", "--tap", "block-1", "--json"];
    let ran = run_with(folder.path(), &alone);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["recovered"]["token_ids"], Value::from(&PROMPTS[0][..]));
}

#[test]
fn more_prompts_than_the_files_have_are_refused() {
    let folder = Folder::new();
    folder.invert(&[]);
    let whole = folder.results();
    let last = whole.lines().last().unwrap();
    let write = |text: String| fs::write(folder.path().join("out.jsonl"), text).unwrap();
    // All lines are those of an older version.
    let surplus = format!("{whole}{}\n", last.replace("\"prompt\":2", "\"prompt\":3"));
    write(without_checksums(&surplus));
    folder.refuses(&[], &["holds 4 prompts", "the 3 of the files"]);
    write(format!("{whole}{last}\n"));
    folder.refuses(&[], &["line 5: holds prompt 2, expected prompt 3"]);
}
