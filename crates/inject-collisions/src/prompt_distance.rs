//! How far apart prompts lie, and how much of that is left between their states.

use crate::Neighbours;

/// At how many positions two prompts differ, counted from the front; each position that only the longer one has counts too.
///
/// For prompts of one length it is the Hamming distance. It is zero for equal prompts only.
///
/// # Example
///
/// ```
/// use inject_collisions::prompt_distance;
///
/// assert_eq!(prompt_distance(&[1, 2, 3], &[1, 9, 3, 4]), 2);
/// ```
pub fn prompt_distance(a: &[u32], b: &[u32]) -> usize {
    let differing = a.iter().zip(b).filter(|(a, b)| a != b).count();
    differing + a.len().abs_diff(b.len())
}

/// How well a tap keeps different prompts apart.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Separation {
    /// The separation margin: the smallest distance between the states of two different prompts.
    pub margin: f64,
    /// The co-Lipschitz constant: the smallest ratio of the distance of two states to the [`prompt_distance`], over every
    /// prompt and the prompt whose state is nearest. The minimum over all pairs cannot be larger.
    pub co_lipschitz: f64,
}

impl Separation {
    /// Both from the nearest neighbour of every row. `prompt` gives the token ids of a row. `None` if no pair counts.
    ///
    /// # Source
    ///
    /// The two quantities and their estimation by nearest neighbours are those of von Strauss, arXiv 2511.14808. The distance
    /// between prompts is ours.
    pub fn of<'a>(neighbours: &Neighbours, prompt: impl Fn(usize) -> &'a [u32]) -> Option<Self> {
        let pairs =
            neighbours.nearest.iter().enumerate().filter_map(|(row, nearest)| Some((row, (*nearest)?)));
        let ratios = pairs.map(|(row, nearest)| {
            // Rows of equal prompts are no pair, so the distance is one at least.
            nearest.distance / prompt_distance(prompt(row), prompt(nearest.row)).max(1) as f64
        });
        Some(Separation { margin: neighbours.minimum()?, co_lipschitz: ratios.min_by(f64::total_cmp)? })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;
    use crate::{Pairs, Rows, Search, SearchOptions};

    #[test]
    fn the_constant_divides_by_what_sets_the_prompts_apart() {
        let prompts: [&[u32]; 3] = [&[1, 1, 1, 1], &[2, 2, 2, 2], &[3, 3, 3, 1]];
        let states = arr2(&[[0.0_f32], [2.0], [5.0]]);
        let rows = Rows::new(states.view()).unwrap();
        let device = inject_testing::compiled().remove(0);
        let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
        let neighbours = search.nearest_neighbours(&mut |_| ()).unwrap();
        let found = Separation::of(&neighbours, |row| prompts[row]).unwrap();
        // Rows 0 and 1 lie 2 apart and differ at 4 positions; row 2 lies 3 from row 1, at 4 positions.
        assert_eq!(found, Separation { margin: 2.0, co_lipschitz: 0.5 });
    }
}
