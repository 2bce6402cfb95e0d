//! Sources of proposals, one after the other.

use std::{collections::HashSet, time::Instant};

use crate::{Cost, Draft, InvertError, Open, Place, Proposer};

/// Which sources are asked for candidates, in which order. What none of them proposes is scanned.
///
/// # Example
///
/// ```
/// use inject_sipit::{Policy, Prior, RandomOrder};
///
/// let policy = Policy::new().then(Prior::up_to(64)).then(RandomOrder::seeded(7));
/// assert_eq!(policy.to_string(), "prior, random, scan");
/// assert_eq!(Policy::new().to_string(), "scan");
/// ```
#[derive(Default)]
pub struct Policy {
    sources: Vec<Box<dyn Proposer>>,
}

impl Policy {
    /// No source: the plain scan of the vocabulary.
    pub fn new() -> Self {
        Policy::default()
    }

    /// The same, and another source for when the ones before it have no more.
    pub fn then(mut self, source: impl Proposer + 'static) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// A draft from the first source that has one.
    pub(crate) fn draft(&mut self, open: &Open<'_>, cost: &mut Cost) -> Result<Option<Draft>, InvertError> {
        for source in &mut self.sources {
            let start = Instant::now();
            let draft = source.draft(open)?;
            cost.stage(source.name()).choosing_seconds += start.elapsed().as_secs_f64();
            if draft.is_some() {
                return Ok(draft);
            }
        }
        Ok(None)
    }

    /// The next untested candidates, and who proposed them; none when every source is spent.
    pub(crate) fn propose(
        &mut self,
        place: &Place<'_>,
        cost: &mut Cost,
    ) -> Result<Option<(&'static str, Vec<u32>)>, InvertError> {
        for source in &mut self.sources {
            let start = Instant::now();
            let mut ids = source.propose(place)?;
            cost.stage(source.name()).choosing_seconds += start.elapsed().as_secs_f64();
            let mut once = HashSet::new();
            ids.retain(|&id| {
                (id as usize) < place.vocab_size() && !place.tested.contains(id) && once.insert(id)
            });
            if !ids.is_empty() {
                return Ok(Some((source.name(), ids)));
            }
        }
        Ok(None)
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A source that takes turns with others stands several times among them.
        let mut once = HashSet::new();
        let mut names = self.sources.iter().map(|source| source.name()).filter(|&name| once.insert(name));
        names.try_for_each(|name| write!(f, "{name}, "))?;
        f.write_str("scan")
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policy({self})")
    }
}
