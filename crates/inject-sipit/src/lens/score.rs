//! Scores of the whole vocabulary for many positions at once.

#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::{
    error::InvertError,
    models::Decoder,
    target::TargetStates,
    tensors::read_f32,
    token_rows::{Largest, Scored, Tile, Wanted},
    tuning::READ_TOGETHER,
    vocabulary::Vocabulary,
};
use burn::tensor::{DType, Tensor};

use super::{Codebook, First, Lens, LensError, PriorMap, Tokens};

/// The most likely tokens of one position, best first, with their scores in nats.
pub(crate) type Shortlist = Scored;

impl Lens {
    /// Checks that the lens fits the model and the states.
    pub(crate) fn check(&self, decoder: &Decoder, target: &TargetStates) -> Result<(), LensError> {
        let config = decoder.config();
        if self.info.tap != target.tap() {
            return Err(LensError::OtherTap { found: self.info.tap, expected: target.tap() });
        }
        let sizes = [
            ("coordinates", self.info.d_model, config.d_model),
            ("tokens", self.info.vocab_size, config.vocab_size),
        ];
        match sizes.into_iter().find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((what, found, expected)) => Err(LensError::OtherShape { what, found, expected }),
        }
    }

    /// Returns the `count` likeliest tokens at every position, best first, each with its score in nats: the reading of the lens
    /// alone, at the cost of one matrix product. Nothing is verified.
    ///
    /// # Shapes
    ///
    /// `target`: `[positions, d_model]`. The result has a list for each position, of `count` pairs of token id and score at most.
    ///
    /// # Errors
    ///
    /// [`InvertError::Lens`] if the lens was made for another tap, or for a model of another size.
    pub fn read(
        &self,
        vocabulary: &Vocabulary<'_>,
        target: &TargetStates,
        count: usize,
    ) -> Result<Vec<Vec<(u32, f32)>>, InvertError> {
        self.check(vocabulary.decoder(), target)?;
        let best = &self.evidence()[..1];
        let wanted = Wanted::first(count);
        Ok(self.shortlists(vocabulary, target, 0..target.positions(), wanted, best)?.swap_remove(0))
    }

    /// Returns the kinds of evidence by which the lens can rank, the best first.
    pub(crate) fn evidence(&self) -> &'static [Evidence] {
        match self.prior {
            None => &[Evidence::State],
            Some(_) => &[Evidence::StateAndPrior, Evidence::State, Evidence::Prior],
        }
    }

    /// Returns the likeliest tokens at each of some positions, for each kind of evidence. `wanted.within` is in nats.
    pub(crate) fn shortlists(
        &self,
        vocabulary: &Vocabulary<'_>,
        target: &TargetStates,
        positions: Range<usize>,
        wanted: Wanted,
        evidence: &[Evidence],
    ) -> Result<Vec<Vec<Shortlist>>, InvertError> {
        let decoder = vocabulary.decoder();
        let wanted = Wanted { count: wanted.count.min(decoder.config().vocab_size), ..wanted };
        let mut lists: Vec<Vec<Shortlist>> = vec![Vec::with_capacity(positions.len()); evidence.len()];
        if positions.start == 0 {
            let first = match &self.first {
                First::Bos(id) => vec![(*id, 0.0)],
                First::Any(codebook) => {
                    let points = codebook.place(rows(target, 0..1, decoder));
                    best_of(codebook, points, None, &[Evidence::State], 1.0, wanted)?
                        .swap_remove(0)
                        .swap_remove(0)
                }
            };
            // The first position has no previous state from which a prior could be read.
            lists.iter_mut().for_each(|lists| lists.push(first.clone()));
        }
        let mut begin = positions.start.max(1);
        while begin < positions.end {
            let end = positions.end.min(begin + READ_TOGETHER);
            let states = rows(target, begin..end, decoder);
            let before = rows(target, begin - 1..end - 1, decoder);
            let prior = match &self.prior {
                Some(map) if evidence.iter().any(|&evidence| evidence != Evidence::State) => {
                    Some(Prior { logits: logits(map, before.clone(), vocabulary)?, weight: map.weight })
                }
                _ => None,
            };
            let points = self.later.place(Tensor::cat(vec![states, before], 1));
            let later = best_of(&self.later, points, prior.as_ref(), evidence, self.info.sharpness, wanted)?;
            lists.iter_mut().zip(later).for_each(|(lists, later)| lists.extend(later));
            begin = end;
        }
        Ok(lists)
    }
}

/// The evidence on which a ranking is based.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Evidence {
    /// The state and, if the lens has a prior, the model's own expectation.
    StateAndPrior,
    /// The state alone. It is better in prompts that the model does not expect.
    State,
    /// The model's own expectation alone. It is better if a state is far from the states of its token in other contexts.
    Prior,
}

