//! What the model's expectation of a token and the direction of its embedding say of it together.
//!
//! Each is best somewhere: the expectation where a state lies far from where its token's embedding would put it, as it does for
//! some ordinary tokens of the deepest blocks; the direction where the text is not what the model expects. How good a direction
//! is depends on the depth, and on what it was guessed from. So a token's probability is the mean over several ways of weighing
//! them, and each way counts as much as what it said of the tokens found so far.

use rayon::prelude::*;

use crate::proposal::trust::credit;

/// Where the guess of an embedding comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guess {
    /// The positions before.
    Remembered,
    /// The candidates tested around the state looked for.
    Nearby,
    /// Those tested all over the vocabulary.
    Everywhere,
}

impl Guess {
    pub(super) const KINDS: usize = 3;
    pub(super) const ALL: [Guess; Self::KINDS] = [Guess::Remembered, Guess::Nearby, Guess::Everywhere];
}

/// What speaks for the tokens of one position.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// The logarithm of each token's probability as the model expects it, but for a constant.
    expectation: Vec<f64>,
    /// How nearly each token's embedding lies in the direction of each kind of guess, in standard deviations from the mean of all
    /// tokens.
    directions: [Option<Vec<f64>>; Guess::KINDS],
}

/// How much each way of weighing is trusted, once there are guesses up to some kind.
#[derive(Clone, Debug)]
pub(super) struct Blend {
    latest: Guess,
    trust: Vec<f64>,
}

/// The expectation alone, or a direction and what it counts for, with or without the expectation.
#[derive(Clone, Copy, Debug)]
struct Way {
    expected: f64,
    directed: Option<(Guess, f64)>,
}

/// How much a direction counts for. A right token whose direction lies `m` deviations from the mean, distributed normally like those
/// of the wrong ones, has `exp(m x)` times the odds at `x`.
const WEIGHTS: [f64; 3] = [1.0, 2.0, 4.0];

/// The same without the expectation.
const ALONE: f64 = 3.0;

/// How many tokens found each way counts for at the beginning.
const AT_FIRST: f64 = 0.3;

fn ways(latest: Guess) -> impl Iterator<Item = Way> {
    let alone = Way { expected: 1.0, directed: None };
    let by_guess = Guess::ALL.into_iter().filter(move |guess| *guess <= latest).flat_map(|guess| {
        let both = WEIGHTS.map(|weight| Way { expected: 1.0, directed: Some((guess, weight)) });
        both.into_iter().chain([Way { expected: 0.0, directed: Some((guess, ALONE)) }])
    });
    std::iter::once(alone).chain(by_guess)
}

impl Evidence {
    /// What the model expects, and no guess yet.
    pub(super) fn new(expectation: Vec<f64>) -> Self {
        Evidence { expectation, directions: Default::default() }
    }

    /// Takes up a guess, by the nearness of all tokens in whatever unit.
    pub(super) fn take_up(&mut self, guess: Guess, nearness: Vec<f64>) {
        let n = nearness.len().max(1) as f64;
        let mean = nearness.iter().sum::<f64>() / n;
        let deviation = (nearness.iter().map(|near| (near - mean).powi(2)).sum::<f64>() / n).sqrt();
        let unit = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
        self.directions[guess as usize] =
            Some(nearness.into_iter().map(|near| (near - mean) * unit).collect());
    }

    /// What the direction of a guess adds to a score in one way of weighing; none where the guess was not made.
    fn directed(&self, way: Way) -> Option<(&[f64], f64)> {
        match way.directed {
            None => Some((&[], 0.0)),
            Some((guess, weight)) => Some((self.directions[guess as usize].as_deref()?, weight)),
        }
    }

    /// All tokens' probabilities in one way of weighing, and what made them of the scores; none where its guess was not made.
    fn probabilities(&self, way: Way) -> Option<(Vec<f64>, Scale)> {
        let (direction, weight) = self.directed(way)?;
        let mut scores: Vec<f64> = self.expectation.iter().map(|score| score * way.expected).collect();
        scores.iter_mut().zip(direction).for_each(|(score, direction)| *score += weight * direction);
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
        let sum: f64 = scores.iter().sum();
        scores.iter_mut().for_each(|score| *score /= sum);
        Some((scores, Scale { largest, sum }))
    }

    /// One token's probability, of the scale that all have.
    fn probability(&self, way: Way, scale: Scale, id: usize) -> f64 {
        let (direction, weight) = self.directed(way).unwrap_or_default();
        let directed = direction.get(id).map_or(0.0, |direction| weight * direction);
        (way.expected * self.expectation[id] + directed - scale.largest).exp() / scale.sum
    }
}

/// What makes probabilities of scores: the largest, and the sum of all exponentials beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    largest: f64,
    sum: f64,
}

/// The scale of each way of weighing, where it said anything.
pub(super) type Scales = Vec<Option<Scale>>;

impl Blend {
    /// Of guesses up to this kind.
    pub(super) fn of(latest: Guess) -> Self {
        Blend { latest, trust: ways(latest).map(|_| AT_FIRST).collect() }
    }

