//! Distances computed directly in f64.

/// Returns the L2 distance of two states. The differences are squared and summed in f64.
///
/// The values are subtracted before they are squared. The usual shortcut through norms and products loses all digits if two
/// long vectors are close to each other. With `d` coordinates the relative error is at most about `(d / 8 + 5) * 2^-53`.
///
/// # Panics
///
/// Panics if the states have different widths.
///
/// # Example
///
/// ```
/// use inject_collisions::distance;
///
/// assert_eq!(distance(&[3.0_f32, 0.0], &[0.0_f64, 4.0]), 5.0);
/// ```
// Inlined so that the compiler can use the instructions that the caller enables. None of them changes a digit.
#[inline(always)]
pub fn distance<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    sum_of_squares(
        a,
        b,
        #[inline(always)]
        |a, b| a.into() - b.into(),
    )
    .sqrt()
}

/// Returns the sum of the squares of `difference` over the coordinates of two states.
#[inline(always)]
pub(crate) fn sum_of_squares<A: Copy, B: Copy>(a: &[A], b: &[B], difference: impl Fn(A, B) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "states of different widths");
    // Eight partial sums, which the compiler turns into vector instructions. Each has an eighth of the terms, so rounding errors
    // are smaller too.
    let mut sums = [0.0_f64; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            let difference = difference(a[lane], b[lane]);
            sums[lane] += difference * difference;
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        let difference = difference(a, b);
        sums[lane] += difference * difference;
    }
    sums.iter().sum::<f64>()
}

/// Returns the L2 distance of two states, with each difference multiplied by the weight of its coordinate, in f64.
///
/// With weights of one it equals [`distance`] up to rounding. Smaller weights reduce the influence of noisy coordinates.
///
/// # Panics
///
/// Panics if the states and the weights have different widths.
///
/// # Example
///
/// ```
/// use inject_collisions::weighted_distance;
///
/// assert_eq!(weighted_distance(&[3.0_f32, 64.0], &[0.0_f64, 0.0], &[1.0, 0.0625]), 5.0);
/// ```
pub fn weighted_distance<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B], weights: &[f64]) -> f64 {
    assert!(a.len() == b.len() && a.len() == weights.len(), "states and weights of different widths");
    let square = |((a, b), weight): ((&A, &B), &f64)| (((*a).into() - (*b).into()) * weight).powi(2);
    a.iter().zip(b).zip(weights).map(square).sum::<f64>().sqrt()
}

/// Returns the L2 norm of a state, in f64.
///
/// # Example
///
/// ```
/// assert_eq!(inject_collisions::norm(&[3.0_f32, 4.0]), 5.0);
/// ```
pub fn norm<A: Copy + Into<f64>>(a: &[A]) -> f64 {
    a.iter().map(|&value| value.into() * value.into()).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_distance_between_long_vectors_keeps_its_digits() {
        let a = vec![3000.0_f32; 768];
        let mut b = a.clone();
        b[5] += 0.25;
        assert_eq!(distance(&a, &b), 0.25);
    }

    proptest! {
        #[test]
        fn the_distance_equals_the_naive_sum(pairs in prop::collection::vec((-1e4_f32..1e4, -1e4_f32..1e4), 0..70)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let naive: f64 = pairs.iter().map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            prop_assert!((distance(&a, &b) - naive.sqrt()).abs() <= 1e-14 * naive.sqrt());
        }

        #[test]
        fn with_weights_of_one_the_weighted_distance_is_the_distance(
            pairs in prop::collection::vec((-1e4_f32..1e4, -1e4_f32..1e4), 0..70)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let (plain, weighted) = (distance(&a, &b), weighted_distance(&a, &b, &vec![1.0; a.len()]));
            prop_assert!((plain - weighted).abs() <= 1e-14 * plain);
        }

        #[test]
        fn the_distance_is_symmetric(pairs in prop::collection::vec((-1e4_f32..1e4, -1e4_f32..1e4), 1..40)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
        }
    }
}
