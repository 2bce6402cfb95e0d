//! The random numbers of the generator. They are integers, so the text is the same on every platform.

use rand_xoshiro::{
    SplitMix64,
    rand_core::{Rng, SeedableRng},
};

/// A stream of random numbers, and the kinds of draws that the generator uses.
#[derive(Clone, Debug)]
pub(super) struct Random(SplitMix64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(SplitMix64::seed_from_u64(seed))
    }

    /// Returns a number in `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        // The high half of a product, whose bias is below n / 2^64.
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// Returns a number in `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Returns one word of a list written as `"red|green|blue"`.
    pub(super) fn word<'a>(&mut self, list: &'a str) -> &'a str {
        let bars = list.bytes().filter(|&byte| byte == b'|').count();
        let chosen = self.below(bars + 1);
        list.split('|').nth(chosen).expect("a list of n bars has n + 1 words")
    }

    /// Returns `n` different words of a list, in random order.
    pub(super) fn words<'a>(&mut self, list: &'a str, n: usize) -> Vec<&'a str> {
        let mut all: Vec<&str> = list.split('|').collect();
        assert!(n <= all.len(), "{n} different words asked of {}", all.len());
        for at in 0..n {
            let other = at + self.below(all.len() - at);
            all.swap(at, other);
        }
        all.truncate(n);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_range_is_drawn_and_no_other() {
        let mut random = Random::new(1);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[(random.between(3, 7) - 3) as usize] += 1;
        }
        assert!(seen.iter().all(|&times| times > 100), "{seen:?}");
    }

    #[test]
    fn words_are_different_from_one_another() {
        let mut random = Random::new(2);
        for _ in 0..200 {
            let mut words = random.words("a|b|c|d|e", 4);
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), 4);
        }
    }
}