    /// How likely each token is, and what [`Blend::learn`] needs to know of that.
    pub(super) fn likelihoods(&self, evidence: &Evidence) -> (Vec<f64>, Scales) {
        let ways: Vec<Way> = ways(self.latest).collect();
        let said: Vec<Option<(Vec<f64>, Scale)>> =
            ways.into_par_iter().map(|way| evidence.probabilities(way)).collect();
        let mut likelihoods = vec![0.0; evidence.expectation.len()];
        for (said, trust) in said.iter().zip(&self.trust) {
            let shares = said.iter().flat_map(|(shares, _)| shares);
            likelihoods.iter_mut().zip(shares).for_each(|(sum, share)| *sum += trust * share);
        }
        (likelihoods, said.iter().map(|said| said.as_ref().map(|(_, scale)| *scale)).collect())
    }

    /// Trusts more what made the token expected that was found, of the evidence as it was weighed last.
    pub(super) fn learn(&mut self, evidence: &Evidence, scales: &Scales, found: u32) {
        if evidence.directions[self.latest as usize].is_none() {
            return;
        }
        let said = ways(self.latest)
            .zip(scales)
            .map(|(way, scale)| scale.map_or(0.0, |scale| evidence.probability(way, scale, found as usize)));
        credit(&mut self.trust, said);
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    /// Eight tokens, of which the model expects the first and the direction points to the last.
    fn two_minds() -> Evidence {
        let mut evidence = Evidence::new(vec![4.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
        evidence.take_up(Guess::Remembered, vec![0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.1, 0.9]);
        evidence
    }

    fn first(likelihoods: &[f64]) -> usize {
        (0..likelihoods.len()).max_by(|a, b| likelihoods[*a].total_cmp(&likelihoods[*b])).unwrap()
    }

    #[test]
    fn what_foretold_the_tokens_found_is_trusted() {
        let evidence = two_minds();
        for found in [0, 7] {
            let mut blend = Blend::of(Guess::Remembered);
            let (_, scales) = blend.likelihoods(&evidence);
            (0..40).for_each(|_| blend.learn(&evidence, &scales, found));
            assert_eq!(first(&blend.likelihoods(&evidence).0), found as usize);
        }
    }

    #[test]
    fn likelihoods_are_the_mean_over_the_ways_weighed_by_trust() {
        let evidence = two_minds();
        let blend = Blend::of(Guess::Remembered);
        let (likelihoods, scales) = blend.likelihoods(&evidence);
        let all: f64 = likelihoods.iter().sum();
        assert_relative_eq!(all, AT_FIRST * ways(Guess::Remembered).count() as f64, max_relative = 1e-12);
        // By hand: the expectation alone, one of five ways.
        let (alone, _) = evidence.probabilities(Way { expected: 1.0, directed: None }).unwrap();
        assert_relative_eq!(
            alone[0],
            4.0_f64.exp() / (4.0_f64.exp() + 6.0 * 1.0_f64.exp() + 1.0),
            max_relative = 1e-12
        );
        // Token by token it is the same.
        let of_seven: f64 = ways(Guess::Remembered)
            .zip(scales)
            .map(|(way, scale)| AT_FIRST * evidence.probability(way, scale.unwrap(), 7))
            .sum();
        assert_relative_eq!(of_seven, likelihoods[7], max_relative = 1e-12);
    }

    #[test]
    fn the_unit_of_nearness_does_not_matter() {
        let evidence = two_minds();
        let mut scaled = Evidence::new(evidence.expectation.clone());
        scaled.take_up(Guess::Remembered, vec![11.0, 12.0, 11.0, 12.0, 11.0, 12.0, 11.0, 19.0]);
        let blend = Blend::of(Guess::Remembered);
        for (a, b) in blend.likelihoods(&evidence).0.iter().zip(blend.likelihoods(&scaled).0) {
            assert_relative_eq!(*a, b, max_relative = 1e-9);
        }
    }

    #[test]
    fn a_guess_that_was_not_made_says_nothing_and_teaches_nothing() {
        let evidence = two_minds();
        let mut blend = Blend::of(Guess::Nearby);
        let (before, scales) = blend.likelihoods(&evidence);
        assert_relative_eq!(before.iter().sum::<f64>(), AT_FIRST * 5.0, max_relative = 1e-12);
        blend.learn(&evidence, &scales, 7);
        assert_eq!(blend.likelihoods(&evidence).0, before);
    }

    #[test]
    fn tokens_that_all_lie_alike_are_told_apart_by_expectation_only() {
        let mut evidence = Evidence::new(vec![0.0, 2.0, 1.0]);
        evidence.take_up(Guess::Remembered, vec![3.0; 3]);
        let (likelihoods, _) = Blend::of(Guess::Remembered).likelihoods(&evidence);
        assert_eq!(first(&likelihoods), 1);
        assert!(likelihoods.iter().all(|likelihood| likelihood.is_finite()));
    }
}
