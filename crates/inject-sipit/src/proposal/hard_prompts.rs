//! The paper's other baseline: all tokens of a prompt at once, through hard projections.

use std::time::Instant;

use inject_collisions::SplitMix;

use super::{
    Open, Place, Proposer,
    descent::{Objective, decayed, descend, slope, upload, wide},
    rows::Rows,
};
use crate::{Draft, InvertError, read};

/// PEZ, with hidden states as what the prompt must give: the embeddings of all positions move together
/// against the gradient at the tokens nearest to them. It drafts a whole prompt; nothing is proposed for
/// single positions.
///
/// The published number of steps, a quarter of the vocabulary for every token of the prompt, takes hours:
/// bound it, or the [time](crate::Budget::time) of a prompt.
///
/// # Example
///
/// ```
/// use inject_sipit::{HardPrompts, Policy};
///
/// let policy = Policy::new().then(HardPrompts::seeded(8).at_most(500));
/// assert_eq!(policy.to_string(), "hard prompts, scan");
/// ```
///
/// # Source
///
/// Wen et al., arXiv 2302.03668, Algorithm 1: project, take the gradient at the projection, move the
/// unprojected points. The loss on states and the number of steps are the adaptation of arXiv 2510.15511 (the
/// baseline of its inversion benchmark); a step of size 1, its decay to a hundredth, clipping to norm 1 and
/// the test for a match are those of its code, giorgosnikolaou/SIPIT. Where that code
/// (`src/algorithm/HardPrompts.py`) is not PEZ, PEZ is followed:
///
/// | | the code | here |
/// |---|---|---|
/// | gradient | at the unprojected points | at the projected ones |
/// | projection | now and then, onto tokens not tried yet | at every step, onto the nearest tokens |
/// | decay | over every window, the step of each shorter than the last's | once, over all steps |
/// | result | the last projection | the projection of least loss, as the loss does not fall at every step |
#[derive(Clone, Debug)]
pub struct HardPrompts {
    seed: u64,
    objective: Objective,
    step_size: f64,
    most_steps: Option<usize>,
}

/// The points that move, and the best prompt they came by.
struct Search {
    points: Vec<f64>,
    best: Vec<u32>,
    lowest: f64,
}

impl HardPrompts {
    /// The published search, with as many steps as published.
    pub fn seeded(seed: u64) -> Self {
        HardPrompts { seed, objective: Objective::default(), step_size: 1.0, most_steps: None }
    }

    /// The same, with no more than so many steps.
    pub fn at_most(self, steps: usize) -> Self {
        HardPrompts { most_steps: Some(steps), ..self }
    }

    /// The same, with another loss.
    pub fn minimising(self, objective: Objective) -> Self {
        HardPrompts { objective, ..self }
    }

    /// The same, with another size of the first step.
    pub fn with_step_size(self, step_size: f64) -> Self {
        HardPrompts { step_size, ..self }
    }

    fn search(&self, open: &Open<'_>) -> Result<Vec<u32>, InvertError> {
        let (decoder, target) = (open.decoder, open.target);
        let shape = [target.positions(), target.d_model()];
        let vocab_size = decoder.config().vocab_size;
        let published = shape[0] * vocab_size / 4;
        let steps = self.most_steps.map_or(published, |most| most.min(published)).max(1);
        let rows = Rows::of(decoder);
        let wanted: Vec<f64> = target.states().iter().copied().collect();
        let wanted_tensor = upload(&wanted, shape, decoder, wide(decoder));
        let mut search = self.begin(&rows, vocab_size, shape[0])?;
        for step in 0..steps {
            let ids = rows.nearest(&search.points)?;
            let projected = rows.rows(&ids);
            let mut states = None;
            let (loss, gradient) = slope(projected, |projected| {
                let embeddings = projected.unsqueeze::<3>(); // [1, positions, d_model]
                let found = decoder.forward_from_embeddings(embeddings, target.tap())?.reshape(shape);
                states = Some(found.clone().without_autodiff());
                Ok(self.objective.of(found, wanted_tensor.clone()))
            })?;
            if loss < search.lowest {
                (search.lowest, search.best) = (loss, ids);
                if states.map(read).transpose()?.is_some_and(|states| matches(&states, &wanted)) {
                    break;
                }
            }
            descend(&mut search.points, &gradient, self.step_size * decayed(step, steps));
            let lost = !search.points.iter().all(|coordinate| coordinate.is_finite());
            let late = open.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if lost || late {
                break;
            }
        }
        Ok(search.best)
    }

    /// Random tokens.
    fn begin(&self, rows: &Rows, vocab_size: usize, positions: usize) -> Result<Search, InvertError> {
        let mut numbers = SplitMix::seeded(self.seed);
        let best: Vec<u32> = (0..positions).map(|_| numbers.below(vocab_size as u64) as u32).collect();
        Ok(Search { points: read(rows.rows(&best))?, best, lowest: f64::INFINITY })
    }
}

/// Whether the states are those wanted.
///
/// # Source
///
/// giorgosnikolaou/SIPIT, `src/algorithm/base.py`, `is_match`.
fn matches(states: &[f64], wanted: &[f64]) -> bool {
    const TOLERANCE: f64 = 1e-5;
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= TOLERANCE + TOLERANCE * b.abs();
    states.iter().zip(wanted).all(near)
}

impl Proposer for HardPrompts {
    fn name(&self) -> &'static str {
        "hard prompts"
    }

    fn draft(&mut self, open: &Open<'_>) -> Result<Option<Draft>, InvertError> {
        // It knows no prefix: once anything is settled or tried, it has nothing to add.
        if !open.prefix.is_empty() || !open.provisional.is_empty() || !open.tested.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.search(open)?.into()))
    }

    fn propose(&mut self, _place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        Ok(Vec::new())
    }
}
