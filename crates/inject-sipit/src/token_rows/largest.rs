//! The largest of many scores that come in runs.

use crate::tuning::SCORES_TOGETHER;

/// Token ids, each with its score.
pub(crate) type Scored = Vec<(u32, f32)>;

/// The wanted scores: the number of the largest ones, and the distance below the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) count: usize,
    pub(crate) within: f32,
}

/// The tokens with the largest scores so far, in no order, and some more.
#[derive(Clone, Debug)]
pub(crate) struct Largest {
    wanted: Wanted,
    kept: Scored,
    /// The bound that a score must exceed to matter.
    least: f32,
}

impl Wanted {
    pub(crate) fn first(count: usize) -> Self {
        Wanted { count, within: f32::INFINITY }
    }

    /// The wanted ones among some tokens, the largest first. Of equal scores the lower id comes first.
    pub(crate) fn of(self, mut all: Scored) -> Scored {
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(self.count);
        if let Some(&(_, largest)) = all.first()
            && self.within < f32::INFINITY
        {
            all.truncate(all.partition_point(|(_, score)| *score > largest - self.within));
        }
        all
    }
}

impl Largest {
    pub(crate) fn keeping(wanted: Wanted) -> Self {
        Largest { wanted, kept: Vec::with_capacity(2 * wanted.count), least: f32::NEG_INFINITY }
    }

    /// Takes in the scores of consecutive tokens.
    #[inline(always)]
    pub(crate) fn take(&mut self, first: usize, scores: &[f32]) {
        for (run, scores) in scores.chunks(SCORES_TOGETHER).enumerate() {
            self.take_run(first + run * SCORES_TOGETHER, scores);
        }
    }

    /// Takes in scores that are computed a few at a time. `fill` gets the offset of the first.
    #[inline(always)]
    pub(crate) fn take_computed(&mut self, first: usize, count: usize, fill: impl Fn(usize, &mut [f32])) {
        let mut scores = [f32::NEG_INFINITY; SCORES_TOGETHER];
        let mut begin = 0;
        while begin < count {
            let scores = &mut scores[..SCORES_TOGETHER.min(count - begin)];
            fill(begin, scores);
            self.take_run(first + begin, scores);
            begin += SCORES_TOGETHER;
        }
    }

    #[inline(always)]
    fn take_run(&mut self, first: usize, scores: &[f32]) {
        let least = self.least;
        let mut larger = 0;
        for &score in scores {
            larger |= u32::from(score > least);
        }
        if larger != 0 {
            self.keep(first, scores);
        }
    }

    fn keep(&mut self, first: usize, scores: &[f32]) {
        let Wanted { count, within } = self.wanted;
        for (place, &score) in scores.iter().enumerate() {
            if score > self.least {
                self.kept.push(((first + place) as u32, score));
                self.least = self.least.max(score - within);
                if self.kept.len() == 2 * count {
                    self.kept.select_nth_unstable_by(count - 1, |a, b| b.1.total_cmp(&a.1));
                    self.kept.truncate(count);
                    self.least = self.least.max(self.kept[count - 1].1);
                }
            }
        }
    }

    /// The bound that a score must exceed to matter.
    #[inline(always)]
    pub(crate) fn least(&self) -> f32 {
        self.least
    }

    /// All tokens that may be wanted, in no order.
    pub(crate) fn into_kept(self) -> Scored {
        self.kept
    }

    /// The wanted tokens of several parts.
    pub(crate) fn of_all<'a>(parts: impl IntoIterator<Item = &'a Largest>, wanted: Wanted) -> Scored {
        wanted.of(parts.into_iter().flat_map(|part| &part.kept).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_largest_are_kept(
            scores in prop::collection::vec(-100_i32..100, 1..600), count in 1_usize..20, within in 1_i32..300,
        ) {
            let within = if within < 200 { within as f32 } else { f32::INFINITY };
            let wanted = Wanted { count, within };
            let scores: Vec<f32> = scores.into_iter().map(|score| score as f32).collect();
            let (left, right) = scores.split_at(scores.len() / 3);
            let mut parts = [Largest::keeping(wanted), Largest::keeping(wanted)];
            parts[0].take(0, left);
            parts[1].take_computed(left.len(), right.len(), |begin, out| {
                out.copy_from_slice(&right[begin..][..out.len()]);
            });
            let found: Vec<f32> = Largest::of_all(&parts, wanted).iter().map(|&(id, score)| {
                assert_eq!(scores[id as usize], score);
                score
            }).collect();
            let mut expected = scores.clone();
            expected.sort_by(|a, b| b.total_cmp(a));
            expected.truncate(count);
            expected.retain(|score| *score > expected_largest(&scores) - within);
            prop_assert_eq!(found, expected);
        }
    }

    fn expected_largest(scores: &[f32]) -> f32 {
        scores.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}
