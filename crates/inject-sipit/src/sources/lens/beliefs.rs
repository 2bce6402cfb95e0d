//! Probabilities of tokens at open positions, from a lens, the settled tokens and the drafts so far.
//!
//! A lens has up to three rankings of a position: by its state and the model's own expectation, by the state alone, and by the
//! expectation alone. Each is the best in some cases. The state alone is best in a prompt that the model does not expect. The
//! expectation is best if a state is far from the states of its token in other contexts, which happens to one ordinary token in
//! fifty in the deepest blocks. So a token's probability is the mean over the rankings, weighted by how well each of them
//! predicted the tokens settled so far. If a draft has computed the token's distance, the probability is multiplied by a factor
//! from it.

use crate::{
    collisions::Ranked,
    lens::Shortlist,
    median::median,
    sources::{OpenPosition, Provisional, trust::credit},
    tuning::{
        DISTANCE_MIDDLE, DISTANCE_MOST_ODDS, DISTANCE_STEEPNESS, EVIDENCE_TRUST, PROBABILITY_OF_STRANGER,
        PROBABILITY_UNLISTED,
    },
};

/// The tokens of a position with their probabilities, most likely first. The sum is less than one, because the right token may be
/// on no list.
pub(super) type Belief = Vec<(u32, f64)>;

/// The short lists of all positions of one prompt.
#[derive(Clone, Debug)]
pub(super) struct Shortlists {
    /// For each kind of evidence that the lens has, one list for each position.
    pub(super) by_evidence: Vec<Vec<Shortlist>>,
}

impl Shortlists {
    /// Returns the trust in each kind of evidence, based on its predictions at the settled positions. The trusts sum to one.
    pub(super) fn trust(&self, settled: &[u32]) -> Vec<f64> {
        let mut trust = EVIDENCE_TRUST[..self.by_evidence.len()].to_vec();
        for (position, id) in settled.iter().enumerate() {
            let predicted = |lists: &Vec<Shortlist>| {
                let place = lists[position].iter().position(|(listed, _)| listed == id);
                place.map_or(0.0, |place| shares(&lists[position])[place])
            };
            credit(&mut trust, self.by_evidence.iter().map(predicted));
        }
        let all: f64 = trust.iter().sum();
        trust.into_iter().map(|trust| trust / all).collect()
    }

    /// Returns the belief about a position based on its lists alone.
    pub(super) fn belief(&self, position: usize, trust: &[f64]) -> Belief {
        let mut belief = Belief::new();
        for (lists, trust) in self.by_evidence.iter().zip(trust) {
            let list = &lists[position];
            for ((id, _), share) in list.iter().zip(shares(list)) {
                *probability_of(&mut belief, *id, 0.0) += trust * share;
            }
        }
        sorted(belief)
    }

    /// Returns the belief about every open position. At the first of them, tokens that were tested are left out.
    pub(super) fn beliefs(&self, at: &OpenPosition<'_>, seen: &Provisional) -> Vec<Belief> {
        let (begin, trust) = (at.position(), self.trust(at.prefix));
        let wrong = distance_of_wrong_tokens(seen);
        let of_position = |position: usize| {
            let mut belief = self.belief(position, &trust);
            if position == begin {
                belief.retain(|(id, _)| !at.tested.contains(*id));
            } else if let Some(wrong) = wrong {
                let seen = seen.at(position);
                for (place, measured) in seen.iter().enumerate() {
                    *probability_of(&mut belief, measured.id, PROBABILITY_OF_STRANGER) *=
                        nearness(seen, place, wrong);
                }
            }
            let all = belief.iter().map(|(_, probability)| probability).sum::<f64>() + PROBABILITY_UNLISTED;
            belief.iter_mut().for_each(|(_, probability)| *probability /= all);
            sorted(belief)
        };
        (begin..at.target().positions()).map(of_position).collect()
    }
}

