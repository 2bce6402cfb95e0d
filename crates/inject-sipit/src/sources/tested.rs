//! The candidates tested at one position.

use std::{cmp::Ordering, collections::HashMap};

use crate::{
    collisions::{Ranked, Ranking},
    tuning::{NEAREST_KEPT, SAMPLE_REMEASURED, STATES_KEPT},
    yardstick::{Measured, Yardstick},
};

/// The candidates tested at one position after one prefix, with their distances.
#[derive(Clone, Debug)]
pub struct Tested {
    ranking: Ranking,
    fitting: Vec<Ranked>,
    /// Whether more candidates fit than are kept.
    more_fit: bool,
    /// For each tested token, the number of tokens tested before it.
    places: HashMap<u32, usize>,
    /// The states of the candidates that the ranking keeps.
    near_states: HashMap<u32, Vec<f64>>,
    sample: Vec<(u32, Vec<f64>)>,
}

impl Tested {
    /// Creates an empty set of candidates.
    pub(crate) fn new() -> Self {
        Tested {
            ranking: Ranking::keeping(NEAREST_KEPT),
            fitting: Vec::new(),
            more_fit: false,
            places: HashMap::new(),
            near_states: HashMap::new(),
            sample: Vec::new(),
        }
    }

    /// Records a candidate that was not tested before: its distance from the given state, and whether it fits.
    pub(crate) fn compare(&mut self, id: u32, state: &[f64], yardstick: &Yardstick, wanted: &[f64]) {
        let Measured { distance, fits } = yardstick.measure(state, wanted);
        self.places.entry(id).or_insert(self.ranking.tested());
        self.ranking.push(id, distance);
        let kept = |id: u32| self.ranking.kept().iter().any(|ranked| ranked.id == id);
        if kept(id) {
            self.near_states.insert(id, state.to_vec());
            self.near_states.retain(|&id, _| kept(id));
        }
        if self.sample.len() < STATES_KEPT {
            self.sample.push((id, state.to_vec()));
        }
        if fits {
            self.fitting.push(Ranked { id, distance });
            self.fitting.sort_by(nearest_first);
            self.drop_far(yardstick);
            self.more_fit |= self.fitting.len() > NEAREST_KEPT;
            self.fitting.truncate(NEAREST_KEPT);
        }
    }

    /// Records a candidate that was not tested before, that does not fit, and that is farther away than those that are kept once its
    /// whole batch is compared.
    pub(crate) fn pass_over(&mut self, id: u32) {
        self.places.entry(id).or_insert(self.ranking.tested());
        self.ranking.pass_over();
    }

    /// Compares the nearest candidates again by a yardstick with a wider floor, if none fitted.
    pub(crate) fn remeasure(&mut self, yardstick: &Yardstick, wanted: &[f64]) {
        if !self.fitting.is_empty() {
            return;
        }
        let kept = self.ranking.kept().iter();
        self.fitting = kept
            .filter_map(|ranked| {
                let measured = yardstick.measure(&self.near_states[&ranked.id], wanted);
                measured.fits.then_some(Ranked { id: ranked.id, distance: measured.distance })
            })
            .collect();
        self.fitting.sort_by(nearest_first);
        self.drop_far(yardstick);
        // A wider floor reduces no coordinate's weight, so a candidate that is not kept is no nearer than the last kept one.
        self.more_fit |= !self.fitting.is_empty() && self.others_within(yardstick.floor(wanted));
    }

    /// Removes candidates that fit, but are much farther away than the nearest. Those that are not kept are farther away than all kept ones.
    fn drop_far(&mut self, yardstick: &Yardstick) {
        let nearest = self.fitting.first().map(|nearest| nearest.distance);
        if let (Some(ratio), Some(nearest)) = (yardstick.ratio(), nearest) {
            let before = self.fitting.len();
            self.fitting.retain(|ranked| ranked.distance <= ratio * nearest);
            self.more_fit &= self.fitting.len() == before;
        }
    }

    /// Compares the candidates whose states are kept again by another yardstick. The other candidates count as not tested.
    pub(crate) fn again(&self, yardstick: &Yardstick, wanted: &[f64]) -> Self {
        let mut again = Tested::new();
        let mut near: Vec<(u32, Vec<f64>)> = self.near_states.clone().into_iter().collect();
        near.sort_by_key(|(id, _)| *id);
        for (id, state) in self.sample.iter().chain(&near) {
            if !again.contains(*id) {
                again.compare(*id, state, yardstick, wanted);
            }
        }
        again
    }

    /// Returns whether one of the nearest candidates, or of the first, fits by another yardstick.
    pub(crate) fn any_fits(&self, yardstick: &Yardstick, wanted: &[f64]) -> bool {
        let sample = self.sample.iter().take(SAMPLE_REMEASURED).map(|(_, state)| state);
        self.near_states.values().chain(sample).any(|state| yardstick.measure(state, wanted).fits)
    }

    /// Returns whether candidates that were not kept may be within a radius. This is possible if all kept ones are.
    pub(crate) fn others_within(&self, radius: f64) -> bool {
        let kept = self.ranking.kept();
        self.len() > kept.len() && kept.last().is_some_and(|last| last.distance <= radius)
    }

    /// Returns the number of candidates tested before this one.
    pub(crate) fn place(&self, id: u32) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// Returns whether a token was tested.
    pub fn contains(&self, id: u32) -> bool {
        self.places.contains_key(&id)
    }

