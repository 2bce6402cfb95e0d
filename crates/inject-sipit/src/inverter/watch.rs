//! The time of one prompt.

use std::time::{Duration, Instant};

/// The time spent on one prompt, and its bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    start: Instant,
    limit: Option<Duration>,
}

impl Watch {
    pub(super) fn start(limit: Option<Duration>) -> Self {
        Watch { start: now(), limit }
    }

    pub(super) fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.start)
    }

    /// Sets the time spent up to now. Time spent on other prompts does not count.
    pub(super) fn set_elapsed(&mut self, elapsed: Duration) {
        let now = now();
        self.start = now.checked_sub(elapsed).unwrap_or(now);
    }

    pub(super) fn is_up(&self) -> bool {
        self.limit.is_some_and(|limit| self.elapsed() >= limit)
    }

    /// The time that is left, if it is bounded.
    pub(super) fn left(&self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.elapsed()))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.limit.and_then(|limit| self.start.checked_add(limit))
    }
}

/// The time now. Tests move it on.
pub(crate) fn now() -> Instant {
    #[cfg(test)]
    return Instant::now() + MOVED_ON.get();
    #[cfg(not(test))]
    Instant::now()
}

#[cfg(test)]
std::thread_local! {
    /// The time by which a test moved the clock of its thread on.
    static MOVED_ON: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
}

/// Moves the clock of this thread on.
#[cfg(test)]
pub(crate) fn move_on(by: Duration) {
    MOVED_ON.set(MOVED_ON.get() + by);
}
