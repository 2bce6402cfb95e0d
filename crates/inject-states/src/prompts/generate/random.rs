//! The generator's own random numbers: whole numbers only, so every platform draws the same text.

/// A SplitMix64 stream: 64 bits of state, and every seed is a good one.
///
/// # Source
///
/// Sebastiano Vigna, `splitmix64.c` (<https://prng.di.unimi.it/splitmix64.c>), after Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n`, by the high half of a product: the bias is below `n / 2^64`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// One word of a list written as `"red|green|blue"`.
    pub(super) fn word<'a>(&mut self, list: &'a str) -> &'a str {
        let bars = list.bytes().filter(|&byte| byte == b'|').count();
        let chosen = self.below(bars + 1);
        list.split('|').nth(chosen).expect("a list of n bars has n + 1 words")
    }

    /// `n` different words of a list, in random order.
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
    fn the_stream_is_the_published_one() {
        // The outputs of splitmix64.c for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let drawn: Vec<u64> = (0..5).map(|_| random.next()).collect();
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(drawn, published);
    }

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