/// Returns the likelihood ratio of a token's distance after a draft: how much more likely the distance is for a right token than
/// for a wrong one.
///
/// The distance is compared with those of the other tokens computed at the position, and with the distances of wrong tokens
/// elsewhere.
fn nearness(seen: &[Ranked], place: usize, wrong: f64) -> f64 {
    let others = seen.iter().enumerate().filter(|(other, _)| *other != place);
    let logs: f64 = others.map(|(_, other)| other.distance.ln()).sum();
    let beside = ((logs + wrong.ln()) / seen.len() as f64).exp();
    let odds = (DISTANCE_MIDDLE * beside / seen[place].distance).powf(DISTANCE_STEEPNESS);
    if odds.is_nan() { 1.0 } else { odds.clamp(1.0 / DISTANCE_MOST_ODDS, DISTANCE_MOST_ODDS) }
}

/// Returns the typical distance of a wrong token: the median distance of the second nearest token, over the positions at which
/// several tokens were computed.
fn distance_of_wrong_tokens(provisional: &Provisional) -> Option<f64> {
    let mut second: Vec<f64> =
        provisional.iter().filter_map(|(_, seen)| Some(seen.get(1)?.distance)).collect();
    (!second.is_empty()).then(|| median(&mut second))
}

/// Returns the probability of a token. If the token is not listed, it is added with probability `new`.
fn probability_of(belief: &mut Belief, id: u32, new: f64) -> &mut f64 {
    let place = belief.iter().position(|(listed, _)| *listed == id).unwrap_or_else(|| {
        belief.push((id, new));
        belief.len() - 1
    });
    &mut belief[place].1
}

fn sorted(mut belief: Belief) -> Belief {
    belief.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    belief
}

/// Returns the probability of each token of a list, given that the right one is on it.
fn shares(list: &Shortlist) -> Vec<f64> {
    let best = list.first().map_or(0.0, |(_, score)| *score);
    let weights: Vec<f64> = list.iter().map(|(_, score)| f64::from(score - best).exp()).collect();
    let all: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(distances: &[f64]) -> Vec<Ranked> {
        distances.iter().enumerate().map(|(id, &distance)| Ranked { id: id as u32, distance }).collect()
    }

    /// Returns lists for two kinds of evidence, each of which is confident of a different token at every position.
    fn two_minds(positions: usize) -> Shortlists {
        let of = |id: u32| vec![vec![(id, 0.0), (90 + id, -5.0)]; positions];
        Shortlists { by_evidence: vec![of(1), of(2)] }
    }

    #[test]
    fn evidence_that_predicted_the_settled_tokens_is_trusted() {
        let lists = two_minds(9);
        let first = |settled: &[u32]| lists.belief(8, &lists.trust(settled))[0].0;
        assert_eq!(first(&[]), 1);
        assert_eq!(first(&[1, 1]), 1);
        assert_eq!(first(&[2; 8]), 2);
        // A token that neither predicted changes nothing.
        assert_eq!(lists.trust(&[7; 8]), lists.trust(&[]));
        for settled in [&[][..], &[1, 2, 7], &[2; 8]] {
            assert!((lists.trust(settled).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_token_on_several_lists_has_the_sum_of_its_shares() {
        let list = vec![(3, 0.0), (4, -1.0)];
        let lists = Shortlists { by_evidence: vec![vec![list.clone()]; 2] };
        let belief = lists.belief(0, &[0.75, 0.25]);
        let share = 1.0 / (1.0 + (-1.0_f64).exp());
        assert_eq!(belief.len(), 2);
        assert!((belief[0].1 - share).abs() < 1e-12 && (belief[1].1 - (1.0 - share)).abs() < 1e-12);
    }

    #[test]
    fn a_token_much_nearer_than_the_others_is_likely_right_and_one_among_many_is_not() {
        let odds = |distances: &[f64], place: usize| nearness(&ranked(distances), place, 10.0);
        assert!(odds(&[3.0, 10.0, 11.0], 0) > 10.0);
        assert!(odds(&[3.0, 10.0, 11.0], 1) < 0.5);
        // Near, but so are the others.
        assert!(odds(&[3.0, 3.1, 3.2, 3.3], 0) < 1.0);
        // Alone it is compared with wrong tokens elsewhere.
        assert!(odds(&[3.0], 0) > 10.0 && odds(&[12.0], 0) < 0.1);
        // If no ratio of distances can be formed, the odds are even or the largest possible.
        assert_eq!(odds(&[0.0], 0), 1e4);
        assert_eq!(nearness(&ranked(&[0.0, 0.0]), 0, 0.0), 1.0);
    }
}
