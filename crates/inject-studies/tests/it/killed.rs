//! A study whose process is killed repeatedly has the result of a single run.

use std::{
    env, fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use inject_sipit::models::{FloatFormat, Progress, Tap, silent};
use inject_studies::{
    Run, exhaustive,
    exhaustive::{ExhaustiveOptions, ExhaustiveStudy, Scope},
};

use super::{model, spec};

/// The variable that passes the folder to the child. Without it the child's test returns immediately.
const FOLDER: &str = "INJECT_TEST_STUDY_FOLDER";
/// The variable with the number of the progress report at which the child aborts.
const ABORT_AT: &str = "INJECT_TEST_STUDY_ABORT_AT";
const JOURNAL: &str = "journal.jsonl";

fn study(folder: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> ExhaustiveStudy {
    let model = model("llama", FloatFormat::F32);
    let prefixes: Vec<Vec<u32>> = (3..9).map(|token| vec![token, 2 * token]).collect();
    let mut options = ExhaustiveOptions::new(Tap::Block(1));
    options.closest = NonZeroUsize::new(3).unwrap();
    options.sampled_pairs = 100;
    options.scope = Scope::WithinAndAcross;
    options.memory_budget = 1 << 18;
    let run = Run::in_memory(progress).with_journal(folder.join(JOURNAL));
    let spec = spec(&model, &[Tap::Block(1)]);
    exhaustive(&model.decoder, &spec, &prefixes, &folder.join("states"), &options, run).unwrap()
}

#[test]
fn child_studies_until_it_aborts() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let last: usize = env::var(ABORT_AT).unwrap().parse().unwrap();
    let mut reports = 0;
    // Progress is reported before and after every unit and during it.
    study(&folder, &mut |_| {
        reports += 1;
        if reports == last {
            // Aborts without flushing, dropping or unlocking anything.
            std::process::abort();
        }
    });
}

#[test]
fn abrupt_ends_at_chosen_points_lose_nothing_and_compute_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("{}::child_studies_until_it_aborts", module_path!().split_once("::").unwrap().1);
    let mut known = Vec::new();
    let mut aborted = 0;
    // Each child resumes the work of the earlier ones, and aborts a little later in its own work.
    for at in [1, 2, 3, 5, 8, 13, 21, 34, 55] {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", &name])
            .env(FOLDER, folder.path())
            .env(ABORT_AT, at.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        aborted += usize::from(!status.success());
        let journal = fs::read(folder.path().join(JOURNAL)).unwrap();
        assert!(journal.starts_with(&known), "a line was lost or written again");
        assert_eq!(journal.last(), Some(&b'\n'), "a progress report comes between two whole lines");
        known = journal;
    }
    assert!(aborted >= 6, "aborted only {aborted} times");
    let found = study(folder.path(), &mut silent);
    let lines = fs::read_to_string(folder.path().join(JOURNAL)).unwrap().lines().count();
    assert_eq!(lines, 1 + 6 + 15, "one line about the study, one for each prompt and each pair");
    let undisturbed = tempfile::tempdir().unwrap();
    assert_eq!(found, study(undisturbed.path(), &mut silent));
}
