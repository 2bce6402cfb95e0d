//! A study whose process is killed, again and again, ends with the result of one run.

use std::{
    env, fs,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use inject_sipit::{
    collisions::Metric,
    models::{Precision, Tap},
};
use inject_studies::{ExhaustiveOptions, ExhaustiveStudy, Run, Scope, Share, exhaustive};

use super::{model, spec};

/// Names the folder to the child. Without it the child's test returns at once.
const FOLDER: &str = "INJECT_COLLISIONS_TEST_STUDY_CHILD";
const JOURNAL: &str = "journal.jsonl";

fn study(folder: &Path, pause: Duration) -> ExhaustiveStudy {
    let model = model("llama", Precision::F32);
    let prefixes: Vec<Vec<u32>> = (3..9).map(|token| vec![token, 2 * token]).collect();
    let options = ExhaustiveOptions {
        tap: Tap::Block(1),
        metric: Metric::L2,
        closest: 3,
        sampled_pairs: 100,
        scope: Scope::WithinAndAcross,
        memory_budget: 1 << 18,
    };
    // Told before and after every unit and during it: so there is time to be killed in everywhere.
    let mut progress = |_| thread::sleep(pause);
    let run = Run {
        journal: Some(folder.join(JOURNAL)),
        others: vec![],
        share: Share::WHOLE,
        progress: &mut progress,
    };
    exhaustive(
        &model.decoder,
        &spec(&model, &[Tap::Block(1)]),
        &prefixes,
        &folder.join("states"),
        &options,
        run,
    )
    .unwrap()
}

#[test]
fn child_studies_until_it_is_killed() {
    if let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) {
        // So long that the study outlasts three of the longest lives it is given, however fast the machine is.
        study(&folder, Duration::from_millis(2));
    }
}

#[test]
fn being_killed_at_random_moments_loses_nothing_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let child = || {
        let name =
            format!("{}::child_studies_until_it_is_killed", module_path!().split_once("::").unwrap().1);
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", &name])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let (mut killed, mut known) = (0, Vec::new());
    for _ in 0..200 {
        let mut process = child().spawn().unwrap();
        thread::sleep(Duration::from_micros(10_000 + RandomState::new().hash_one(0) % 120_000));
        process.kill().unwrap();
        if process.wait().unwrap().success() {
            break;
        }
        killed += 1;
        // Whole lines stay as they are, so no unit is done again.
        let journal = fs::read(folder.path().join(JOURNAL)).unwrap_or_default();
        let whole = journal.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        assert!(journal.starts_with(&known), "a line was lost or written anew");
        known = journal[..whole].to_vec();
    }
    assert!(killed >= 3, "killed {killed} times only");
    let found = study(folder.path(), Duration::ZERO);
    let lines = fs::read_to_string(folder.path().join(JOURNAL)).unwrap().lines().count();
    assert_eq!(lines, 1 + 6 + 15, "one line about the study, one for each prompt and each pair");
    let undisturbed = tempfile::tempdir().unwrap();
    assert_eq!(found.extensions, study(undisturbed.path(), Duration::ZERO).extensions);
}
