//! The paper's search: gradient descent in the space of embeddings that proposes the nearest tokens on the way.

use std::{collections::HashMap, num::NonZeroUsize};

use crate::{error::InvertError, models::Decoder, states::random::SplitMix};

use super::{
    OpenPosition, Prompt, Session, Source, Turn,
    at_position::AtPosition,
    descent::{Objective, decayed, descend, slope, upload, wide},
    embedding_rows::EmbeddingRows,
    most_likely,
};

/// The published policy. A proxy of the unknown embedding starts at a random token. Each step moves it against the gradient of the
/// distance between its state and the given one, and proposes the untested token nearest to it. After every window of steps the
/// proxy is moved onto that token.
///
/// The paper and the code released with it differ, and each has its constructor:
///
/// | | [`Gradient::printed`] | [`Gradient::released`] |
/// |---|---|---|
/// | loss | half the squared distance | the mean of the squared differences |
/// | size of later steps | constant | decreases to a hundredth over one window, then constant |
/// | window at the first position | 50 steps | `50 (1 + vocab_size / 25000)` steps |
/// | windows at the others | 50 steps | 50 steps |
/// | gradients | clipped to norm 1 | clipped to norm 1 |
/// | first candidate | the token nearest after a step | the random token itself |
/// | start | a random token (as released) | a random token |
/// | size of the first step | 1 (as released) | 1 |
///
/// [`Gradient::printed`] follows the code where the paper does not specify a detail. A search that reaches NaN or infinity stops,
/// and the next source or the scan takes over. The released code abandons the whole prompt in that case.
///
/// # Example
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use inject_sipit::{Policy, sources::{Gradient, StepDecay}};
///
/// let printed = Policy::new().then(Gradient::printed(8));
/// let released = Policy::new().then(Gradient::released(8));
/// // Sixteen candidates a step, step sizes that decrease in every window, and the scan after 200 steps:
/// let sixteen = NonZeroUsize::MIN.saturating_add(15);
/// let source = Gradient::released(8).decaying(StepDecay::EveryWindow).snapping(sixteen).at_most(200);
/// let batched = Policy::new().then(source);
/// assert_eq!(batched.to_string(), "gradient, scan");
/// ```
///
/// # Source
///
/// As printed: arXiv 2510.15511, Algorithm 3 (the loss, a step before each proposal, candidates by distance to the proxy) with
/// remarks 18 (embeddings in place of tokens) and 19 (plain gradient descent), and appendix E.1 (projection onto the nearest
/// untested token every 50 proposals, without a gradient through it; since version 4, gradients clipped to norm 1). No version
/// specifies the start of the proxy, the size of a step, or a change of that size.
///
/// As released: giorgosnikolaou/SIPIT, commit 4f343c83, `src/algorithm/SIPIT.py`, `find_token` (the start, the windows, the
/// clipping, the order of step, candidate and projection), `src/algorithm/base.py`, `setup_optimzer_scheduler` (`LinearLR`, made
/// once for each token and not again after a projection), `src/utils/model.py` (`mse_loss`), and the default of `--step-size`.
#[derive(Clone, Debug)]
pub struct Gradient {
    seed: u64,
    objective: Objective,
    decay: StepDecay,
    step_size: f64,
    snapping: NonZeroUsize,
    /// The window at the first position is longer by one window for each multiple of this number of tokens in the vocabulary.
    lengthening: Option<usize>,
    most_steps: Option<usize>,
    /// The first action of a search.
    begin: Stage,
}

/// The decrease of the step size during a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepDecay {
    /// The size decreases to a hundredth over the first window and then stays constant. The released code does this, because it
    /// never restarts its scheduler.
    Once,
    /// The size decreases to a hundredth over every window.
    EveryWindow,
    /// The size is constant. The paper's text mentions no decay.
    Never,
}

/// The next action of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Propose the tokens nearest to the random token.
    Begin,
    /// Take a step, then propose.
    Step,
    /// Propose nothing: the descent reached NaN or infinity.
    Diverged,
}

impl Gradient {
    /// The number of proposals between two projections onto the embedding of a token.
    const WINDOW: usize = 50;

    /// Creates the search exactly as the paper prints it, with one candidate a step.
    pub fn printed(seed: u64) -> Self {
        Gradient {
            seed,
            objective: Objective::HalfSquaredDistance,
            decay: StepDecay::Never,
            step_size: 1.0,
            snapping: NonZeroUsize::MIN,
            lengthening: None,
            most_steps: None,
            begin: Stage::Step,
        }
    }

    /// Creates the search exactly as the code released with the paper does it, except for the generator of the random token.
    pub fn released(seed: u64) -> Self {
        Gradient {
            objective: Objective::MeanSquaredDifference,
            decay: StepDecay::Once,
            lengthening: Some(25_000),
            begin: Stage::Begin,
            ..Gradient::printed(seed)
        }
    }

    /// Proposes the `count` nearest untested tokens after every step instead of one. Windows are counted in steps.
    pub fn snapping(self, count: NonZeroUsize) -> Self {
        Gradient { snapping: count, ..self }
    }

    /// Sets the loss to minimise.
    pub fn minimising(self, objective: Objective) -> Self {
        Gradient { objective, ..self }
    }

