//! What a lens, the tokens settled and the drafts so far make of the positions that are open.
//!
//! A lens has up to three rankings of a position: by its state and the model's own expectation, by the state alone, and by the
//! expectation alone. Each is best somewhere. The state alone is best in a prompt that is not what the model expects; the
//! expectation is best where a state lies far from all that its token has elsewhere, which happens to one ordinary token in fifty
//! of the deepest blocks. So a token's probability is the mean over the rankings, weighed by how well each of them foretold the
//! tokens settled so far, times what its distance says if a draft has computed it.

use inject_collisions::Ranked;

use crate::{Open, Provisional, lens::Shortlist, median::median, proposal::trust::credit};

/// Tokens of a position with their probabilities, the most likely first. They sum to less than one: a token may be on no list.
pub(super) type Belief = Vec<(u32, f64)>;

/// The shortlists of all positions of one prompt.
#[derive(Clone, Debug)]
pub(super) struct Shortlists {
    /// The prompt.
    pub(super) target: u64,
    /// One for each kind of evidence that the lens has, and there one for each position.
    pub(super) of_kind: Vec<Vec<Shortlist>>,
}

/// How many settled positions each kind of evidence counts for at the beginning, the best kind first.
const TRUST: [f64; 3] = [3.6, 0.2, 0.2];

/// The probability that a position's token is on none of its lists.
const UNLISTED: f64 = 0.02;

/// The probability of a token that a draft computed and no list has.
const STRANGER: f64 = 1e-4;

impl Shortlists {
    pub(super) fn positions(&self) -> usize {
        self.of_kind.first().map_or(0, Vec::len)
    }

    /// How much each kind of evidence is to be trusted, by what it said of the positions already settled. Sums to one.
    pub(super) fn trust(&self, settled: &[u32]) -> Vec<f64> {
        let mut trust = TRUST[..self.of_kind.len()].to_vec();
        for (position, id) in settled.iter().enumerate() {
            let said = |lists: &Vec<Shortlist>| {
                let place = lists[position].iter().position(|(listed, _)| listed == id);
                place.map_or(0.0, |place| shares(&lists[position])[place])
            };
            credit(&mut trust, self.of_kind.iter().map(said));
        }
        let all: f64 = trust.iter().sum();
        trust.into_iter().map(|trust| trust / all).collect()
    }

    /// What is believed of a position from its lists alone.
    pub(super) fn belief(&self, position: usize, trust: &[f64]) -> Belief {
        let mut belief = Belief::new();
        for (lists, trust) in self.of_kind.iter().zip(trust) {
            let list = &lists[position];
            for ((id, _), share) in list.iter().zip(shares(list)) {
                *probability_of(&mut belief, *id, 0.0) += trust * share;
            }
        }
        sorted(belief)
    }

    /// What is believed of every open position. What was tested at the first is out of the question there.
    pub(super) fn beliefs(&self, open: &Open<'_>) -> Vec<Belief> {
        let (begin, trust) = (open.prefix.len(), self.trust(open.prefix));
        let wrong = distance_of_wrong_tokens(open.provisional);
        let of_position = |position: usize| {
            let mut belief = self.belief(position, &trust);
            if position == begin {
                belief.retain(|(id, _)| !open.tested.contains(*id));
            } else if let Some(wrong) = wrong {
                let seen = open.provisional.at(position);
                for (place, measured) in seen.iter().enumerate() {
                    *probability_of(&mut belief, measured.id, STRANGER) *= nearness(seen, place, wrong);
                }
            }
            let all = belief.iter().map(|(_, probability)| probability).sum::<f64>() + UNLISTED;
            belief.iter_mut().for_each(|(_, probability)| *probability /= all);
            sorted(belief)
        };
        (begin..open.target.positions()).map(of_position).collect()
    }
}

/// How many times as likely a distance behind a draft is for a right token as for a wrong one.
///
/// It is compared with the distances of the other tokens computed at the position, and with what wrong tokens have elsewhere. At
/// the last block of SmolLM2-135M, behind some wrong tokens, right tokens have 0.4 times the distance of wrong ones in the median
/// and less than 0.85 times in nine cases of ten; wrong ones more than 0.6 times in nine of ten.
fn nearness(seen: &[Ranked], place: usize, wrong: f64) -> f64 {
    /// The share of a wrong token's distance at which nothing follows from it.
    const MIDDLE: f64 = 0.65;
    /// How fast the odds change with the logarithm of the distance.
    const STEEPNESS: f64 = 6.0;
    /// The odds at most.
    const MOST: f64 = 1e4;
    let others = seen.iter().enumerate().filter(|(other, _)| *other != place);
    let logs: f64 = others.map(|(_, other)| other.distance.ln()).sum();
    let beside = ((logs + wrong.ln()) / seen.len() as f64).exp();
    let odds = (MIDDLE * beside / seen[place].distance).powf(STEEPNESS);
    if odds.is_nan() { 1.0 } else { odds.clamp(1.0 / MOST, MOST) }
}

/// The distance that a wrong token has: the median, over the positions at which several tokens were computed, of the second nearest.
fn distance_of_wrong_tokens(provisional: &Provisional) -> Option<f64> {
    let mut second: Vec<f64> =
        provisional.iter().filter_map(|(_, seen)| Some(seen.get(1)?.distance)).collect();
    (!second.is_empty()).then(|| median(&mut second))
}

/// The probability of a token, which is listed with `new` if it was not.
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

/// The probability of each token of a list, if it is one of them.
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

    /// Two kinds of evidence, each sure of its own token at every position.
    fn two_minds(positions: usize) -> Shortlists {
        let of = |id: u32| vec![vec![(id, 0.0), (90 + id, -5.0)]; positions];
        Shortlists { target: 0, of_kind: vec![of(1), of(2)] }
    }

    #[test]
    fn what_foretold_the_settled_tokens_is_trusted() {
        let lists = two_minds(9);
        let first = |settled: &[u32]| lists.belief(8, &lists.trust(settled))[0].0;
        assert_eq!(first(&[]), 1);
        assert_eq!(first(&[1, 1]), 1);
        assert_eq!(first(&[2; 8]), 2);
        // What neither foretold speaks for neither.
        assert_eq!(lists.trust(&[7; 8]), lists.trust(&[]));
        for settled in [&[][..], &[1, 2, 7], &[2; 8]] {
            assert!((lists.trust(settled).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_token_on_several_lists_has_the_sum_of_its_shares() {
        let list = vec![(3, 0.0), (4, -1.0)];
        let lists = Shortlists { target: 0, of_kind: vec![vec![list.clone()]; 2] };
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
        // Distances that no ratio can be formed from say nothing, or all that may be said.
        assert_eq!(odds(&[0.0], 0), 1e4);
        assert_eq!(nearness(&ranked(&[0.0, 0.0]), 0, 0.0), 1.0);
    }
}
