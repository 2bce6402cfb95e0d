//! Reports of long computations.

/// The progress of a long computation.
///
/// Every long function of the workspace takes a `&mut dyn FnMut(Progress<'_>)` and calls it now and then, on the calling
/// thread. [`silent`] is the function for callers who do not want to know.
///
/// # Example
///
/// ```
/// use inject_models::{Progress, Unit};
///
/// let progress = Progress::new("extract", Unit::Prompts, 3, 10).with_part(0.5);
/// assert_eq!(progress.fraction(), 0.35);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The piece of work, such as `recover`, or the name of the file being fetched.
    pub task: &'a str,
    /// The unit that `done` and `total` count.
    pub unit: Unit,
    /// The number of finished units.
    pub done: u64,
    /// All units of this piece of work.
    pub total: u64,
    /// The finished share of the next unit, from 0 to 1.
    pub part: f64,
}

/// The unit in which a [`Progress`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Bytes of a file that is read, written or fetched.
    Bytes,
    /// Prompts of a batch, a file or a study.
    Prompts,
    /// Token positions, summed over prompts.
    Positions,
    /// Tokens of the vocabulary that were computed.
    Tokens,
    /// Pairs of states, each counted once.
    Pairs,
    /// Taps of the model that were processed.
    Taps,
    /// Steps of an optimiser during training.
    Steps,
    /// Units of a study, as its journal records them, or attempts.
    Units,
}

impl<'a> Progress<'a> {
    /// Creates a report of `done` finished units out of `total`.
    pub fn new(task: &'a str, unit: Unit, done: u64, total: u64) -> Self {
        Progress { task, unit, done, total, part: 0.0 }
    }

    /// Returns the same report with a finished share of the next unit.
    pub fn with_part(self, part: f64) -> Self {
        Progress { part, ..self }
    }

    /// Returns the finished share of the whole, from 0 to 1. An empty piece of work is finished.
    pub fn fraction(&self) -> f64 {
        if self.total == 0 { 1.0 } else { (self.done as f64 + self.part) / self.total as f64 }
    }
}

/// Ignores every report, for callers that need none.
pub fn silent(_: Progress<'_>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_do_is_done() {
        assert_eq!(Progress::new("extract", Unit::Prompts, 0, 0).fraction(), 1.0);
    }
}
