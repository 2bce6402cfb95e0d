//! The paper's other baseline: gradient descent over all tokens of a prompt at once, with hard projections.

#[cfg(test)]
mod tests;

use crate::{error::InvertError, inverter::watch::now, states::random::SplitMix, tensors::read};

use super::{
    Draft, OpenPosition, Prompt, Provisional, Session, Source, Turn,
    descent::{Objective, decayed, descend, slope, upload, wide},
    embedding_rows::EmbeddingRows,
};

/// PEZ with hidden states as the target. The points of all positions move together against the gradient taken at the tokens
/// nearest to them. It drafts a whole prompt, and proposes nothing for single positions.
///
/// The published number of steps, a quarter of the vocabulary for every token of the prompt, takes hours. Limit it with
/// [`HardPrompts::at_most`], or limit the [time](crate::settings::Budget) of a prompt, which is checked after every step.
///
/// # Example
///
/// ```
/// use inject_sipit::{Policy, sources::HardPrompts};
///
/// let policy = Policy::new().then(HardPrompts::seeded(8).at_most(500));
/// assert_eq!(policy.to_string(), "hard prompts, scan");
/// ```
///
/// # Source
///
/// Wen et al., arXiv 2302.03668, Algorithm 1 (PEZ): project, take the gradient at the projection, move the
/// unprojected points. The loss on states and the number of steps are the adaptation of arXiv 2510.15511 (the
/// baseline of its inversion benchmark). The start at random tokens, a first step of size 1, clipping of the
/// whole gradient to norm 1, a decay to a hundredth and the tolerance of a match are those of its code,
/// giorgosnikolaou/SIPIT, commit 4f343c83.
///
/// That code (`src/algorithm/HardPrompts.py`) differs from PEZ, and this source differs from that code:
///
/// | | the code | here | why |
/// |---|---|---|---|
/// | gradient | at the unprojected points | at the projected ones | PEZ |
/// | projection | of the points themselves, at the end of every window (of `(1 + vocab_size / 25000) / 200` of all steps), except onto a prompt on which they were before | at every step, for the gradient only; the points are not moved by it | PEZ |
/// | decay | over every window, whose first step is 0.9 of the last window's, or 0.8 if nothing was projected | once, over all steps | without windows nothing restarts |
/// | loss | the mean of the squared differences | half the squared distance, or [as there](HardPrompts::minimising) | the paper's loss, as for [`Gradient::printed`](super::Gradient::printed) |
/// | match | of the states at the unprojected points | of the states of tokens | a draft consists of tokens |
/// | result | the last projection | the projection of least loss | the loss does not fall at every step |
/// | points that became NaN or infinite | no result | the best prompt until then | a draft need not be right |
#[derive(Clone, Debug)]
pub struct HardPrompts {
    seed: u64,
    objective: Objective,
    step_size: f64,
    most_steps: Option<usize>,
}

/// The moving points, and the best prompt so far.
struct Search {
    points: Vec<f64>,
    best: Vec<u32>,
    lowest: f64,
    /// The number of steps taken so far.
    steps: usize,
}

impl HardPrompts {
    /// Creates the search with the published number of steps.
    pub fn seeded(seed: u64) -> Self {
        HardPrompts { seed, objective: Objective::default(), step_size: 1.0, most_steps: None }
    }

    /// Limits the number of steps. A draft takes at least one.
    pub fn at_most(self, steps: usize) -> Self {
        HardPrompts { most_steps: Some(steps), ..self }
    }

    /// Sets the loss to minimise.
    pub fn minimising(self, objective: Objective) -> Self {
        HardPrompts { objective, ..self }
    }

    /// Sets the size of the first step.
    pub fn with_step_size(self, step_size: f64) -> Self {
        HardPrompts { step_size, ..self }
    }

    /// Returns the number of steps: the published one or the limit, whichever is smaller, but at least one.
    fn steps(&self, positions: usize, vocab_size: usize) -> usize {
        let published = positions * vocab_size / 4;
        self.most_steps.map_or(published, |most| most.min(published)).max(1)
    }

    fn search(&self, at: &OpenPosition<'_>) -> Result<Search, InvertError> {
        let target = at.target();
        let decoder = &at.decoder().clone().widened_to(target.tap());
        let shape = [target.positions(), target.d_model()];
        let vocab_size = decoder.config().vocab_size;
        let steps = self.steps(shape[0], vocab_size);
        let rows = EmbeddingRows::of(decoder);
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
                if states.map(read).transpose()?.is_some_and(|states: Vec<f64>| matches(&states, &wanted)) {
                    break;
                }
            }
            descend(&mut search.points, &gradient, self.step_size * decayed(step, steps));
            search.steps += 1;
            let lost = !search.points.iter().all(|coordinate| coordinate.is_finite());
            let late = at.deadline.is_some_and(|deadline| now() >= deadline);
            if lost || late {
                break;
            }
        }
        Ok(search)
    }

    /// Begins a search at random tokens.
    fn begin(
        &self,
        rows: &EmbeddingRows,
        vocab_size: usize,
        positions: usize,
    ) -> Result<Search, InvertError> {
        let mut numbers = SplitMix::seeded(self.seed);
        let best: Vec<u32> = (0..positions).map(|_| numbers.below(vocab_size as u64) as u32).collect();
        Ok(Search { points: read(rows.rows(&best))?, best, lowest: f64::INFINITY, steps: 0 })
    }
}

/// Returns whether the states match the given ones.
///
/// # Source
///
/// giorgosnikolaou/SIPIT, `src/algorithm/base.py`, `is_match`.
fn matches(states: &[f64], wanted: &[f64]) -> bool {
    const TOLERANCE: f64 = 1e-5;
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= TOLERANCE + TOLERANCE * b.abs();
    states.iter().zip(wanted).all(near)
}

impl Source for HardPrompts {
    type Memory = ();

    fn name(&self) -> &'static str {
        "hard prompts"
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        Ok(Box::new(self))
    }
}

impl Session<()> for &HardPrompts {
    fn draft(
        &mut self,
        at: &OpenPosition<'_>,
        seen: &Provisional,
        _: &mut (),
    ) -> Result<Option<Draft>, InvertError> {
        // The search takes no prefix into account. It drafts only before anything else was settled or tried.
        if !at.prefix.is_empty() || !seen.is_empty() || !at.tested.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.search(at)?.best.into()))
    }

    fn propose(&mut self, _: &OpenPosition<'_>, _: &Turn<'_>, _: &mut ()) -> Result<Vec<u32>, InvertError> {
        Ok(Vec::new())
    }
}
