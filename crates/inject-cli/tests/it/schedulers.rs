//! The lines of docs/scale.md for schedulers, as they are written there: their shares merge to the store of one process.

use std::{env, fs, path::Path, process::Command};

use super::{shares::assert_same_store, support::succeed};

/// The part of the page about schedulers, for this model and folder, with 2 shares in place of 100.
fn page(dir: &Path, model: &Path) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scale.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, page) = page.split_once("## Schedulers").unwrap();
    let (page, _) = page.split_once("\n## ").unwrap();
    page.replace("MODEL", &model.display().to_string())
        .replace("--prompts ", "--prompt-ids ")
        .replace("\"--prompts\"", "\"--prompt-ids\"")
        .replace("block-15", "block-2")
        .replace("/100", "/2")
        .replace("i, 100) for i in range(1, 101)", "i, 2) for i in range(1, 3)")
        .replace("/shared/", &format!("{}/", dir.display()))
}

/// Returns the text between two marks.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap();
    rest.split_once(end).unwrap().0
}

/// A program that finds `inject`.
fn beside_the_program(name: &str) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_inject")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap_or_default());
    let mut command = Command::new(name);
    command.env("PATH", path);
    command
}

/// Runs a line in a shell that finds the program, and returns its status.
#[track_caller]
fn shell(dir: &Path, line: &str, (variable, value): (&str, usize)) -> Option<i32> {
    let mut command = beside_the_program("sh");
    command.args(["-c", line]).current_dir(dir).env(variable, value.to_string());
    command.output().unwrap().status.code()
}

/// Writes two blocks of prompts and the store of one process, `whole`. Returns the page for them and the command of the store.
fn prepare(dir: &Path) -> (String, String) {
    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/llama-bf16-shards");
    let ids: String = (0..1100).map(|i| format!("{},{},7\n", i % 90, 1 + i / 90)).collect();
    fs::write(dir.join("prompts.jsonl"), ids).unwrap();
    let extract = format!(
        "extract --model {} --hold stored --prompt-ids prompts.jsonl --taps block-2",
        model.display()
    );
    succeed(dir, &format!("{extract} --out whole"));
    (page(dir, &model), extract)
}

/// A module `ray` that runs each task where it is awaited, and knows the options of the page.
const RAY: &str = "\
def init():
    pass

def remote(num_cpus, max_retries, retry_exceptions):
    def task(function):
        function.remote = lambda *arguments: lambda: function(*arguments)
        return function
    return task

def get(tasks):
    return [task() for task in tasks]
";

#[test]
fn the_lines_for_ray_do_what_the_page_says() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("not run: the lines for Ray need python3");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (page, _) = prepare(dir);
    let worker = dir.join("worker");
    fs::create_dir(&worker).unwrap();
    fs::write(worker.join("ray.py"), RAY).unwrap();
    fs::write(worker.join("shares.py"), between(&page, "```python\n", "```")).unwrap();
    let ran = beside_the_program("python3").arg("shares.py").current_dir(&worker).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    succeed(dir, "extract --merge share-1 share-2 --out states");
    assert_same_store(dir, "states", "whole");
}

#[test]
fn the_lines_for_schedulers_do_what_the_page_says() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (page, extract) = prepare(dir);
    let merged_by = |merge: &str| {
        assert_eq!(shell(dir, merge, ("NONE", 0)), Some(0), "{merge}");
        assert_same_store(dir, "states", "whole");
        for made in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if made.is_dir() && !made.ends_with("whole") {
                fs::remove_dir_all(made).unwrap();
            }
        }
    };

    let xargs = between(&page, "```text\n", "```");
    let (shares, merge) = xargs.split_once('\n').unwrap();
    assert_eq!(shell(dir, shares, ("NONE", 0)), Some(0), "{shares}");
    merged_by(merge);

    let slurm = format!("#SBATCH{}", between(&page, "#SBATCH", "```"));
    for task in [2, 1] {
        assert_eq!(shell(dir, &slurm, ("SLURM_ARRAY_TASK_ID", task)), Some(0), "{slurm}");
    }
    merged_by(between(&page, "--wrap '", "'"));

    let mut pods = page.split("command: [sh, -c, '").skip(1).map(|rest| rest.split_once("']").unwrap().0);
    // YAML joins the lines of a text by spaces.
    let extraction = pods.next().unwrap().replace('\n', " ");
    for pod in [0, 1] {
        assert_eq!(shell(dir, &extraction, ("JOB_COMPLETION_INDEX", pod)), Some(0), "{extraction}");
    }
    merged_by("inject extract --merge share-* --out states");

    // Prompts that are not recovered are an outcome, and a store that is missing is an error.
    let inversion = pods.next().unwrap().replace('\n', " ");
    let inversion = inversion.replace(".jsonl", ".jsonl --policy random --max-candidates 1");
    // Of one prompt, the first share is empty.
    let run = || shell(dir, &inversion, ("JOB_COMPLETION_INDEX", 1));
    assert_eq!(run(), Some(1), "{inversion}");
    fs::write(dir.join("prompts.jsonl"), "5,6,7\n").unwrap();
    succeed(dir, &format!("{extract} --positions all --out states"));
    assert_eq!(run(), Some(0), "{inversion}");
    assert_eq!(fs::read_to_string(dir.join("share-2.jsonl")).unwrap().lines().count(), 2);
}
