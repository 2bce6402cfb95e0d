//! Boxes of tokens' points. In few dimensions, few boxes contain all tokens that matter.

use crate::{
    collisions::spatial_order::near_together,
    token_rows::{Largest, Scored, Wanted},
    tuning::IN_A_BOX,
};
use half::f16;
use rayon::prelude::*;

/// Tokens in boxes of their points' coordinates, so that boxes too far away are skipped. The result equals that of a full scan.
#[derive(Debug)]
pub(super) struct Boxes {
    rank: usize,
    /// The token ids, box by box. Each box but the last contains [`IN_A_BOX`] tokens.
    ids: Vec<u32>,
    /// The smallest coordinates in each box: [axis, box].
    low: Vec<f32>,
    /// The largest coordinates in each box: [axis, box].
    high: Vec<f32>,
    /// The points: [box, axis, token].
    points: Vec<f32>,
}

impl Boxes {
    /// Divides the tokens whose points are `codes`, `[vocab_size, rank]` row-major, into boxes.
    pub(super) fn of(codes: &[f16], rank: usize) -> Self {
        let values: Vec<f32> = codes.iter().map(|value| value.to_f32()).collect();
        let ids = near_together(&values, rank, IN_A_BOX);
        let count = ids.len().div_ceil(IN_A_BOX);
        let (mut low, mut high) = (vec![f32::INFINITY; rank * count], vec![f32::NEG_INFINITY; rank * count]);
        let mut points = Vec::with_capacity(values.len());
        for (number, ids) in ids.chunks(IN_A_BOX).enumerate() {
            for axis in 0..rank {
                let place = axis * count + number;
                for value in ids.iter().map(|&id| values[id as usize * rank + axis]) {
                    low[place] = low[place].min(value);
                    high[place] = high[place].max(value);
                    points.push(value);
                }
            }
        }
        Boxes { rank, ids, low, high, points }
    }

    fn count(&self) -> usize {
        self.ids.len().div_ceil(IN_A_BOX)
    }

    /// Returns the best tokens for each of `points`, `[points, rank]` row-major.
    pub(super) fn best(&self, points: &[f32], wanted: Wanted) -> Vec<Scored> {
        let of_point = |point: &[f32]| {
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || self.best_at(point, wanted),
            )
        };
        points.par_chunks(self.rank).map(of_point).collect()
    }

    #[inline(always)]
    fn best_at(&self, point: &[f32], wanted: Wanted) -> Scored {
        let bounds = self.bounds(point);
        let mut order: Vec<(f32, usize)> = Vec::new();
        let mut best = Largest::keeping(wanted);
        let mut scores = [0.0; IN_A_BOX];
        let nearest = (0..bounds.len()).min_by(|&a, &b| bounds[a].total_cmp(&bounds[b]));
        if let Some(nearest) = nearest {
            self.search_box(nearest, point, &mut scores, &mut best);
            for (number, &bound) in bounds.iter().enumerate() {
                if number != nearest && -0.5 * bound > best.least() {
                    order.push((bound, number));
                }
            }
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            for (bound, number) in order {
                if -0.5 * bound <= best.least() {
                    break;
                }
                self.search_box(number, point, &mut scores, &mut best);
            }
        }
        // The score is the product with the token's point minus half the squared length of the token's point.
        let half_square = 0.5 * point.iter().map(|value| value * value).sum::<f32>();
        let of_place = |(place, score): (u32, f32)| (self.ids[place as usize], score + half_square);
        wanted.of(best.into_kept().into_iter().map(of_place).collect())
    }

    /// Returns a lower bound of the squared distance from `point` to the points of each box.
    #[inline(always)]
    fn bounds(&self, point: &[f32]) -> Vec<f32> {
        let count = self.count();
        let mut bounds = vec![0.0; count];
        for (axis, x) in point.iter().enumerate() {
            let (low, high) = (&self.low[axis * count..][..count], &self.high[axis * count..][..count]);
            for ((bound, low), high) in bounds.iter_mut().zip(low).zip(high) {
                let away = (low - x).max(x - high).max(0.0);
                *bound += away * away;
            }
        }
        bounds
    }

    /// Adds the tokens of one box to `best`, by their places. The score is minus half the squared distance.
    #[inline(always)]
    fn search_box(&self, number: usize, point: &[f32], scores: &mut [f32; IN_A_BOX], best: &mut Largest) {
        let start = number * IN_A_BOX;
        let scores = &mut scores[..IN_A_BOX.min(self.ids.len() - start)];
        scores.fill(0.0);
        for (axis, x) in point.iter().enumerate() {
            let values = &self.points[start * self.rank + axis * scores.len()..][..scores.len()];
            for (score, value) in scores.iter_mut().zip(values) {
                *score -= 0.5 * (x - value) * (x - value);
            }
        }
        best.take(start, scores);
    }
}

#[cfg(test)]
mod tests {
    use crate::states::random::SplitMix;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn boxes_find_the_tokens_of_a_full_scan(
            seed in 0_u64..1000, tokens in 1_usize..3000, rank in 1_usize..7, count in 1_usize..30, within in 0.1_f32..40.0,
        ) {
            let mut numbers = SplitMix::seeded(seed);
            // Integer coordinates give exact distances with many ties.
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count).map(|_| numbers.below(21) as f32 - 10.0).collect()
            };
            let (values, points) = (draw(tokens * rank), draw(5 * rank));
            let codes: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
            let boxes = Boxes::of(&codes, rank);
            for wanted in [Wanted { count, within }, Wanted::first(count)] {
                let found = boxes.best(&points, wanted);
                for (point, found) in points.chunks(rank).zip(found) {
                    let product = |code: &[f32]| -> f32 { code.iter().zip(point).map(|(a, b)| a * b).sum() };
                    let score = |code: &[f32]| product(code) - 0.5 * code.iter().map(|value| value * value).sum::<f32>();
                    let all: Scored =
                        values.chunks(rank).enumerate().map(|(id, code)| (id as u32, score(code))).collect();
                    let scores = |list: &Scored| -> Vec<f32> { list.iter().map(|(_, score)| *score).collect() };
                    prop_assert_eq!(scores(&found), scores(&wanted.of(all.clone())));
                    for (id, score) in found {
                        prop_assert_eq!(all[id as usize].1, score);
                    }
                }
            }
        }
    }

    #[test]
    fn every_token_is_in_one_box_and_within_its_bounds() {
        let mut numbers = SplitMix::seeded(5);
        let (tokens, rank) = (5000, 3);
        let codes: Vec<f16> =
            (0..tokens * rank).map(|_| f16::from_f32(numbers.below(1000) as f32 / 100.0)).collect();
        let boxes = Boxes::of(&codes, rank);
        let mut ids = boxes.ids.clone();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..tokens as u32));
        let count = boxes.count();
        for (number, within) in boxes.ids.chunks(IN_A_BOX).enumerate() {
            assert!((1..=IN_A_BOX).contains(&within.len()));
            for &id in within {
                for axis in 0..rank {
                    let value = codes[id as usize * rank + axis].to_f32();
                    let place = axis * count + number;
                    assert!((boxes.low[place]..=boxes.high[place]).contains(&value));
                }
            }
        }
    }
}
