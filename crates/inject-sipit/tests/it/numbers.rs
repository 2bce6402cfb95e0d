//! Pseudo-random numbers for tests, the same every time.

/// Knuth's linear congruential generator, of which the upper half is used.
///
/// # Source
///
/// The Art of Computer Programming, volume 2, section 3.3.4 (MMIX).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Returns a number from 0 up to and without `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    /// Between 0 and 1.
    pub(crate) fn share(&mut self) -> f64 {
        (f64::from(self.next()) + 0.5) / 2_f64.powi(32)
    }

    /// Normally distributed with variance one, by Box and Muller's method.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos()
    }

    /// A direction in so many dimensions, all equally likely, and this long.
    pub(crate) fn direction(&mut self, dimensions: usize, length: f64) -> Vec<f64> {
        let values: Vec<f64> = (0..dimensions).map(|_| self.normal()).collect();
        let norm = inject_sipit::collisions::norm(&values);
        values.into_iter().map(|value| value * length / norm).collect()
    }
}
