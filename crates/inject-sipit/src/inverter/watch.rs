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
        Watch { start: Instant::now(), limit }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Sets the time spent up to now. Time spent on other prompts does not count.
    pub(super) fn set_elapsed(&mut self, elapsed: Duration) {
        let now = Instant::now();
        self.start = now.checked_sub(elapsed).unwrap_or(now);
    }

    pub(super) fn is_up(&self) -> bool {
        self.limit.is_some_and(|limit| self.elapsed() >= limit)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.limit.and_then(|limit| self.start.checked_add(limit))
    }
}
