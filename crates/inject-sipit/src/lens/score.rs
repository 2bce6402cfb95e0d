//! Scores of the whole vocabulary for many positions at once.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use inject_collisions::Decoder;
use rayon::prelude::*;

use super::{CHUNK, Codebook, First, Lens, LensError, PriorMap};
use crate::{InvertError, TargetStates, read_f32};

/// The most likely tokens of one position, best first, with their scores in nats.
pub(crate) type Shortlist = Vec<(u32, f32)>;

impl Lens {
    /// Checks the lens against the model and states it is to be used with.
    pub(crate) fn check(&self, decoder: &Decoder, target: &TargetStates) -> Result<(), LensError> {
        let config = decoder.config();
        if self.about.tap != target.tap() {
            return Err(LensError::OtherTap { found: self.about.tap, expected: target.tap() });
        }
        let sizes = [
            ("coordinates", self.about.d_model, config.d_model),
            ("tokens", self.about.vocab_size, config.vocab_size),
        ];
        match sizes.into_iter().find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((what, found, expected)) => Err(LensError::OtherShape { what, found, expected }),
        }
    }

    /// The `count` most likely tokens at every position, best first, each with its score in nats: what a lens alone makes of
    /// states, at the cost of one matrix product. Nothing is verified.
    ///
    /// # Errors
    ///
    /// [`InvertError::Lens`] when the lens was made for another tap, or for a model of another size.
    pub fn read(
        &self,
        decoder: &Decoder,
        target: &TargetStates,
        count: usize,
    ) -> Result<Vec<Vec<(u32, f32)>>, InvertError> {
        self.check(decoder, target)?;
        let best = &self.evidence()[..1];
        Ok(self.shortlists(decoder, target, 0..target.positions(), count, best)?.swap_remove(0))
    }

    /// What it can rank by, the best first.
    pub(crate) fn evidence(&self) -> &'static [Evidence] {
        match self.prior {
            None => &[Evidence::State],
            Some(_) => &[Evidence::StateAndPrior, Evidence::State, Evidence::Prior],
        }
    }

    /// The `count` most likely tokens at each of some positions, for each kind of evidence.
    pub(crate) fn shortlists(
        &self,
        decoder: &Decoder,
        target: &TargetStates,
        positions: Range<usize>,
        count: usize,
        evidence: &[Evidence],
    ) -> Result<Vec<Vec<Shortlist>>, InvertError> {
        let Range { start: begin, end } = positions;
        let mut lists: Vec<Vec<Shortlist>> = vec![Vec::with_capacity(end - begin); evidence.len()];
        if begin == 0 {
            let first = match &self.first {
                First::Bos(id) => vec![(*id, 0.0)],
                First::Any(codebook) => {
                    let points = codebook.place(rows(target, 0, 1, decoder));
                    best_of(codebook, points, None, &[Evidence::State], 1.0, count)?
                        .swap_remove(0)
                        .swap_remove(0)
                }
            };
            // Nothing stands before the first position that a prior could be read from.
            lists.iter_mut().for_each(|lists| lists.push(first.clone()));
        }
        let begin = begin.max(1);
        if begin < end {
            let states = rows(target, begin, end, decoder);
            let before = rows(target, begin - 1, end - 1, decoder);
            let prior = match &self.prior {
                Some(map) if evidence.iter().any(|&evidence| evidence != Evidence::State) => {
                    Some(Prior { logits: logits(map, before.clone(), decoder)?, weight: map.weight })
                }
                _ => None,
            };
            let points = self.later.place(Tensor::cat(vec![states, before], 1));
            let later = best_of(&self.later, points, prior.as_ref(), evidence, self.about.sharpness, count)?;
            lists.iter_mut().zip(later).for_each(|(lists, later)| lists.extend(later));
        }
        Ok(lists)
    }
}

/// What a ranking goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The state, and the model's own expectation where the lens weighs that too.
    StateAndPrior,
    /// The state alone: better where the prompt is not what the model expects.
    State,
    /// The model's own expectation alone: better where the state is far from all that its token has elsewhere.
    Prior,
}

/// The model's expectation, and how the codebook is weighed beside it.
pub(super) struct Prior {
    /// Logits on the host: for each chunk of the codebook, `[positions, tokens]`.
    pub(super) logits: Vec<Vec<f32>>,
    /// What the codebook's scores are multiplied by before the logits are added.
    pub(super) weight: f64,
}

/// The logits behind some states, chunk by chunk of the vocabulary: a chunk's are put in order while they are in the cache.
pub(super) fn logits(
    prior: &PriorMap,
    before: Tensor<2>,
    decoder: &Decoder,
) -> Result<Vec<Vec<f32>>, InvertError> {
    let states = before.matmul(prior.map.clone()) + prior.offset.clone();
    let states = states.cast(decoder.dtype());
    let vocab_size = decoder.config().vocab_size;
    let starts: Vec<usize> = (0..vocab_size).step_by(CHUNK).collect();
    let of_chunk =
        |start: usize| read_f32(decoder.logits_of(states.clone(), start..vocab_size.min(start + CHUNK)));
    starts.into_par_iter().map(of_chunk).collect()
}

