//! The order in which sources of candidates take turns.

mod choice;
mod searcher;

use std::{collections::HashSet, fmt, sync::Arc};

use self::searcher::AnySource;
pub(crate) use self::searcher::{Open, PromptSearch};
pub use self::{choice::PolicyChoice, searcher::Searcher};
use crate::sources::Source;

/// The order in which sources of candidates are asked at a position. The scan tests what none of them proposes.
///
/// A policy is a list of turns. A turn asks one source, for a limited number of candidates if it has a limit. Several turns may
/// ask the same source, which has one session for all of them.
///
/// # Example
///
/// ```
/// use inject_sipit::{Policy, sources::{Prior, RandomOrder}};
///
/// let policy = Policy::new().then_up_to(64, Prior::new()).then(RandomOrder::seeded(7));
/// assert_eq!(policy.to_string(), "prior, random, scan");
/// assert_eq!(Policy::new().to_string(), "scan");
/// ```
#[derive(Clone, Default)]
pub struct Policy {
    sources: Vec<Arc<dyn AnySource>>,
    turns: Vec<PolicyTurn>,
}

/// A turn of a source of a policy.
#[derive(Clone, Copy, Debug)]
struct PolicyTurn {
    source: SourceId,
    /// The upper bound on its candidates at a position, if it has one.
    limit: Option<usize>,
}

/// A source of one policy, as [`Policy::add`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceId(usize);

impl Policy {
    /// Creates the policy without sources: the plain scan of the vocabulary.
    pub fn new() -> Self {
        Policy::default()
    }

    /// Adds a source with one turn and no limit, after the turns so far.
    pub fn then(self, source: impl Source + 'static) -> Self {
        self.with(source, None)
    }

    /// Adds a source with one turn of at most `limit` candidates at a position, after the turns so far.
    pub fn then_up_to(self, limit: usize, source: impl Source + 'static) -> Self {
        self.with(source, Some(limit))
    }

    fn with(mut self, source: impl Source + 'static, limit: Option<usize>) -> Self {
        let source = self.add(source);
        self.turns.push(PolicyTurn { source, limit });
        self
    }

    /// Adds a source without a turn.
    pub fn add(&mut self, source: impl Source + 'static) -> SourceId {
        self.sources.push(Arc::new(source));
        SourceId(self.sources.len() - 1)
    }

    /// Adds a turn of at most `limit` candidates at a position, after the turns so far.
    ///
    /// # Panics
    ///
    /// Panics if the source belongs to another policy with more sources.
    pub fn turn(&mut self, source: SourceId, limit: usize) {
        assert!(source.0 < self.sources.len(), "{source:?} of a policy with {} sources", self.sources.len());
        self.turns.push(PolicyTurn { source, limit: Some(limit) });
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A source with several turns, and several sources of one name, are named once.
        let mut once = HashSet::new();
        let names = self.turns.iter().map(|turn| self.sources[turn.source.0].name());
        names.filter(|&name| once.insert(name)).try_for_each(|name| write!(f, "{name}, "))?;
        f.write_str("scan")
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({self})")
    }
}
