//! Child processes on loopback, at ports that the system chooses.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// More than any step takes, on a machine that does much else.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// The timeout of executors: a busy executor says a word every 5 seconds.
pub(crate) const EXECUTOR_TIMEOUT: u64 = 12;

/// A scheduler or an executor. It is killed when this is dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: String,
    lines: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Service {
    pub(crate) fn scheduler() -> Service {
        let timeout = EXECUTOR_TIMEOUT.to_string();
        Service::start(&["scheduler", "--listen", "127.0.0.1:0", "--executor-timeout", &timeout])
    }

    pub(crate) fn executor(scheduler: &Service) -> Service {
        Service::start(&["executor", "--scheduler", &scheduler.address])
    }

    fn start(arguments: &[&str]) -> Service {
        let mut child = program(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = Arc::default();
        let (read, out) = (Arc::clone(&lines), child.stdout.take().unwrap());
        thread::spawn(move || collect(out, &read));
        let mut service = Service { child, address: String::new(), lines };
        let first = service.wait_for_lines(1).remove(0);
        service.address = first.strip_prefix("listening on ").unwrap().to_owned();
        service
    }

    /// The pieces whose measurement began here.
    pub(crate) fn pieces(&self) -> Vec<String> {
        self.lines.0.lock().unwrap()[1..].to_vec()
    }

    /// Waits until the measurement of so many pieces began.
    pub(crate) fn wait_for_pieces(&self, count: usize) {
        self.wait_for_lines(1 + count);
    }

    fn wait_for_lines(&self, count: usize) -> Vec<String> {
        let (lines, more) = &*self.lines;
        let lines = lines.lock().unwrap();
        let (lines, waited) = more.wait_timeout_while(lines, LIMIT, |lines| lines.len() < count).unwrap();
        assert!(!waited.timed_out(), "{} lines, expected {count}: {lines:?}", lines.len());
        lines.clone()
    }

    /// Kills the process as a machine that loses its power.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(out: ChildStdout, lines: &(Mutex<Vec<String>>, Condvar)) {
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        lines.0.lock().unwrap().push(line);
        lines.1.notify_all();
    }
}

/// A client that runs beside the test. It is killed when this is dropped.
pub(crate) struct Client(Child);

impl Client {
    pub(crate) fn start(arguments: &[&str]) -> Client {
        Client(program(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Waits for the end, but not for ever.
    pub(crate) fn output(mut self) -> Output {
        // The pipes hold more than a client writes.
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < LIMIT, "the client hangs");
            thread::sleep(Duration::from_millis(20));
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status, stdout, stderr }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inject-engine"));
    command.args(arguments).env("RAYON_NUM_THREADS", "1").stdin(Stdio::null());
    command
}