/// The model's expectation, and the weight of the codebook relative to it.
pub(super) struct Prior {
    /// The logits on the host: for each chunk of the codebook, `[positions, tokens]`.
    pub(super) logits: Vec<Vec<f32>>,
    /// The factor on the codebook's scores before the logits are added.
    pub(super) weight: f64,
}

/// Returns the logits after some states, chunk by chunk of the vocabulary.
pub(super) fn logits(
    prior: &PriorMap,
    before: Tensor<2>,
    vocabulary: &Vocabulary<'_>,
) -> Result<Vec<Vec<f32>>, InvertError> {
    vocabulary.logits_by_chunk(before.matmul(prior.map.clone()) + prior.offset.clone())
}

/// Copies the states of consecutive positions to the decoder's device in f32, `[positions, d_model]`.
fn rows(target: &TargetStates, positions: Range<usize>, decoder: &Decoder) -> Tensor<2> {
    let shape = [positions.len(), target.d_model()];
    let values = positions.flat_map(|p| target.state(p).iter().map(|&v| v as f32)).collect();
    super::tensor(values, shape, &decoder.device())
}

impl Codebook {
    /// Returns the points of states: `[positions, inputs]` to `[positions, rank]`.
    pub(super) fn place(&self, states: Tensor<2>) -> Tensor<2> {
        states.cast(DType::F32).matmul(self.projection.clone()) + self.offset.clone()
    }
}

/// Returns the best tokens of each position for each kind of evidence. Without a prior, only the state is evidence.
pub(super) fn best_of(
    codebook: &Codebook,
    points: Tensor<2>,
    prior: Option<&Prior>,
    evidence: &[Evidence],
    sharpness: f64,
    wanted: Wanted,
) -> Result<Vec<Vec<Shortlist>>, InvertError> {
    let positions = points.dims()[0];
    let scoring = Scoring { prior, evidence };
    let nats = |kind: usize| match (evidence[kind], prior) {
        (Evidence::Prior, Some(_)) => 1.0,
        _ => sharpness as f32,
    };
    let wanted_of = |kind: usize| Wanted { within: wanted.within / nats(kind), ..wanted };
    let rows = match &codebook.tokens {
        Tokens::Rows(rows) => rows,
        // A codebook in boxes has no prior.
        Tokens::Boxes(boxes) => {
            let mut lists = boxes.best(&read_f32(points)?, wanted_of(0));
            lists.iter_mut().flatten().for_each(|(_, score)| *score *= nats(0));
            return Ok(vec![lists; evidence.len()]);
        }
    };
    // For each position, one list for each kind of evidence.
    let begin = || {
        let kinds = (0..positions).flat_map(|_| 0..evidence.len());
        kinds.map(|kind| Largest::keeping(wanted_of(kind))).collect()
    };
    let parts = rows.fold(points, begin, |best: &mut Vec<Largest>, tile| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || scoring.look(best, tile),
        );
    })?;
    let merged = |kind: usize, position: usize| {
        let of_kind = parts.iter().map(|best| &best[position * evidence.len() + kind]);
        let mut merged = Largest::of_all(of_kind, wanted_of(kind));
        merged.iter_mut().for_each(|(_, score)| *score *= nats(kind));
        merged
    };
    let of_kind = |kind| (0..positions).map(|position| merged(kind, position)).collect();
    Ok((0..evidence.len()).map(of_kind).collect())
}

/// The conversion of products to scores, except for the factor to nats.
struct Scoring<'a> {
    prior: Option<&'a Prior>,
    evidence: &'a [Evidence],
}

impl Scoring<'_> {
    /// Adds the scores of one tile to `best`. All loops and closures are inlined, because a called function is not compiled for
    /// the instructions of its caller.
    #[inline(always)]
    fn look(&self, best: &mut [Largest], tile: Tile<'_>) {
        let (first, tokens) = (tile.tokens().start, tile.tokens().len());
        for point in tile.points() {
            let products = tile.of(point);
            let logits = self
                .prior
                .map(|prior| (&prior.logits[tile.chunk][point * tokens..][..tokens], prior.weight as f32));
            let best = &mut best[point * self.evidence.len()..];
            for (best, evidence) in best.iter_mut().zip(self.evidence) {
                match (evidence, logits) {
                    (Evidence::State, _) | (_, None) => best.take(first, products),
                    (Evidence::Prior, Some((logits, _))) => best.take(first, logits),
                    (Evidence::StateAndPrior, Some((logits, weight))) => best.take_computed(
                        first,
                        tokens,
                        #[inline(always)]
                        |begin, out| {
                            let given = products[begin..].iter().zip(&logits[begin..]);
                            for (out, (product, logit)) in out.iter_mut().zip(given) {
                                *out = product * weight + logit;
                            }
                        },
                    ),
                }
            }
        }
    }
}
