//! A piece of work on outside data that a library cannot bound.

use std::{
    fs, io,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// The longest time. A template takes milliseconds; the rest is for a busy machine.
const LONGEST: Duration = Duration::from_secs(20);

/// The most memory that the process may take in addition, in bytes. It is compared under Linux only.
const MOST: usize = 1 << 29;

/// The bytes of the stack. Memory is taken as far as it is used.
const STACK: usize = 1 << 28;

/// The time between two looks at the memory.
const PAUSE: Duration = Duration::from_millis(10);

/// The reason why a piece of work was given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    #[error("takes more than {} s", LONGEST.as_secs())]
    Late,
    #[error("takes more than {} bytes of memory", MOST)]
    Large,
    #[error("the library panicked")]
    Panicked,
    #[error("cannot start a thread")]
    NoThread(#[from] io::Error),
}

/// Returns the outcome of a piece of work, which has a thread of its own.
///
/// Fails if it takes too long, or too much memory. The thread then continues until the program ends, so the caller should end the program.
pub(super) fn watched<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Stopped> {
    let (send, receive) = channel();
    let (begin, before) = (Instant::now(), resident());
    let is_large = || resident().zip(before).is_some_and(|(now, before)| now > before.saturating_add(MOST));
    thread::Builder::new().stack_size(STACK).spawn(move || {
        // Nobody listens to work that was given up.
        let _ = send.send(work());
    })?;
    loop {
        match receive.recv_timeout(PAUSE) {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Disconnected) => return Err(Stopped::Panicked),
            Err(RecvTimeoutError::Timeout) if begin.elapsed() > LONGEST => return Err(Stopped::Late),
            Err(RecvTimeoutError::Timeout) if is_large() => return Err(Stopped::Large),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The memory of the process, in bytes, where the system reports it.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_ends_is_returned_and_a_panic_is_an_error() {
        assert_eq!(watched(|| 3).unwrap(), 3);
        let panicked: Result<(), Stopped> = watched(|| panic!("on purpose"));
        assert!(matches!(panicked, Err(Stopped::Panicked)));
    }
}
