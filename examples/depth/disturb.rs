//! Noise added to states on purpose.

use inject_examples::RandomTokens;
use ndarray::Array2;

/// Adds to every row a vector of this L2 norm in a uniformly random direction: Gaussian noise, scaled to its size.
pub(crate) fn add_gaussian(states: &mut Array2<f64>, norm: f64, seed: u64) {
    let mut normal = Normal { uniform: RandomTokens::seeded(0x0d15_7b0b ^ seed, 1 << 31) };
    for mut row in states.rows_mut() {
        let direction: Vec<f64> = (0..row.len()).map(|_| normal.draw()).collect();
        let length = direction.iter().map(|value| value * value).sum::<f64>().sqrt();
        row.iter_mut().zip(&direction).for_each(|(state, value)| *state += norm * value / length);
    }
}

/// Normally distributed numbers.
struct Normal {
    uniform: RandomTokens,
}

impl Normal {
    /// # Source
    ///
    /// G. E. P. Box and M. E. Muller, "A Note on the Generation of Random Normal Deviates" (1958).
    fn draw(&mut self) -> f64 {
        let mut uniform = || (f64::from(self.uniform.next().unwrap_or(0)) + 0.5) / f64::from(1_u32 << 31);
        (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
    }
}
