//! Random tokens, for prompts that no model expects.

/// An endless sequence of tokens drawn uniformly from a vocabulary. A seed gives the same tokens on every platform.
#[derive(Clone, Debug)]
pub(crate) struct RandomTokens {
    state: u64,
    vocab_size: u64,
}

impl RandomTokens {
    /// Draws from ids below `vocab_size`.
    pub(crate) fn seeded(seed: u64, vocab_size: usize) -> Self {
        RandomTokens { state: seed, vocab_size: vocab_size as u64 }
    }
}

impl Iterator for RandomTokens {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        // Knuth's MMIX generator (The Art of Computer Programming, volume 2, 3.3.4); its high bits are the most random ones.
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((((self.state >> 32) * self.vocab_size) >> 32) as u32)
    }
}
