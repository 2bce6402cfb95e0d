//! Sources of proposals made up for tests: one that knows the answers, and one that knows nothing and says it loudly.

use inject_sipit::{sources::{Draft, OpenPosition, Turn}, InvertError, TargetStates};

use crate::numbers::Numbers;

/// Drafts what it was told, prompt by prompt, and proposes nothing.
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

    fn draft(&self, at: &OpenPosition<'_>, seen: &Provisional) -> Result<Option<Draft>, InvertError> {
        let known = self.drafts.iter().find(|(target, _)| target.states() == at.target().states());
        Ok(known.and_then(|(_, ids)| ids.get(at.prefix.len()..)).map(|ids| ids.to_vec().into()))
    }

    fn propose(&self, _: &OpenPosition<'_>, _: &Turn<'_>) -> Result<Vec<u32>, InvertError> {
        Ok(Vec::new())
    }
}

/// Drafts and proposes at random: ids beyond the vocabulary, one id many times, nothing at all, more than there are positions.
pub(crate) struct Liar {
    numbers: Numbers,
}

impl Liar {
    pub(crate) fn seeded(seed: u64) -> Self {
        Liar { numbers: Numbers(seed) }
    }

    fn lies(&mut self, most: usize, vocab_size: usize) -> Vec<u32> {
        let count = self.numbers.below(most + 1);
        let mut ids: Vec<u32> = Vec::with_capacity(count);
        for _ in 0..count {
            let id = match (self.numbers.below(8), ids.last()) {
                (0, _) => u32::MAX - self.numbers.below(3) as u32,
                (1, _) => (vocab_size + self.numbers.below(3)) as u32,
                (2, Some(&last)) => last,
                _ => self.numbers.below(vocab_size) as u32,
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

    fn draft(&self, at: &OpenPosition<'_>, seen: &Provisional) -> Result<Option<Draft>, InvertError> {
        let most = at.target().positions() + 5;
        Ok(Some(self.lies(most, at.decoder().config().vocab_size).into()))
    }

    fn propose(&self, at: &OpenPosition<'_>, _: &Turn<'_>) -> Result<Vec<u32>, InvertError> {
        Ok(self.lies(9, at.vocab_size()))
    }
}