/// States of consecutive positions as f32 on the decoder's device, `[end - begin, d_model]`.
fn rows(target: &TargetStates, begin: usize, end: usize, decoder: &Decoder) -> Tensor<2> {
    let values: Vec<f32> = (begin..end).flat_map(|p| target.state(p).iter().map(|&v| v as f32)).collect();
    super::tensor(values, [end - begin, target.d_model()], &decoder.device())
}

impl Codebook {
    /// Points of states: `[positions, inputs]` to `[positions, rank + 1]`.
    pub(super) fn place(&self, states: Tensor<2>) -> Tensor<2> {
        states.cast(DType::F32).matmul(self.projection.clone()) + self.offset.clone()
    }
}

/// The best tokens of each position for each kind of evidence, chunk by chunk of the vocabulary: a chunk's scores never leave the
/// cache of the core that computes them. Without a prior, only the state is evidence.
pub(super) fn best_of(
    codebook: &Codebook,
    points: Tensor<2>,
    prior: Option<&Prior>,
    evidence: &[Evidence],
    sharpness: f64,
    count: usize,
) -> Result<Vec<Vec<Shortlist>>, InvertError> {
    let positions = points.dims()[0];
    let sharpness = sharpness as f32;
    let chunks: Vec<(usize, &Tensor<2>)> = codebook.chunks.iter().enumerate().collect();
    // Each core goes through its part of the vocabulary chunk by chunk, and knows the best so far.
    let per_core = chunks.len().div_ceil(rayon::current_num_threads()).max(1);
    let partial: Vec<Vec<Best>> = chunks
        .par_chunks(per_core)
        .map(|chunks| {
            // Kind after kind for each position.
            let mut best: Vec<Best> = (0..positions * evidence.len()).map(|_| Best::keeping(count)).collect();
            for &(number, codes) in chunks {
                let (start, tokens) = (number * CHUNK, codes.dims()[1]);
                let scores = read_f32(points.clone().matmul(codes.clone()))?;
                for (position, (scores, best)) in
                    scores.chunks(tokens).zip(best.chunks_mut(evidence.len())).enumerate()
                {
                    let logits = prior.map(|prior| {
                        (&prior.logits[number][position * tokens..][..tokens], prior.weight as f32)
                    });
                    for (best, evidence) in best.iter_mut().zip(evidence) {
                        match (evidence, logits) {
                            (Evidence::State, _) | (_, None) => {
                                best.take(|token| scores[token] * sharpness, tokens, start);
                            }
                            (Evidence::Prior, Some((logits, _))) => {
                                best.take(|token| logits[token], tokens, start);
                            }
                            (Evidence::StateAndPrior, Some((logits, weight))) => {
                                let both =
                                    |token: usize| (scores[token] * weight + logits[token]) * sharpness;
                                best.take(both, tokens, start);
                            }
                        }
                    }
                }
            }
            Ok(best)
        })
        .collect::<Result<_, InvertError>>()?;
    let merged = |kind: usize, position: usize| {
        let of_core = partial.iter().flat_map(|best| &best[position * evidence.len() + kind].kept);
        let mut all: Shortlist = of_core.copied().collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(count);
        all
    };
    let of_kind = |kind| (0..positions).map(|position| merged(kind, position)).collect();
    Ok((0..evidence.len()).map(of_kind).collect())
}

/// The largest scores so far, in no order; twice as many as wanted at most.
struct Best {
    count: usize,
    kept: Shortlist,
    least: f32,
}

impl Best {
    fn keeping(count: usize) -> Self {
        Best { count, kept: Vec::with_capacity(2 * count), least: f32::NEG_INFINITY }
    }

    fn take(&mut self, score: impl Fn(usize) -> f32, tokens: usize, start: usize) {
        /// Scores looked at together: nearly all such runs hold nothing that matters, and counting has no branch.
        const RUN: usize = 64;
        for begin in (0..tokens).step_by(RUN) {
            let run = begin..tokens.min(begin + RUN);
            let least = self.least;
            if run.clone().map(|token| u32::from(score(token) > least)).sum::<u32>() == 0 {
                continue;
            }
            for token in run {
                let score = score(token);
                if score > self.least {
                    self.kept.push(((start + token) as u32, score));
                    if self.kept.len() == 2 * self.count {
                        self.kept.select_nth_unstable_by(self.count - 1, |a, b| b.1.total_cmp(&a.1));
                        self.kept.truncate(self.count);
                        self.least = self.kept[self.count - 1].1;
                    }
                }
            }
        }
    }
}
