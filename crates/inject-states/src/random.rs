//! Random numbers that are the same on every platform.

use rand_xoshiro::{
    SplitMix64,
    rand_core::{Rng, SeedableRng},
};

/// A stream of random numbers from a seed. Every seed is a good one.
///
/// # Source
///
/// Sebastiano Vigna, `splitmix64.c` (<https://prng.di.unimi.it/splitmix64.c>), after Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014.
///
/// # Example
///
/// ```
/// use inject_states::random::SplitMix;
///
/// let mut numbers = SplitMix::seeded(7);
/// assert!((0..100).all(|_| numbers.below(6) < 6));
/// ```
#[derive(Clone, Debug)]
pub struct SplitMix(SplitMix64);

impl SplitMix {
    /// Begins the stream of a seed.
    pub fn seeded(seed: u64) -> Self {
        SplitMix(SplitMix64::seed_from_u64(seed))
    }

    /// Returns the next number, uniform over all 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `bound`, or zero if `bound` is zero.
    ///
    /// It is the high half of a product, so its bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns a number between 0 and 1, exclusive of both: the midpoint of one of 2^52 equal parts.
    pub fn share(&mut self) -> f64 {
        ((self.draw() >> 12) as f64 + 0.5) * 2_f64.powi(-52)
    }

    /// Returns a number from the standard normal distribution.
    ///
    /// # Source
    ///
    /// G. E. P. Box and M. E. Muller, "A Note on the Generation of Random Normal Deviates" (1958).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos()
    }

    /// Returns a vector of norm 1, uniform over all directions.
    pub fn direction(&mut self, width: usize) -> Vec<f64> {
        let mut direction: Vec<f64> = (0..width).map(|_| self.normal()).collect();
        let length = direction.iter().map(|value| value * value).sum::<f64>().sqrt();
        direction.iter_mut().for_each(|value| *value /= length);
        direction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // The outputs of splitmix64.c for the seed 1234567.
        let mut numbers = SplitMix::seeded(1_234_567);
        let drawn: Vec<u64> = (0..5).map(|_| numbers.draw()).collect();
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
    fn normal_numbers_have_the_moments_of_their_distribution() {
        let mut numbers = SplitMix::seeded(3);
        let drawn: Vec<f64> = (0..100_000).map(|_| numbers.normal()).collect();
        let moment =
            |power: i32| drawn.iter().map(|value| value.powi(power)).sum::<f64>() / drawn.len() as f64;
        // Five standard errors of each mean.
        for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0_f64)]
        {
            let error = (variance / drawn.len() as f64).sqrt();
            assert!((moment(power) - expected).abs() < 5.0 * error, "{power}: {}", moment(power));
        }
    }

    #[test]
    fn a_direction_has_length_one() {
        let length = SplitMix::seeded(4).direction(77).iter().map(|value| value * value).sum::<f64>();
        assert!((length - 1.0).abs() < 1e-12);
    }
}
