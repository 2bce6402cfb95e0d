//! The probability of a token, from the model's expectation and the direction of its embedding together.
//!
//! Each is better in some cases. The expectation is better if a state is far from the one that its token's embedding predicts,
//! which happens to some ordinary tokens in the deepest blocks. The direction is better if the model does not expect the text.
//! The quality of a direction depends on the depth and on the source of the guess. So a token's probability is the mean over
//! several ways of weighing the two, and each way counts in proportion to its predictions of the tokens found so far.

use rayon::prelude::*;

use crate::{
    sources::trust::credit,
    tuning::{BLEND_ALONE, BLEND_TRUST, BLEND_WEIGHTS},
};

/// The source of a guessed embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guess {
    /// The map fitted to earlier positions.
    Remembered,
    /// The candidates tested near the given state.
    Nearby,
    /// The candidates sampled from the whole vocabulary.
    Everywhere,
    /// The gradients at tested candidates.
    PulledBack,
}

impl Guess {
    pub(super) const KINDS: usize = 4;
    pub(super) const ALL: [Guess; Self::KINDS] =
        [Guess::Remembered, Guess::Nearby, Guess::Everywhere, Guess::PulledBack];
}

/// The evidence for the tokens of one position.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// The logarithm of each token's probability by the model, up to a constant.
    expectation: Vec<f64>,
    /// The nearness of each token's embedding to the direction of each kind of guess, in standard deviations from the mean of
    /// all tokens.
    directions: [Option<Vec<f64>>; Guess::KINDS],
}

/// The trust in each way of weighing, if there are guesses up to the kind `latest`.
#[derive(Clone, Debug)]
pub(super) struct Blend {
    latest: Guess,
    trust: Vec<f64>,
}

/// A way of weighing: the expectation alone, or a direction with its weight, with or without the expectation.
#[derive(Clone, Copy, Debug)]
struct Way {
    expected: f64,
    directed: Option<(Guess, f64)>,
}

/// One blend for each kind of guess.
#[derive(Clone, Debug)]
pub(super) struct Blends([Blend; Guess::KINDS]);

impl Default for Blends {
    fn default() -> Self {
        Blends(Guess::ALL.map(Blend::of))
    }
}

impl Blends {
    /// Returns the blend of guesses up to this kind.
    pub(super) fn of(&self, latest: Guess) -> &Blend {
        &self.0[latest as usize]
    }

    /// Returns a mutable reference to that blend, to learn from a token found.
    pub(super) fn of_mut(&mut self, latest: Guess) -> &mut Blend {
        &mut self.0[latest as usize]
    }
}

fn ways(latest: Guess) -> impl Iterator<Item = Way> {
    let alone = Way { expected: 1.0, directed: None };
    let by_guess = Guess::ALL.into_iter().filter(move |guess| *guess <= latest).flat_map(|guess| {
        let both = BLEND_WEIGHTS.map(|weight| Way { expected: 1.0, directed: Some((guess, weight)) });
        both.into_iter().chain([Way { expected: 0.0, directed: Some((guess, BLEND_ALONE)) }])
    });
    std::iter::once(alone).chain(by_guess)
}

impl Evidence {
    /// Creates evidence from the expectation of the model, without a guess.
    pub(super) fn new(expectation: Vec<f64>) -> Self {
        Evidence { expectation, directions: Default::default() }
    }

    /// Adds a guess, given as the nearness of all tokens in any unit.
    pub(super) fn add_guess(&mut self, guess: Guess, nearness: Vec<f64>) {
        let n = nearness.len().max(1) as f64;
        let mean = nearness.iter().sum::<f64>() / n;
        let deviation = (nearness.iter().map(|near| (near - mean).powi(2)).sum::<f64>() / n).sqrt();
        let unit = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
        self.directions[guess as usize] =
            Some(nearness.into_iter().map(|near| (near - mean) * unit).collect());
    }

    /// Returns the direction used by a way of weighing, and its weight. Returns `None` if the guess was not made.
    fn directed(&self, way: Way) -> Option<(&[f64], f64)> {
        match way.directed {
            None => Some((&[], 0.0)),
            Some((guess, weight)) => Some((self.directions[guess as usize].as_deref()?, weight)),
        }
    }

    /// Returns all tokens' probabilities by a way of weighing, and their scale. Returns `None` if its guess was not made.
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

    /// Returns one token's probability, given the scale of all.
    fn probability(&self, way: Way, scale: Scale, id: usize) -> f64 {
        let (direction, weight) = self.directed(way).unwrap_or_default();
        let directed = direction.get(id).map_or(0.0, |direction| weight * direction);
        (way.expected * self.expectation[id] + directed - scale.largest).exp() / scale.sum
    }
}

