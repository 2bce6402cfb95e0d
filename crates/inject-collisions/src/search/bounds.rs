//! Bounds of rounding errors. docs/distances.md in the repository derives them.

/// The largest relative error of one operation in f32.
pub(super) const UNIT_F32: f64 = 1.0 / (1 << 24) as f64;

/// The largest relative error of one operation in f64.
pub(super) const UNIT_F64: f64 = 1.0 / (1_u64 << 53) as f64;

/// An upper bound of the effect of underflow on a sum of products of numbers up to 1. It holds even if subnormal numbers are
/// flushed to zero.
pub(super) const UNDERFLOW: f64 = 1e-30;

/// Returns an upper bound of the relative error of `operations` consecutive operations, each with a relative error of at most
/// `unit`.
///
/// # Source
///
/// Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, lemma 3.1.
pub(super) fn gamma(operations: usize, unit: f64) -> f64 {
    let sum = operations as f64 * unit;
    sum / (1.0 - sum)
}

/// Returns the smallest f32 that is not below a number.
pub(super) fn round_up(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near.next_up() } else { near }
}

/// Returns the largest f32 that is not above a number.
pub(super) fn round_down(value: f64) -> f32 {
    -round_up(-value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounding_goes_to_the_side_it_says(value in -1e30_f64..1e30) {
            prop_assert!(f64::from(round_down(value)) <= value && value <= f64::from(round_up(value)));
            prop_assert!(round_up(value) <= round_down(value).next_up());
        }
    }
}
