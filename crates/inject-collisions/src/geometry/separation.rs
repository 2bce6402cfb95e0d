//! The distances between prompts, compared with those between their states.

use crate::answers::NearestNeighbours;

/// Returns the number of positions at which two prompts differ, counted from the front. Each position that only the longer prompt
/// has counts too.
///
/// For prompts of the same length it is the Hamming distance. It is zero only for equal prompts.
///
/// # Example
///
/// ```
/// use inject_collisions::geometry::prompt_distance;
///
/// assert_eq!(prompt_distance(&[1, 2, 3], &[1, 9, 3, 4]), 2);
/// ```
pub fn prompt_distance(a: &[u32], b: &[u32]) -> usize {
    let differing = a.iter().zip(b).filter(|(a, b)| a != b).count();
    differing + a.len().abs_diff(b.len())
}

/// A measure of how well the states at a tap separate different prompts.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Separation {
    /// The separation margin: the smallest distance between the states of two different prompts.
    pub margin: f64,
    /// An upper bound of the co-Lipschitz constant: the smallest ratio of the distance of two states to the [`prompt_distance`].
    /// Only pairs of a prompt and the prompt with the nearest state are considered.
    pub co_lipschitz: f64,
}

impl Separation {
    /// Computes both from the nearest neighbour of every row. `prompt` returns the token ids of a row. Returns `None` if no pair
    /// counts.
    ///
    /// # Source
    ///
    /// The two quantities and their estimation by nearest neighbours are from von Strauss, arXiv 2511.14808. The distance of
    /// prompts is ours.
    pub fn of<'a>(neighbours: &NearestNeighbours, prompt: impl Fn(usize) -> &'a [u32]) -> Option<Self> {
        let pairs =
            neighbours.nearest.iter().enumerate().filter_map(|(row, nearest)| Some((row, (*nearest)?)));
        let ratios = pairs.map(|(row, nearest)| {
            // Rows of equal prompts are not a pair, so the distance is at least one.
            nearest.distance / prompt_distance(prompt(row), prompt(nearest.row)).max(1) as f64
        });
        Some(Separation { margin: neighbours.minimum()?, co_lipschitz: ratios.min_by(f64::total_cmp)? })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;
    use crate::{Pairs, Search, SearchOptions, StateRows, models::silent};

    #[test]
    fn the_constant_divides_by_the_distance_of_the_prompts() {
        let prompts: [&[u32]; 3] = [&[1, 1, 1, 1], &[2, 2, 2, 2], &[3, 3, 3, 1]];
        let states = arr2(&[[0.0_f32], [2.0], [5.0]]);
        let rows = StateRows::new(states.view()).unwrap();
        let device = inject_testing::any_device();
        let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
        let neighbours = search.nearest_neighbours(&mut silent).unwrap();
        let found = Separation::of(&neighbours, |row| prompts[row]).unwrap();
        // Rows 0 and 1 have a distance of 2 and differ at 4 positions. Row 2 has a distance of 3 from row 1, also at 4 positions.
        assert_eq!(found, Separation { margin: 2.0, co_lipschitz: 0.5 });
    }
}
