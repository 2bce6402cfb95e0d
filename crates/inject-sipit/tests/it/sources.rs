//! Sources of candidates for tests: one that knows the answers, and one that makes them up.

use std::sync::Mutex;

use inject_sipit::{
    InvertError, Policy, TargetStates,
    sources::{Draft, OpenPosition, Prompt, Provisional, Session, Source, Turn},
};

use crate::numbers::Numbers;

/// A source without sessions and memory. It proposes nothing by default.
pub(crate) trait Simple: Send + Sync {
    fn name(&self) -> &'static str;

    fn draft(&self, _: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        Ok(None)
    }

    fn propose(&self, _: &OpenPosition<'_>, _: &Turn<'_>) -> Result<Vec<u32>, InvertError> {
        Ok(Vec::new())
    }
}

/// A simple source as a source.
struct Of<T>(T);

/// Policies of simple sources.
pub(crate) trait SimplePolicy {
    fn simple(self, source: impl Simple + 'static) -> Self;
}

impl SimplePolicy for Policy {
    fn simple(self, source: impl Simple + 'static) -> Self {
        self.then(Of(source))
    }
}

impl<T: Simple> Source for Of<T> {
    type Memory = ();

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        Ok(Box::new(self))
    }
}

impl<T: Simple> Session<()> for &Of<T> {
    fn draft(
        &mut self,
        at: &OpenPosition<'_>,
        seen: &Provisional,
        _: &mut (),
    ) -> Result<Option<Draft>, InvertError> {
        self.0.draft(at, seen)
    }

    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        _: &mut (),
    ) -> Result<Vec<u32>, InvertError> {
        self.0.propose(at, turn)
    }
}

/// Drafts the tokens it was told, prompt by prompt, and proposes nothing.
pub(crate) struct Told {
    drafts: Vec<(TargetStates, Vec<u32>)>,
}

impl Told {
    /// One draft for one prompt.
    pub(crate) fn one(target: &TargetStates, draft: &[u32]) -> Self {
        Told::many([(target.clone(), draft.to_vec())])
    }

    /// A draft for each of several prompts.
    pub(crate) fn many(drafts: impl IntoIterator<Item = (TargetStates, Vec<u32>)>) -> Self {
        Told { drafts: drafts.into_iter().collect() }
    }
}

impl Simple for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        let known = self.drafts.iter().find(|(target, _)| target == at.target());
        Ok(known.and_then(|(_, ids)| ids.get(at.prefix.len()..)).map(|ids| ids.to_vec().into()))
    }
}

/// Drafts and proposes at random: ids beyond the vocabulary, one id many times, nothing at all, more than there are positions.
pub(crate) struct Liar {
    numbers: Mutex<Numbers>,
}

impl Liar {
    pub(crate) fn seeded(seed: u64) -> Self {
        Liar { numbers: Mutex::new(Numbers(seed)) }
    }

    fn lies(&self, most: usize, vocab_size: usize) -> Vec<u32> {
        let mut numbers = self.numbers.lock().unwrap();
        let count = numbers.below(most + 1);
        let mut ids: Vec<u32> = Vec::with_capacity(count);
        for _ in 0..count {
            let id = match (numbers.below(8), ids.last()) {
                (0, _) => u32::MAX - numbers.below(3) as u32,
                (1, _) => (vocab_size + numbers.below(3)) as u32,
                (2, Some(&last)) => last,
                _ => numbers.below(vocab_size) as u32,
            };
            ids.push(id);
        }
        ids
    }
}

impl Simple for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        let most = at.target().positions() + 5;
        Ok(Some(self.lies(most, at.vocab_size()).into()))
    }

    fn propose(&self, at: &OpenPosition<'_>, _: &Turn<'_>) -> Result<Vec<u32>, InvertError> {
        Ok(self.lies(9, at.vocab_size()))
    }
}