    /// Returns the tested tokens, in arbitrary order.
    #[cfg(feature = "gradient")]
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.places.keys().copied()
    }

    /// Returns the number of tested tokens.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns `true` if no candidate was tested.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the ranking of the candidates by distance.
    pub fn ranking(&self) -> &Ranking {
        &self.ranking
    }

    /// Returns the candidates that fit the state, nearest first, at most 16.
    pub fn fitting(&self) -> &[Ranked] {
        &self.fitting
    }

    /// Returns whether more candidates fit than [`Tested::fitting`] returns.
    pub(crate) fn more_fit(&self) -> bool {
        self.more_fit
    }

    /// Returns the first 8,192 candidates whose states were read, in the order of testing. A GPU compares large batches by itself, and
    /// only the nearest of those are read.
    ///
    /// # Shapes
    ///
    /// Each state: `[d_model]`, f64.
    pub fn sample(&self) -> &[(u32, Vec<f64>)] {
        &self.sample
    }

    /// Returns the nearest candidate and its state.
    pub(crate) fn nearest(&self) -> Option<(Ranked, &[f64])> {
        let nearest = self.ranking.nearest()?;
        Some((nearest, &self.near_states[&nearest.id]))
    }
}

fn nearest_first(a: &Ranked, b: &Ranked) -> Ordering {
    a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id))
}

#[cfg(test)]
mod tests {
    use crate::models::{FloatFormat, Tap};
    use ndarray::Array2;

    use super::*;
    use crate::{Acceptance, NoiseModel, TargetStates};

    /// Returns the yardstick at a state, if two computations of a candidate were `seen` apart, where it was examined.
    fn yardstick(state: &[f64], dtype: FloatFormat, seen: Option<f64>) -> Yardstick {
        let states = Array2::from_shape_vec((1, state.len()), state.to_vec()).unwrap();
        let target = TargetStates::new(states, Tap::Block(1), dtype).unwrap();
        Yardstick::new(Acceptance::default(), &NoiseModel::exactly(1e-9), &target, 0, seen)
    }

    /// Tests candidates at these distances from a state along its second coordinate, first by the state's own yardstick, then by a
    /// wider one.
    fn compared_again(state: &[f64], dtype: FloatFormat, away: &[f64], seen: f64) -> (Tested, f64) {
        let mut tested = Tested::new();
        let first = yardstick(state, dtype, None);
        for (id, away) in (0..).zip(away) {
            let mut candidate = state.to_vec();
            candidate[1] += away;
            tested.compare(id, &candidate, &first, state);
        }
        assert!(tested.fitting().is_empty(), "{tested:?}");
        let wider = yardstick(state, dtype, Some(seen));
        tested.remeasure(&wider, state);
        (tested, wider.floor(state))
    }

    fn ids(fitting: &[Ranked]) -> Vec<u32> {
        fitting.iter().map(|ranked| ranked.id).collect()
    }

    #[test]
    fn every_candidate_within_a_wider_floor_is_named() {
        // The floor becomes 32 * 0.00025.
        let (tested, floor) =
            compared_again(&[1.0, 1.0], FloatFormat::F64, &[0.007, 0.009, 0.002, 0.5, 0.003], 0.000_25);
        assert!((floor - 0.008).abs() < 1e-6, "{floor}");
        assert_eq!(ids(tested.fitting()), [2, 4, 0]);
        assert!(!tested.more_fit());
        assert_eq!(tested.nearest().map(|(nearest, _)| nearest.id), Some(2));
    }

    #[test]
    fn more_may_fit_if_all_kept_candidates_do() {
        let away = |count: usize| -> Vec<f64> { (0..count).map(|i| 0.002 + 1e-4 * i as f64).collect() };
        let fitting = |away: &[f64]| {
            let (tested, _) = compared_again(&[1.0, 1.0], FloatFormat::F64, away, 0.000_25);
            (tested.fitting().len(), tested.more_fit())
        };
        assert_eq!(fitting(&away(16)), (16, false), "there are no other candidates");
        assert_eq!(fitting(&away(17)), (16, true));
        assert_eq!(fitting(&[away(15), vec![0.5; 9]].concat()), (15, false));
    }

    #[test]
    fn a_candidate_within_the_floor_by_the_old_weights_alone_does_not_fit() {
        // A bf16 coordinate of 20,000 is imprecise and counts little. Under a wider floor it counts more again.
        let mut state = [0.5; 8];
        state[0] = 20_000.0;
        let (wanted, dtype) = (&state[..], FloatFormat::Bf16);
        let moved = |away: f64| [&[20_000.0 + away][..], &state[1..]].concat();
        let (first, wider) = (yardstick(wanted, dtype, None), yardstick(wanted, dtype, Some(0.125)));
        let (near, far) = (moved(230.0), moved(800.0));
        let mut tested = Tested::new();
        for (id, candidate) in [(7, &far), (8, &near)] {
            let measured = first.measure(candidate, wanted);
            assert!(!measured.fits && measured.distance <= wider.floor(wanted), "{measured:?}");
            tested.compare(id, candidate, &first, wanted);
        }
        tested.remeasure(&wider, wanted);
        let distance = wider.measure(&near, wanted).distance;
        assert_eq!(tested.fitting(), [Ranked { id: 8, distance }]);
    }
}
