//! A process that is killed by the system, again and again, still ends with the same store.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::*;

/// Names the folder to the child. Without it the child's test returns at once.
const FOLDER: &str = "INJECT_STATES_TEST_STORE_CHILD";

/// Enough to reach the end and be killed there too; on a slow disk the last run, which nobody kills, finishes.
const KILLS: usize = 60;

fn job() -> Job {
    let mut job = Job::new(Positions::All, FloatFormat::F32);
    job.spec.d_model = 64;
    job.prompts = prompts(400);
    job
}

#[test]
fn child_writes_until_it_is_killed() {
    let Some(dir) = env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let job = job();
    let mut writer = job.writer(&dir).unwrap();
    while writer.next_prompt() < job.prompts.len() {
        job.append(&mut writer, 1).unwrap();
        // So that even the fastest disk leaves time to be killed in.
        thread::sleep(Duration::from_millis(1));
    }
    writer.finish(Some(noise())).unwrap();
}

#[test]
fn being_killed_at_random_moments_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let child = || {
        let name = format!("{}::child_writes_until_it_is_killed", module_path!().split_once("::").unwrap().1);
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", &name]).env(FOLDER, &dir).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let (mut killed, mut done) = (0, 0);
    for _ in 0..KILLS {
        let mut process = child().spawn().unwrap();
        thread::sleep(Duration::from_micros(RandomState::new().hash_one(0) % 60_000));
        process.kill().unwrap();
        if process.wait().unwrap().success() {
            break;
        }
        killed += 1;
        match Store::open(&dir) {
            Err(StoreError::Unfinished { prompts_done, prompts: 400, .. }) => {
                assert!(prompts_done >= done, "{prompts_done} prompts after {done}");
                done = prompts_done;
            }
            // Before the first journal, and after the manifest.
            Err(StoreError::NotAStore { .. }) => assert_eq!(done, 0),
            Ok(_) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(killed >= 3, "killed {killed} times only");
    assert!(child().status().unwrap().success() || Store::open(&dir).is_ok());
    assert_same(&files(&dir), &job().uninterrupted());
}
