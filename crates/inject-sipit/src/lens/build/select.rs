//! The choice of a lens's size: the one with the least cost on held-out text.

use crate::{
    error::InvertError,
    lens::{
        Codebook, CodebookKind, First, Lens, LensInfo, PriorMap,
        fit::{Fitted, columns, gather},
        passes::Reading,
        score::{Evidence, Prior, Shortlist, best_of, logits},
    },
    models::Tap,
    token_rows::Wanted,
    tuning::{LENS_MOST_HELD_OUT, LENS_PROMPT, LENS_RANKS, LENS_WEIGHTS, SHORTLIST},
    vocabulary::Vocabulary,
};
use burn::tensor::Tensor;
use ndarray::Array2;

use super::samples::Sample;

/// The held-out text at one tap.
pub(super) struct HeldOut<'a> {
    pub(super) vocabulary: &'a Vocabulary<'a>,
    pub(super) tap: Tap,
    pub(super) states: &'a Array2<f32>,
    pub(super) held_out: &'a [Sample],
    pub(super) fitted_on: usize,
    pub(super) prefixes: usize,
    pub(super) weight_hash: &'a str,
}

/// A way of scoring, and its result.
struct Scored {
    rank: usize,
    /// The weight of the codebook relative to the prior. `None` without a prior.
    weight: Option<f64>,
    cost: f64,
    lists: Vec<Shortlist>,
}

impl HeldOut<'_> {
    /// Returns the lens for which the expected cost of a prompt is least.
    pub(super) fn select(&self, fitted: &Fitted, points: &[f32], first: First) -> Result<Lens, InvertError> {
        let decoder = self.vocabulary.decoder();
        let device = decoder.device();
        let step = self.held_out.len().div_ceil(LENS_MOST_HELD_OUT).max(1);
        let held_out: Vec<Sample> = self.held_out.iter().copied().step_by(step).collect();
        let states = gather(self.states, held_out.iter().map(|sample| sample.row), &device);
        let before = gather(self.states, held_out.iter().map(|sample| sample.row - 1), &device);
        let both = Tensor::cat(vec![states, before.clone()], 1);
        let most = fitted.offset.dims()[1];
        let mut prior = Prior { logits: logits(&fitted.prior, before, self.vocabulary)?, weight: 0.0 };

        let mut best: Option<Scored> = None;
        for rank in LENS_RANKS.into_iter().map(|rank| rank.min(most)) {
            let codebook = codebook(fitted, points, rank, most, CodebookKind::BesidePrior)?;
            let placed = codebook.place(both.clone());
            for weight in std::iter::once(None).chain(LENS_WEIGHTS.map(Some)) {
                prior.weight = weight.unwrap_or(0.0);
                let beside = weight.map(|_| &prior);
                let evidence = [Evidence::StateAndPrior];
                let lists =
                    best_of(&codebook, placed.clone(), beside, &evidence, 1.0, Wanted::first(SHORTLIST))?
                        .swap_remove(0);
                let cost = self.cost(rank, weight.is_some(), &held_out, &lists);
                if best.as_ref().is_none_or(|best| cost < best.cost) {
                    best = Some(Scored { rank, weight, cost, lists });
                }
            }
            if rank == most {
                break;
            }
        }
        let best = best.expect("some rank was tried");
        let config = decoder.config();
        let info = LensInfo {
            tap: self.tap,
            weight_hash: self.weight_hash.to_owned(),
            d_model: config.d_model,
            vocab_size: config.vocab_size,
            rank: best.rank,
            prefixes: self.prefixes,
            positions_fitted: self.fitted_on,
            positions_held_out: held_out.len(),
            held_out_top_1: within(&held_out, &best.lists, 1),
            held_out_top_16: within(&held_out, &best.lists, SHORTLIST),
            sharpness: sharpness(&held_out, &best.lists),
        };
        let kind = if best.weight.is_some() { CodebookKind::BesidePrior } else { CodebookKind::Later };
        let later = codebook(fitted, points, best.rank, most, kind)?;
        let prior = best.weight.map(|weight| PriorMap { weight, ..fitted.prior.clone() });
        Ok(Lens { info, later, prior, first })
    }

    /// Returns the expected cost of a prompt that is drafted in this way, in forward passes.
    fn cost(&self, rank: usize, with_prior: bool, held_out: &[Sample], lists: &[Shortlist]) -> f64 {
        let [top_1, top_16] = [1, SHORTLIST].map(|count| within(held_out, lists, count));
        let reading = Reading { rank, with_prior, top_1, top_16 };
        reading.passes(self.vocabulary.decoder().config(), self.tap, LENS_PROMPT)
    }
}

fn codebook(
    fitted: &Fitted,
    points: &[f32],
    rank: usize,
    most: usize,
    kind: CodebookKind,
) -> Result<Codebook, InvertError> {
    let kept: Vec<f32> = points.chunks(most).flat_map(|point| &point[..rank]).copied().collect();
    let (projection, offset) = (columns(&fitted.projection, rank), columns(&fitted.offset, rank));
    Codebook::new(projection, offset, &kept, kind)
}

/// Returns the share of positions whose true token is among the first `count` of its list.
fn within(held_out: &[Sample], lists: &[Shortlist], count: usize) -> f64 {
    let hit =
        |(sample, list): &(&Sample, &Shortlist)| list.iter().take(count).any(|(id, _)| *id == sample.token);
    held_out.iter().zip(lists).filter(hit).count() as f64 / held_out.len().max(1) as f64
}

/// Returns the factor on the scores that makes them the best log-probabilities: the one with the largest mean log-probability of
/// the true token within its short list.
fn sharpness(held_out: &[Sample], lists: &[Shortlist]) -> f64 {
    let likelihood = |factor: f64| -> f64 {
        let of_position = |(sample, list): (&Sample, &Shortlist)| {
            let truth = list.iter().find(|(id, _)| *id == sample.token)?;
            let best = f64::from(list[0].1);
            let share = |score: f32| ((f64::from(score) - best) * factor).exp();
            Some((share(truth.1) / list.iter().map(|(_, score)| share(*score)).sum::<f64>()).max(1e-30).ln())
        };
        held_out.iter().zip(lists).filter_map(of_position).sum()
    };
    let factors = (-14..=6).map(|exponent| 1.4_f64.powi(exponent));
    factors.max_by(|&a, &b| likelihood(a).total_cmp(&likelihood(b))).unwrap_or(1.0)
}
