//! The paper's search: downhill through the space of embeddings, from one nearest token to the next.

use inject_collisions::states::SplitMix;

use super::{
    Place, Proposer,
    descent::{Objective, decayed, descend, slope, upload, wide},
    most_likely,
    rows::Rows,
};
use crate::InvertError;

/// The published policy. A proxy of the unknown embedding starts at a random token; each step moves it
/// against the gradient of the distance between its state and the one given, and the untested token nearest
/// to it is proposed. After every window of steps the proxy is put onto that token.
///
/// The paper and the code released with it differ, and each has its constructor:
///
/// | | [`Gradient::printed`] | [`Gradient::released`] |
/// |---|---|---|
/// | loss | half the squared distance | the mean of the squared differences |
/// | steps after the first | of one size | falling to a hundredth over one window, and then staying there |
/// | window at the first position | 50 steps | `50 (1 + vocab_size / 25000)` steps |
/// | windows at the others | 50 steps | 50 steps |
/// | gradients | clipped to norm 1 | clipped to norm 1 |
/// | first candidate | the nearest after a step | the random token itself |
/// | start | a random token (as released) | a random token |
/// | size of the first step | 1 (as released) | 1 |
///
/// Where the paper is silent, [`Gradient::printed`] has what the code does. A search that reaches NaN or
/// infinity stops and the next source or the scan takes over; the released code abandons the whole prompt.
///
/// # Example
///
/// ```
/// use inject_sipit::{Decay, Gradient, Policy};
///
/// let printed = Policy::new().then(Gradient::printed(8));
/// let released = Policy::new().then(Gradient::released(8));
/// // Sixteen candidates a step, steps that shrink in every window, and after 200 of them the rest is left to the scan:
/// let source = Gradient::released(8).decaying(Decay::EveryWindow).snapping(16).at_most(200);
/// let batched = Policy::new().then(source);
/// assert_eq!(batched.to_string(), "gradient, scan");
/// ```
///
/// # Source
///
/// As printed: arXiv 2510.15511, Algorithm 3 (the loss, a step before each proposal, candidates by distance to the proxy) with
/// remarks 18 (embeddings in place of tokens) and 19 (plain gradient descent), and appendix E.1 (projection onto the nearest untested
/// token every 50 proposals, without a gradient through it; from version 4 on, gradients clipped to norm 1). No version says how
/// the proxy begins, how long a step is, or that its size changes.
///
/// As released: giorgosnikolaou/SIPIT, commit 4f343c83, `src/algorithm/SIPIT.py`, `find_token` (the start, the windows, the clipping,
/// the order of step, candidate and projection), `src/algorithm/base.py`, `setup_optimzer_scheduler` (`LinearLR`, made once for each
/// token and not again after a projection), `src/utils/model.py` (`mse_loss`), and the default of `--step-size`.
#[derive(Clone, Debug)]
pub struct Gradient {
    seed: u64,
    objective: Objective,
    decay: Decay,
    step_size: f64,
    snapping: usize,
    /// So many tokens lengthen the first position's window by another, if any do.
    lengthening: Option<usize>,
    most_steps: Option<usize>,
    /// What a search does when it is asked first.
    begin: Stage,
    /// One for each prefix a candidate was asked for at this position.
    searches: Vec<Search>,
}

/// How long the steps of a search are, beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// They shrink to a hundredth over the first window and stay so: the released code never starts its
    /// scheduler again.
    Once,
    /// They shrink to a hundredth over every window.
    EveryWindow,
    /// They are all the same: the paper's text, which mentions no decay.
    Never,
}

/// The search behind one prefix.
#[derive(Clone, Debug)]
struct Search {
    prefix: Vec<u32>,
    wanted: Vec<f64>,
    rows: Rows,
    proxy: Vec<f64>,
    steps: usize,
    window: usize,
    progress: Stage,
}

/// What a search does when it is asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Propose what is nearest to the random token.
    Begin,
    /// Take a step first.
    Step,
    /// Nothing more: the descent reached NaN or infinity.
    Diverged,
}

impl Gradient {
    /// Proposals between two projections.
    const WINDOW: usize = 50;

    /// The search exactly as the paper prints it, one candidate a step.
    pub fn printed(seed: u64) -> Self {
        Gradient {
            seed,
            objective: Objective::HalfSquaredDistance,
            decay: Decay::Never,
            step_size: 1.0,
            snapping: 1,
            lengthening: None,
            most_steps: None,
            begin: Stage::Step,
            searches: Vec::new(),
        }
    }

    /// The search exactly as the code released with the paper does it, but for the generator of the random token.
    pub fn released(seed: u64) -> Self {
        Gradient {
            objective: Objective::MeanSquaredDifference,
            decay: Decay::Once,
            lengthening: Some(25_000),
            begin: Stage::Begin,
            ..Gradient::printed(seed)
        }
    }

