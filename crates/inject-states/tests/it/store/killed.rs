//! A process that the system kills at chosen points ends with the same store.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use super::*;

/// The folder of the child's store. Without it the child's test returns at once.
const FOLDER: &str = "INJECT_STATES_TEST_STORE_CHILD";

/// The number of prompts on disk at which the child waits to be killed.
const STOP: &str = "INJECT_STATES_TEST_STORE_STOP";

/// The line by which the child says that it waits.
const WAITING: &str = "waiting to be killed";

const PROMPTS: usize = 40;

fn job() -> Job {
    let mut job = Job::new(Positions::All, FloatFormat::F32);
    // A block of checksums has 64 rows, so that some are complete at each point.
    job.spec.d_model = 4096;
    job.prompts = prompts(PROMPTS);
    job
}

/// Never returns: the parent neither writes nor closes the standard input.
fn wait() {
    // Past the capture of the test harness, which `println!` obeys.
    let mut output = io::stdout();
    writeln!(output, "{WAITING}").unwrap();
    output.flush().unwrap();
    let _ = io::stdin().read(&mut [0]);
    panic!("the parent did not kill this process");
}

#[test]
fn child_writes_until_it_is_to_be_killed() {
    let (Some(dir), Ok(stop)) = (env::var_os(FOLDER).map(PathBuf::from), env::var(STOP)) else {
        return;
    };
    let stop: usize = stop.parse().unwrap();
    let job = job();
    let mut writer = job.writer(&dir).unwrap();
    while writer.next_prompt() < stop {
        job.append(&mut writer, 1).unwrap();
    }
    wait();
}

#[test]
fn being_killed_at_chosen_points_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let name =
        format!("{}::child_writes_until_it_is_to_be_killed", module_path!().split_once("::").unwrap().1);
    for stop in [0, 1, 2, 19, 20, PROMPTS - 1, PROMPTS] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(FOLDER, &dir)
            .env(STOP, stop.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with(WAITING)), "the child ended before {stop} prompts");
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        let error = Store::open(&dir).unwrap_err();
        assert!(
            matches!(error, StoreError::Unfinished { prompts_done, prompts: PROMPTS, .. } if prompts_done == stop),
            "{stop}: {error}"
        );
    }
    job().complete(&dir, 7);
    assert_same(&files(&dir), &job().uninterrupted());
}
