//! A limit on the time that an exchange with a server may take, however its bytes arrive.
//!
//! The HTTP library's own limits count from one byte to the next, or for a body as a whole. A server that sends a byte now and then,
//! but no content, keeps within the former for as long as the latter allows. Here a thread looks at the clock, and closes the
//! connections when the time is up.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use ureq::Agent;

/// Closes an agent's connections at a time that can be put off, unless it is dropped before.
pub(super) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// The time at which the connections are closed. `None` if the exchange is over.
    until: Mutex<Option<Instant>>,
    changed: Condvar,
    /// Whether the connections were closed.
    closed: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to watch. `closed` becomes true before the connections are closed, and the agent cannot be used from then on.
    ///
    /// Fails if the system allows no thread.
    pub(super) fn begin(agent: Agent, until: Instant, closed: Arc<AtomicBool>) -> io::Result<Self> {
        let shared = Arc::new(Shared { until: Mutex::new(Some(until)), changed: Condvar::new(), closed });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().spawn(move || {
            if theirs.time_is_up() {
                theirs.closed.store(true, Ordering::SeqCst);
                agent.shutdown();
            }
        })?;
        Ok(Watch { shared, thread: Some(thread) })
    }

    /// Lets the transfer go on until this time.
    pub(super) fn allow_until(&self, until: Instant) {
        *self.shared.until() = Some(until);
        self.shared.changed.notify_one();
    }

    /// Whether the time was up.
    pub(super) fn is_over(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the exchange, or of its time.
    fn time_is_up(&self) -> bool {
        let mut until = self.until();
        loop {
            let Some(time) = *until else { return false };
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            until = self.changed.wait_timeout(until, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.shared.until() = None;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has nothing that could panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn watch(closed: &Arc<AtomicBool>) -> Watch {
        Watch::begin(Agent::new_with_defaults(), Instant::now() + LONG, Arc::clone(closed)).unwrap()
    }

    #[test]
    fn the_time_can_be_put_off_and_brought_forward() {
        let mut watch = watch(&Arc::default());
        watch.allow_until(Instant::now() + 2 * LONG);
        assert!(!watch.is_over());
        watch.allow_until(Instant::now());
        watch.thread.take().unwrap().join().unwrap();
        assert!(watch.is_over());
    }

    #[test]
    fn an_exchange_that_ends_before_is_not_waited_for() {
        let closed = Arc::default();
        drop(watch(&closed));
        assert!(!closed.load(Ordering::SeqCst), "the time was up first");
    }
}
