//! The slowest download that is waited for: within an answer, and over the attempts to get the whole file.

use std::time::{Duration, Instant};

use super::http_error::{HttpError, TimeoutPhase};

/// Slowest acceptable connection, in bytes a second: slower than any modem, so only a stuck server is below it.
const SLOWEST: u64 = 1 << 10;
/// Attempts in a row that may bring hardly anything. `huggingface_hub` makes as many.
const ATTEMPTS: usize = 5;

/// The bytes that the slowest acceptable connection brings in a time.
fn expected(within: Duration) -> u64 {
    (within.as_secs_f64() * SLOWEST as f64) as u64
}

/// Watches that bytes come faster than a stuck server sends them.
pub(super) struct Pace {
    window: Duration,
    since: Instant,
    received: u64,
}

impl Pace {
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        Pace { window, since: now, received: 0 }
    }

    /// The time at which a window is over without its bytes, if no more come.
    pub(super) fn deadline(&self) -> Instant {
        let windows = if self.received < expected(self.window) { 1 } else { 2 };
        self.since + windows * self.window
    }

    /// The error of a deadline that has passed.
    pub(super) fn missed(&self, now: Instant) -> HttpError {
        let (received, within) = (self.received, now - self.since);
        let expected = expected(within);
        match (1..expected).contains(&received) {
            true => HttpError::TooSlow { received, expected, within },
            false => HttpError::Timeout(TimeoutPhase::Receiving),
        }
    }

    /// Counts bytes that were received by now.
    pub(super) fn note(&mut self, read: u64, now: Instant) -> Result<(), HttpError> {
        self.received += read;
        let within = now - self.since;
        if within < self.window {
            return Ok(());
        }
        let expected = expected(within);
        if self.received < expected {
            return Err(HttpError::TooSlow { received: self.received, expected, within });
        }
        *self = Pace::new(self.window, now);
        Ok(())
    }
}

/// Counts the attempts of a download that bring hardly anything.
///
/// A connection may break off as often as it likes if each attempt brings as much as the slowest one does in a window, and all
/// together keep to its pace. So a file takes at most its size at that pace, and a few windows more.
pub(super) struct Attempts {
    window: Duration,
    begin: Instant,
    received: u64,
    in_vain: usize,
}

impl Attempts {
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        Attempts { window, begin: now, received: 0, in_vain: 0 }
    }

    /// Whether another attempt is due after one that brought so many bytes, and ended now.
    pub(super) fn is_next_due(&mut self, brought: u64, now: Instant) -> bool {
        self.received = self.received.saturating_add(brought);
        let keeps_pace = self.received >= expected(now - self.begin);
        self.in_vain = if keeps_pace && brought >= expected(self.window) { 0 } else { self.in_vain + 1 };
        self.in_vain < ATTEMPTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_window_must_have_its_bytes_however_many_came_before() {
        let begin = Instant::now();
        let mut pace = Pace::new(10 * SECOND, begin);
        // A flood, then just enough.
        pace.note(1 << 30, begin + 10 * SECOND).unwrap();
        pace.note(10 * SLOWEST, begin + 20 * SECOND).unwrap();
        pace.note(10 * SLOWEST - 1, begin + 29 * SECOND).unwrap();
        let error = pace.note(0, begin + 30 * SECOND).unwrap_err();
        let HttpError::TooSlow { received, expected, within } = error else { panic!("{error:?}") };
        assert_eq!((received, expected, within), (10 * SLOWEST - 1, 10 * SLOWEST, 10 * SECOND));
    }

    #[test]
    fn a_deadline_is_the_end_of_the_first_window_without_its_bytes() {
        let begin = Instant::now();
        let mut pace = Pace::new(10 * SECOND, begin);
        pace.note(10 * SLOWEST - 1, begin + SECOND).unwrap();
        assert_eq!(pace.deadline(), begin + 10 * SECOND);
        pace.note(1, begin + 2 * SECOND).unwrap();
        assert_eq!(pace.deadline(), begin + 20 * SECOND);
        pace.note(0, begin + 11 * SECOND).unwrap_err();
        let mut pace = Pace::new(10 * SECOND, begin);
        pace.note(1 << 30, begin + 11 * SECOND).unwrap();
        assert_eq!(pace.deadline(), begin + 21 * SECOND);
    }

    #[test]
    fn nothing_is_too_slow_within_a_window() {
        let begin = Instant::now();
        let mut pace = Pace::new(10 * SECOND, begin);
        (1..10).for_each(|second| pace.note(0, begin + second * SECOND).unwrap());
    }

    #[test]
    fn attempts_that_bring_enough_are_not_counted() {
        let begin = Instant::now();
        let mut attempts = Attempts::new(10 * SECOND, begin);
        assert!((1..1000).all(|n| attempts.is_next_due(10 * SLOWEST, begin + n * 10 * SECOND)));
        // Four that do not may come between two that do.
        for round in 0..10 {
            let now = begin + (10_000 + round) * SECOND;
            assert!((0..4).all(|_| attempts.is_next_due(10 * SLOWEST - 1, now)));
            assert!(attempts.is_next_due(1 << 20, now));
        }
    }

    #[test]
    fn attempts_that_bring_hardly_anything_are_five() {
        for brought in [0, 1, 10 * SLOWEST - 1] {
            let begin = Instant::now();
            let mut attempts = Attempts::new(10 * SECOND, begin);
            let due: Vec<_> = (0..5).map(|_| attempts.is_next_due(brought, begin)).collect();
            assert_eq!(due, [true, true, true, true, false], "{brought}");
        }
    }

    #[test]
    fn attempts_that_are_slow_together_are_five() {
        let begin = Instant::now();
        let mut attempts = Attempts::new(10 * SECOND, begin);
        // Each brings a window's bytes, in a second more than a window.
        let due: Vec<_> =
            (1..=5).map(|n| attempts.is_next_due(10 * SLOWEST, begin + n * 11 * SECOND)).collect();
        assert_eq!(due, [true, true, true, true, false]);
        // What came before counts.
        let mut attempts = Attempts::new(10 * SECOND, begin);
        assert!(attempts.is_next_due(1 << 20, begin + SECOND));
        assert!((1..90).all(|n| attempts.is_next_due(10 * SLOWEST, begin + n * 11 * SECOND)));
    }
}