    /// The same, proposing the `count` nearest untested tokens after every step instead of one. Windows are
    /// counted in steps.
    pub fn snapping(self, count: usize) -> Self {
        Gradient { snapping: count.max(1), ..self }
    }

    /// The same, with another loss.
    pub fn minimising(self, objective: Objective) -> Self {
        Gradient { objective, ..self }
    }

    /// The same, with another course of step sizes.
    pub fn decaying(self, decay: Decay) -> Self {
        Gradient { decay, ..self }
    }

    /// The same, with another size of the first step.
    pub fn with_step_size(self, step_size: f64) -> Self {
        Gradient { step_size, ..self }
    }

    /// The same, and no more candidates at a position after so many steps. Few tokens take most of the steps,
    /// and a scan of the vocabulary is cheaper for those.
    pub fn at_most(self, steps: usize) -> Self {
        Gradient { most_steps: Some(steps), ..self }
    }

    /// The search behind this prefix, begun if there is none.
    fn search(&mut self, place: &Place<'_>) -> Result<usize, InvertError> {
        let wanted = place.target.state(place.position());
        // Hypotheses that are followed side by side are of one length and have one state to match.
        self.searches.retain(|search| search.prefix.len() == place.position() && search.wanted == wanted);
        if let Some(found) = self.searches.iter().position(|search| search.prefix == place.prefix) {
            return Ok(found);
        }
        let position = place.position() as u64;
        let mut numbers = SplitMix::seeded(self.seed ^ position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rows = Rows::of(place.decoder);
        let longer = match self.lengthening {
            Some(tokens) if position == 0 => place.vocab_size() / tokens,
            _ => 0,
        };
        self.searches.push(Search {
            prefix: place.prefix.to_vec(),
            wanted: wanted.to_vec(),
            proxy: rows.row(numbers.below(place.vocab_size() as u64) as u32)?,
            rows,
            steps: 0,
            window: Self::WINDOW * (1 + longer),
            progress: self.begin,
        });
        Ok(self.searches.len() - 1)
    }
}

impl Decay {
    /// The share of the first step's size at a step, the first being step 0.
    fn share(self, step: usize, window: usize) -> f64 {
        match self {
            Decay::Once => decayed(step, window),
            Decay::EveryWindow => decayed(step % window, window),
            Decay::Never => 1.0,
        }
    }
}

impl Search {
    /// Moves the proxy.
    fn step(&mut self, place: &Place<'_>, objective: Objective, step_size: f64) -> Result<(), InvertError> {
        let (decoder, d_model) = (place.decoder, self.proxy.len());
        let proxy = upload(&self.proxy, [1, d_model], decoder, decoder.dtype());
        let wanted = upload(&self.wanted, [1, d_model], decoder, wide(decoder));
        let (_, gradient) = slope(proxy, |proxy| {
            let state = decoder.candidates_from_embeddings(place.cache, proxy, place.tap())?;
            Ok(objective.of(state, wanted))
        })?;
        descend(&mut self.proxy, &gradient, step_size);
        self.steps += 1;
        let finite = self.proxy.iter().all(|coordinate| coordinate.is_finite());
        self.progress = if finite { Stage::Step } else { Stage::Diverged };
        Ok(())
    }

    /// The untested tokens nearest to the proxy.
    fn nearest(&self, place: &Place<'_>, count: usize) -> Result<Vec<u32>, InvertError> {
        let mut nearness = self.rows.nearness_to(&self.proxy)?;
        for &id in place.tested.places.keys() {
            nearness[id as usize] = f64::NEG_INFINITY;
        }
        let mut ids = most_likely(&nearness, count);
        ids.retain(|&id| nearness[id as usize].is_finite());
        Ok(ids)
    }
}

impl Proposer for Gradient {
    fn name(&self) -> &'static str {
        "gradient"
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        if place.tested.len() >= place.vocab_size() {
            return Ok(Vec::new());
        }
        let at = self.search(place)?;
        let search = &mut self.searches[at];
        match search.progress {
            Stage::Begin => search.progress = Stage::Step,
            Stage::Step if self.most_steps.is_some_and(|most| search.steps >= most) => return Ok(Vec::new()),
            Stage::Step => {
                let step_size = self.step_size * self.decay.share(search.steps, search.window);
                search.step(place, self.objective, step_size)?;
            }
            Stage::Diverged => {}
        }
        if search.progress == Stage::Diverged {
            return Ok(Vec::new());
        }
        let ids = search.nearest(place, self.snapping)?;
        if let Some(&nearest) = ids.first()
            && search.steps > 0
            && search.steps.is_multiple_of(search.window)
        {
            search.proxy = search.rows.row(nearest)?;
        }
        Ok(ids)
    }
}
