//! Runs of the program.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::channel,
    thread::{self, sleep},
    time::{Duration, Instant},
};

/// The longest time that a test waits for the program, many times what it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// The status and output of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    /// The command, to name it where a test fails.
    command: String,
}

impl Ran {
    fn of(command: &Command, output: Output) -> Self {
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Ran { status: output.status.code().unwrap_or(-1), out, err, command: format!("{command:?}") }
    }

    /// Expects a status.
    #[track_caller]
    pub(crate) fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}: {}{}", self.command, self.out, self.err);
        self
    }

    /// Expects parts of the text for the user.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.err.contains(part), "{}: `{part}` is not in: {}", self.command, self.err);
        }
    }
}

/// The program, to be run in a folder.
pub(crate) fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inject"));
    command.current_dir(folder).stdin(Stdio::null()).env_remove("RUST_BACKTRACE").env("COLUMNS", "100");
    command
}

/// Runs the program in a folder with arguments separated by spaces.
pub(crate) fn run(folder: &Path, arguments: &str) -> Ran {
    run_with(folder, &arguments.split_whitespace().collect::<Vec<_>>())
}

/// Runs the program in a folder.
pub(crate) fn run_with(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = program(folder);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    Ran::of(&command, ended(child))
}

/// Runs a command whose output goes to other places too.
pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran::of(command, output)
}

/// Waits for the end of a program. One that hangs is killed, and its status shows that.
pub(crate) fn ended(child: Child) -> Output {
    let id = child.id().to_string();
    let (end, has_ended) = channel::<()>();
    let watch = thread::spawn(move || {
        if has_ended.recv_timeout(PATIENCE).is_err() {
            Command::new("kill").args(["-s", "KILL", &id]).status().unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    // The watch may have ended before.
    let _ = end.send(());
    watch.join().unwrap();
    output
}

/// Waits until something holds of a running program. Fails the test if the program ends before, or hangs.
#[track_caller]
pub(crate) fn wait_until(child: &mut Child, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(holds(), "the program ended too early: {status}");
        }
        assert!(begin.elapsed() < PATIENCE, "the program hangs");
        sleep(Duration::from_millis(5));
    }
}

/// Runs the program and expects success.
#[track_caller]
pub(crate) fn succeed(folder: &Path, arguments: &str) -> Ran {
    run(folder, arguments).with_status(0)
}

/// Runs the program and expects it to refuse: a status, and one line that contains some parts.
#[track_caller]
pub(crate) fn refused(folder: &Path, arguments: &[&str], status: i32, parts: &[&str]) {
    let ran = run_with(folder, arguments).with_status(status);
    ran.says(parts);
    if status == 1 {
        assert!(ran.err.trim_end().lines().last().unwrap().starts_with("error: "), "{}", ran.err);
    }
}

/// Lines as an older version wrote them.
pub(crate) fn without_checksums(lines: &str) -> String {
    let mut without: String = lines
        .lines()
        .map(|line| match line.split_once(",\"xxh3\":") {
            Some((line, _)) => format!("{line}}}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    if !lines.ends_with('\n') {
        without.pop();
    }
    without
}
