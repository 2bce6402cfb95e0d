//! The choice of the windows of each training step.

use inject_sipit::states::random::SplitMix;

/// A sequence of batches. A batch contains all windows in order, or a random selection without repetition.
pub(super) struct Batches<'a> {
    windows: &'a [Vec<u32>],
    size: usize,
    random: SplitMix,
}

impl<'a> Batches<'a> {
    pub(super) fn new(windows: &'a [Vec<u32>], size: usize, seed: u64) -> Self {
        Batches { windows, size, random: SplitMix::seeded(seed) }
    }

    pub(super) fn draw(&mut self) -> Vec<Vec<u32>> {
        if self.size == self.windows.len() {
            return self.windows.to_vec();
        }
        let mut order: Vec<usize> = (0..self.windows.len()).collect();
        // The first steps of a Fisher-Yates shuffle.
        for at in 0..self.size {
            let other = at + self.random.below((order.len() - at) as u64) as usize;
            order.swap(at, other);
        }
        order[..self.size].iter().map(|&window| self.windows[window].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_each_window_once_and_every_window_comes() {
        let windows: Vec<Vec<u32>> = (0..7).map(|id| vec![id]).collect();
        let mut batches = Batches::new(&windows, 3, 5);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..50 {
            let mut batch = batches.draw();
            seen.extend(batch.clone());
            batch.sort();
            batch.dedup();
            assert_eq!(batch.len(), 3);
        }
        assert_eq!(seen.len(), 7);
        assert_eq!(Batches::new(&windows, 7, 5).draw(), windows);
    }
}