/// The scale that turns scores into probabilities: the largest score, and the sum of all exponentials relative to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    largest: f64,
    sum: f64,
}

/// The scale of each way of weighing, if its guess was made.
pub(super) type Scales = Vec<Option<Scale>>;

impl Blend {
    /// Returns the blend of guesses up to this kind, with equal trust.
    pub(super) fn of(latest: Guess) -> Self {
        Blend { latest, trust: ways(latest).map(|_| BLEND_TRUST).collect() }
    }

    /// Returns the likelihood of each token, and the scales that [`Blend::learn`] needs.
    pub(super) fn likelihoods(&self, evidence: &Evidence) -> (Vec<f64>, Scales) {
        let ways: Vec<Way> = ways(self.latest).collect();
        let predicted: Vec<Option<(Vec<f64>, Scale)>> =
            ways.into_par_iter().map(|way| evidence.probabilities(way)).collect();
        let mut likelihoods = vec![0.0; evidence.expectation.len()];
        for (predicted, trust) in predicted.iter().zip(&self.trust) {
            let shares = predicted.iter().flat_map(|(shares, _)| shares);
            likelihoods.iter_mut().zip(shares).for_each(|(sum, share)| *sum += trust * share);
        }
        (likelihoods, predicted.iter().map(|predicted| predicted.as_ref().map(|(_, scale)| *scale)).collect())
    }

    /// Increases the trust in the ways of weighing that predicted the token found.
    pub(super) fn learn(&mut self, evidence: &Evidence, scales: &Scales, found: u32) {
        if evidence.directions[self.latest as usize].is_none() {
            return;
        }
        let predicted = ways(self.latest)
            .zip(scales)
            .map(|(way, scale)| scale.map_or(0.0, |scale| evidence.probability(way, scale, found as usize)));
        credit(&mut self.trust, predicted);
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    /// Returns evidence for eight tokens. The model expects the first, and the direction points to the last.
    fn two_minds() -> Evidence {
        let mut evidence = Evidence::new(vec![4.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
        evidence.add_guess(Guess::Remembered, vec![0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.1, 0.9]);
        evidence
    }

    fn first(likelihoods: &[f64]) -> usize {
        (0..likelihoods.len()).max_by(|a, b| likelihoods[*a].total_cmp(&likelihoods[*b])).unwrap()
    }

    #[test]
    fn ways_that_predicted_the_found_tokens_are_trusted() {
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
        assert_relative_eq!(all, BLEND_TRUST * ways(Guess::Remembered).count() as f64, max_relative = 1e-12);
        // Computed by hand: the expectation alone, which is one of five ways.
        let (alone, _) = evidence.probabilities(Way { expected: 1.0, directed: None }).unwrap();
        assert_relative_eq!(
            alone[0],
            4.0_f64.exp() / (4.0_f64.exp() + 6.0 * 1.0_f64.exp() + 1.0),
            max_relative = 1e-12
        );
        // The sum over single tokens is the same.
        let of_seven: f64 = ways(Guess::Remembered)
            .zip(scales)
            .map(|(way, scale)| BLEND_TRUST * evidence.probability(way, scale.unwrap(), 7))
            .sum();
        assert_relative_eq!(of_seven, likelihoods[7], max_relative = 1e-12);
    }

    #[test]
    fn the_unit_of_nearness_does_not_matter() {
        let evidence = two_minds();
        let mut scaled = Evidence::new(evidence.expectation.clone());
        scaled.add_guess(Guess::Remembered, vec![11.0, 12.0, 11.0, 12.0, 11.0, 12.0, 11.0, 19.0]);
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
        assert_relative_eq!(before.iter().sum::<f64>(), BLEND_TRUST * 5.0, max_relative = 1e-12);
        blend.learn(&evidence, &scales, 7);
        assert_eq!(blend.likelihoods(&evidence).0, before);
    }

    #[test]
    fn equally_near_tokens_are_ranked_by_expectation_alone() {
        let mut evidence = Evidence::new(vec![0.0, 2.0, 1.0]);
        evidence.add_guess(Guess::Remembered, vec![3.0; 3]);
        let (likelihoods, _) = Blend::of(Guess::Remembered).likelihoods(&evidence);
        assert_eq!(first(&likelihoods), 1);
        assert!(likelihoods.iter().all(|likelihood| likelihood.is_finite()));
    }
}
