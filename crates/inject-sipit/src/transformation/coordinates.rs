//! Coordinates in unknown order, as far as settled states show it.

use std::sync::Arc;

/// The order of permuted coordinates, as far as it is known: groups of given coordinates, each beside the coordinates of the model that
/// they are in some order.
///
/// Sorting the values of two states within a group moves them no farther apart. So states can be compared before the order is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinates {
    groups: Arc<Vec<Group>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Group {
    given: Vec<usize>,
    /// Ordered by the values of the state that was settled last.
    own: Vec<usize>,
}

impl Coordinates {
    /// Creates an order of `width` coordinates of which nothing is known.
    pub(crate) fn unknown(width: usize) -> Self {
        let all: Vec<usize> = (0..width).collect();
        Coordinates { groups: Arc::new(vec![Group { given: all.clone(), own: all }]) }
    }

    /// Returns the coordinate of the model that each given coordinate is, where that is known.
    pub fn known(&self) -> Vec<Option<usize>> {
        let width = self.groups.iter().map(|group| group.given.len()).sum();
        let mut known = vec![None; width];
        for group in self.groups.iter() {
            if let ([given], [own]) = (&group.given[..], &group.own[..]) {
                known[*given] = Some(*own);
            }
        }
        known
    }

    /// Returns the number of coordinates whose place is not known.
    pub(crate) fn unresolved(&self) -> usize {
        self.groups.iter().map(|group| group.given.len()).filter(|&size| size > 1).sum()
    }

    /// Divides the groups by a settled position: its state as given, and as the model computes it. The two differ by at most `bound`
    /// in each coordinate.
    ///
    /// Where two neighbouring values of the model lie more than twice that apart, the given values below and above are as many.
    pub(crate) fn refined(&self, given: &[f64], own: &[f64], bound: f64) -> Self {
        let mut groups = Vec::new();
        for group in self.groups.iter() {
            let (mut from, mut to) = (group.given.clone(), group.own.clone());
            from.sort_by(|&a, &b| given[a].total_cmp(&given[b]));
            to.sort_by(|&a, &b| own[a].total_cmp(&own[b]));
            let mut begin = 0;
            for end in 1..=to.len() {
                if end == to.len() || own[to[end]] - own[to[end - 1]] > 2.0 * bound {
                    let (given, own) = (from[begin..end].to_vec(), to[begin..end].to_vec());
                    groups.push(Group { given, own });
                    begin = end;
                }
            }
        }
        Coordinates { groups: Arc::new(groups) }
    }

    /// Puts the values of a given state in the order of the model's coordinates, within each group in order of their size.
    pub(crate) fn restored(&self, given: &[f64]) -> Vec<f64> {
        let mut own = vec![0.0; given.len()];
        for group in self.groups.iter() {
            let mut values: Vec<f64> = group.given.iter().map(|&at| given[at]).collect();
            values.sort_by(f64::total_cmp);
            group.own.iter().zip(values).for_each(|(&at, value)| own[at] = value);
        }
        own
    }

    /// Puts the largest value of each group at all of its coordinates.
    pub(crate) fn largest(&self, given: &[f64]) -> Vec<f64> {
        let mut own = vec![0.0; given.len()];
        for group in self.groups.iter() {
            let largest = group.given.iter().map(|&at| given[at]).fold(0.0, f64::max);
            group.own.iter().for_each(|&at| own[at] = largest);
        }
        own
    }

    /// Sorts the values of a state of the model within each group.
    pub(crate) fn sort(&self, state: &mut [f64]) {
        for group in self.groups.iter().filter(|group| group.own.len() > 1) {
            let mut values: Vec<f64> = group.own.iter().map(|&at| state[at]).collect();
            values.sort_by(f64::total_cmp);
            group.own.iter().zip(values).for_each(|(&at, value)| state[at] = value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collisions::distance;

    #[test]
    fn distinct_values_tell_the_order_and_near_ones_do_not() {
        let unknown = Coordinates::unknown(4);
        assert_eq!((unknown.unresolved(), unknown.known()), (4, vec![None; 4]));
        // The model's coordinates 0 and 3 are nearly equal.
        let (given, own) = ([5.0, 1.0, 1.01, -2.0], [1.0, -2.0, 5.0, 1.01]);
        let once = unknown.refined(&given, &own, 0.1);
        assert_eq!(once.known(), [Some(2), None, None, Some(1)]);
        let twice = once.refined(&[0.0, 7.0, 3.0, 0.0], &[7.0, 0.0, 0.0, 3.0], 0.1);
        assert_eq!(twice.known(), [Some(2), Some(0), Some(3), Some(1)]);
        assert_eq!(twice.restored(&[10.0, 20.0, 30.0, 40.0]), [20.0, 40.0, 10.0, 30.0]);
    }

    proptest! {
        #[test]
        fn noise_within_the_bound_never_tells_a_wrong_order(
            values in proptest::collection::vec((-9.0_f64..9.0, -0.5_f64..0.5), 2..30),
            step in 1_usize..7,
        ) {
            let width = values.len();
            let own: Vec<f64> = values.iter().map(|(value, _)| *value).collect();
            // A rotation, which is a permutation.
            let to = |at: usize| (at + step) % width;
            let given: Vec<f64> = (0..width).map(|at| own[to(at)] + values[at].1).collect();
            let refined = Coordinates::unknown(width).refined(&given, &own, 0.5);
            for (at, known) in refined.known().into_iter().enumerate() {
                prop_assert!(known.is_none_or(|known| known == to(at)));
            }
            // The restored state is no farther from the sorted one than before.
            let mut sorted = own.clone();
            refined.sort(&mut sorted);
            let permuted: Vec<f64> = (0..width).map(|at| own[to(at)]).collect();
            let rounding = 1e-12;
            prop_assert!(distance(&refined.restored(&given), &sorted) <= distance(&given, &permuted) + rounding);
        }
    }
}