    /// Sets the decrease of the step size.
    pub fn decaying(self, decay: StepDecay) -> Self {
        Gradient { decay, ..self }
    }

    /// Sets the size of the first step.
    pub fn with_step_size(self, step_size: f64) -> Self {
        Gradient { step_size, ..self }
    }

    /// Limits the number of steps at a position, after which nothing more is proposed there. A small number of tokens takes most
    /// of the steps, and a scan of the vocabulary is cheaper for those.
    pub fn at_most(self, steps: usize) -> Self {
        Gradient { most_steps: Some(steps), ..self }
    }

    /// Returns a new search at a position.
    fn search(&self, at: &OpenPosition<'_>, rows: &EmbeddingRows) -> Result<Search, InvertError> {
        let position = at.position() as u64;
        let mut numbers = SplitMix::seeded(self.seed ^ position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let longer = match self.lengthening {
            Some(tokens) if position == 0 => at.vocab_size() / tokens,
            _ => 0,
        };
        Ok(Search {
            proxy: rows.row(numbers.below(at.vocab_size() as u64) as u32)?,
            steps: 0,
            window: Self::WINDOW * (1 + longer),
            stage: self.begin,
        })
    }
}

impl StepDecay {
    /// Returns the size of a step, counted from 0, relative to the first step.
    fn share(self, step: usize, window: usize) -> f64 {
        match self {
            StepDecay::Once => decayed(step, window),
            StepDecay::EveryWindow => decayed(step % window, window),
            StepDecay::Never => 1.0,
        }
    }
}

impl Source for Gradient {
    type Memory = ();

    fn name(&self) -> &'static str {
        "gradient"
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        Ok(Box::new(GradientSession { source: self, model: None, searches: AtPosition::default() }))
    }
}

struct GradientSession<'a> {
    source: &'a Gradient,
    /// The model, prepared at the first use.
    model: Option<Differentiable>,
    /// One search for each prefix of the position.
    searches: AtPosition<HashMap<Vec<u32>, Search>>,
}

/// The model, prepared for gradients and for distances to embeddings.
struct Differentiable {
    decoder: Decoder,
    rows: EmbeddingRows,
}

/// The state of the search after one prefix.
#[derive(Debug)]
struct Search {
    proxy: Vec<f64>,
    steps: usize,
    window: usize,
    stage: Stage,
}

impl Search {
    /// Moves the proxy by one step.
    fn step(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        source: &Gradient,
        decoder: &Decoder,
    ) -> Result<(), InvertError> {
        let d_model = self.proxy.len();
        let step_size = source.step_size * source.decay.share(self.steps, self.window);
        let proxy = upload(&self.proxy, [1, d_model], decoder, decoder.dtype());
        let wanted = upload(at.wanted(), [1, d_model], decoder, wide(decoder));
        let (_, gradient) = slope(proxy, |proxy| {
            let state = decoder.candidates_from_embeddings(turn.cache, proxy, at.tap())?;
            Ok(source.objective.of(state, wanted))
        })?;
        descend(&mut self.proxy, &gradient, step_size);
        self.steps += 1;
        let finite = self.proxy.iter().all(|coordinate| coordinate.is_finite());
        self.stage = if finite { Stage::Step } else { Stage::Diverged };
        Ok(())
    }

    /// Returns the untested tokens nearest to the proxy.
    fn nearest(
        &self,
        at: &OpenPosition<'_>,
        rows: &EmbeddingRows,
        count: usize,
    ) -> Result<Vec<u32>, InvertError> {
        let mut nearness = rows.nearness_to(&self.proxy)?;
        for id in at.tested.ids() {
            nearness[id as usize] = f64::NEG_INFINITY;
        }
        let mut ids = most_likely(&nearness, count);
        ids.retain(|&id| nearness[id as usize].is_finite());
        Ok(ids)
    }
}

impl Session<()> for GradientSession<'_> {
    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        _: &mut (),
    ) -> Result<Vec<u32>, InvertError> {
        if at.tested.len() >= at.vocab_size().min(turn.limit) {
            return Ok(Vec::new());
        }
        let source = self.source;
        let Differentiable { decoder, rows } = self.model.get_or_insert_with(|| Differentiable {
            decoder: at.decoder().clone().widened_to(at.tap()),
            rows: EmbeddingRows::of(at.decoder()),
        });
        let searches = self.searches.get_or_begin(at.position(), HashMap::new);
        let search = match searches.get_mut(at.prefix) {
            Some(search) => search,
            None => searches.entry(at.prefix.to_vec()).insert_entry(source.search(at, rows)?).into_mut(),
        };
        match search.stage {
            Stage::Begin => search.stage = Stage::Step,
            Stage::Step if source.most_steps.is_some_and(|most| search.steps >= most) => {
                return Ok(Vec::new());
            }
            Stage::Step => search.step(at, turn, source, decoder)?,
            Stage::Diverged => {}
        }
        if search.stage == Stage::Diverged {
            return Ok(Vec::new());
        }
        let ids = search.nearest(at, rows, source.snapping.get())?;
        if let Some(&nearest) = ids.first()
            && search.steps > 0
            && search.steps.is_multiple_of(search.window)
        {
            search.proxy = rows.row(nearest)?;
        }
        Ok(ids)
    }
}
