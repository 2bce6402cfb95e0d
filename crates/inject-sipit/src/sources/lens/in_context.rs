//! A lens that is adapted to the current prefix.

use std::sync::Arc;

use crate::{
    error::InvertError,
    lens::Lens,
    sources::{
        OpenPosition, Prompt, Session, Source, Turn,
        at_position::AtPosition,
        combination::{Basis, Combination},
        growing,
    },
    tuning::{CONTEXT_MOST_SAMPLED, CONTEXT_SAMPLED, SAMPLED_SHARE},
};

/// Guesses the point of the right token among the points of a [`Lens`] from tested tokens, and proposes the tokens near the guess.
///
/// The context changes a state more than a lens can predict, most of all in the deepest blocks. But the points of a lens
/// distinguish tokens in the same way as states of that depth do. So after a fixed prefix a state is closer to a linear function
/// of its token's point than to one of its embedding. A few dozen tokens sampled from the whole vocabulary are tested after the
/// current prefix, and the point of the right token is guessed from them. If the first guess fails, as many tokens again are
/// tested for a better one.
///
/// The sample does not count towards the limit of a turn.
#[derive(Clone, Debug)]
pub struct LensInContext {
    lens: Arc<Lens>,
}

impl LensInContext {
    /// Creates a source that uses the points of this lens.
    pub fn new(lens: Arc<Lens>) -> Self {
        LensInContext { lens }
    }
}

impl Source for LensInContext {
    type Memory = ();

    fn name(&self) -> &'static str {
        "lens in context"
    }

    fn begin<'a>(&'a self, prompt: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        self.lens.check(prompt.decoder(), prompt.target())?;
        Ok(Box::new(InContextSession { lens: &self.lens, here: AtPosition::default() }))
    }
}

struct InContextSession<'a> {
    lens: &'a Lens,
    here: AtPosition<Counts>,
}

/// The numbers of tokens that were proposed at one position.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// Tokens drawn from the whole vocabulary.
    sampled: usize,
    /// Tokens near a guessed point.
    guessed: usize,
}

impl Session<()> for InContextSession<'_> {
    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        _: &mut (),
    ) -> Result<Vec<u32>, InvertError> {
        let counts = self.here.get_or_begin(at.position(), Counts::default);
        // The first position has its own table of points, which are exact.
        if at.position() == 0 || counts.guessed >= turn.limit {
            return Ok(Vec::new());
        }
        // After a failed guess, as many samples again give a better one.
        if counts.sampled <= counts.guessed && counts.sampled < CONTEXT_MOST_SAMPLED {
            let wanted = counts.sampled.max(CONTEXT_SAMPLED).min(at.vocab_size() / SAMPLED_SHARE);
            let sample = at.sample_of_vocabulary(wanted);
            counts.sampled += sample.len().max(1);
            if !sample.is_empty() {
                return Ok(sample);
            }
        }
        if at.tested.is_empty() {
            return Ok(Vec::new());
        }
        let combination = Combination::of(at, Basis::Everywhere);
        let point = combination.of_points(&self.lens.points(&combination.ids));
        let nearness = self.lens.nearness(&point);
        let until_sampled = counts.sampled.checked_sub(counts.guessed).filter(|&left| left > 0);
        let count = growing(counts.guessed).min(turn.limit - counts.guessed);
        let count = until_sampled.map_or(count, |left| count.min(left));
        let proposed = at.likeliest_untested(&nearness, count);
        counts.guessed += proposed.len();
        Ok(proposed)
    }
}
