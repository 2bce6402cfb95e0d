//! Sources of proposals, one after the other.

use std::{collections::HashSet, time::Instant};

use inject_collisions::Alternative;

use crate::{Cost, InvertError, Open, Place, Proposer};

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

/// What is computed in one pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drafted {
    /// Tokens for the positions from the first open one on.
    pub(crate) ids: Vec<u32>,
    /// Others for some of these places.
    pub(crate) alternatives: Vec<Alternative>,
}

impl Drafted {
    /// As far as the ids are known, and `most` positions at most; every alternative once.
    pub(crate) fn cut(mut self, vocab_size: usize, most: usize) -> Self {
        let known = |id: u32| (id as usize) < vocab_size;
        let end = self.ids.iter().take(most).take_while(|&&id| known(id)).count();
        self.ids.truncate(end);
        let ids = &self.ids;
        let mut once = HashSet::new();
        self.alternatives.retain(|other| {
            ids.get(other.place).is_some_and(|&id| id != other.id)
                && known(other.id)
                && once.insert((other.place, other.id))
        });
        self
    }
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

    /// A draft from the first source that has one, and alternatives to some of its tokens.
    pub(crate) fn draft(&mut self, open: &Open<'_>, cost: &mut Cost) -> Result<Option<Drafted>, InvertError> {
        for source in &mut self.sources {
            let start = Instant::now();
            let ids = source.draft(open)?;
            let drafted = match ids {
                None => None,
                Some(ids) => Some(Drafted { alternatives: source.alternatives(open, &ids)?, ids }),
            };
            cost.stage(source.name()).choosing_seconds += start.elapsed().as_secs_f64();
            if drafted.is_some() {
                return Ok(drafted);
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
        self.sources.iter().try_for_each(|source| write!(f, "{}, ", source.name()))?;
        f.write_str("scan")
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policy({self})")
    }
}
