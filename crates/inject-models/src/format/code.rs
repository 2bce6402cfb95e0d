//! Formats whose numbers share a scale.

use super::FloatFormat;

/// 1/127, as bitsandbytes writes it.
pub(crate) const INT8_STEP: f32 = 7.874_016e-3;

/// The values that a number can take, as shares of the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Code {
    /// Whole multiples of the reciprocal of this number, from -1 to 1.
    Even(u8),
    /// A list, in ascending order. Everything is computed in f32, and of two values that are equally near the lower one is taken.
    ///
    /// # Source
    ///
    /// bitsandbytes 0.50.2, `backends/default/ops.py` (`quantize_4bit`). The bounds of NF4 in `csrc/kernels.cu` are the same numbers. Those
    /// of FP4 are decimals there, up to 14 steps of f32 beside these.
    Listed(&'static [f32]),
    /// The same multiples as of `Even`. The step is kept in f16.
    EvenInHalf(u8),
    /// Whole multiples of a step: so many to the number of the largest magnitude, and one less to the other side of zero. The step is kept in
    /// f16.
    SignedInHalf(u8),
    /// So many even steps from the least number to the largest. The step and the least number are kept in f16.
    BetweenInHalf(u8),
}

impl Code {
    /// The 16 quantiles that split the normal distribution into parts of equal weight, with an exact zero.
    ///
    /// # Source
    ///
    /// QLoRA (arXiv 2305.14314), appendix E.
    pub(super) const NF4: Code = Code::Listed(&[
        -1.0,
        -0.696_192_8,
        -0.525_073_05,
        -0.394_917_5,
        -0.284_441_38,
        -0.184_773_43,
        -0.091_050_036,
        0.0,
        0.079_580_3,
        0.160_930_2,
        0.246_112_3,
        0.337_915_24,
        0.440_709_83,
        0.562_617,
        0.722_956_84,
        1.0,
    ]);

    /// A sign, two bits of exponent and one of fraction: twelfths, except the smallest, which is a sixteenth of a twelfth.
    ///
    /// # Source
    ///
    /// github.com/bitsandbytes-foundation/bitsandbytes, `functional.py` (`get_4bit_type`).
    pub(super) const FP4: Code = Code::Listed(&[
        -1.0,
        -8.0 / 12.0,
        -6.0 / 12.0,
        -4.0 / 12.0,
        -3.0 / 12.0,
        -2.0 / 12.0,
        -0.0625 / 12.0,
        0.0,
        0.0625 / 12.0,
        2.0 / 12.0,
        3.0 / 12.0,
        4.0 / 12.0,
        6.0 / 12.0,
        8.0 / 12.0,
        1.0,
    ]);

    /// Replaces numbers by the nearest that the code has, with the largest magnitude as the scale.
    pub(super) fn round(self, values: &mut [f64]) {
        let larger = |largest: f64, &value: &f64| if value.abs() > largest.abs() { value } else { largest };
        // The first of the largest magnitude, with its sign.
        let largest = values.iter().fold(0.0, larger);
        if largest == 0.0 {
            return;
        }
        let scale = largest.abs();
        match self {
            Code::Even(steps) => {
                let steps = f64::from(steps);
                values.iter_mut().for_each(|value| {
                    *value = (*value / scale * steps).round_ties_even() / steps * scale;
                });
            }
            Code::Listed(listed) => {
                let scale = scale as f32;
                let inverse = 1.0 / scale.max(1e-38);
                let bounds: Vec<f32> =
                    listed.windows(2).map(|pair| f32::midpoint(pair[0], pair[1])).collect();
                for value in values {
                    let share = (*value as f32 * inverse).clamp(-1.0, 1.0);
                    let nearest = listed[bounds.partition_point(|bound| *bound < share)];
                    *value = f64::from(nearest * scale);
                }
            }
            Code::EvenInHalf(steps) => {
                in_steps(values, 0.0, scale / f64::from(steps), f32::round);
            }
            Code::SignedInHalf(steps) => {
                let most = f32::from(steps);
                let count = |share: f32| (share + most + 0.5).floor().min(2.0 * most - 1.0) - most;
                in_steps(values, 0.0, -largest / f64::from(steps), count);
            }
            Code::BetweenInHalf(steps) => {
                let zero = values.iter().copied().fold(f64::INFINITY, f64::min);
                let range = values.iter().copied().fold(f64::NEG_INFINITY, f64::max) - zero;
                let count = |share: f32| (share + 0.5).floor().min(f32::from(steps));
                in_steps(values, zero, range / f64::from(steps), count);
            }
        }
    }

    /// An upper bound on how far rounding moves a number, among numbers of at most this magnitude.
    pub(super) fn half_step(self, largest: f64) -> f64 {
        let in_half = |steps: f64, step: f64| steps * FloatFormat::F16.rounding_error(step);
        match self {
            Code::Even(steps) => 0.5 / f64::from(steps) * largest,
            Code::Listed(values) => {
                let half_gap =
                    values.windows(2).map(|pair| f64::from(pair[1] - pair[0]) / 2.0).fold(0.0, f64::max);
                // Of the number, the scale's reciprocal, the share and the product.
                let roundings = 4.0 * FloatFormat::F32.rounding_error(1.0);
                (half_gap + roundings) * largest
            }
            Code::EvenInHalf(steps) => {
                let (steps, step) = (f64::from(steps), largest / f64::from(steps));
                0.5 * step + in_half(steps, step)
            }
            // A number of the largest magnitude with the other sign has no code.
            Code::SignedInHalf(steps) => {
                let (steps, step) = (f64::from(steps), largest / f64::from(steps));
                step + in_half(steps, step)
            }
            Code::BetweenInHalf(steps) => {
                let (steps, step) = (f64::from(steps), 2.0 * largest / f64::from(steps));
                0.5 * step + in_half(steps, step) + in_half(1.0, largest)
            }
        }
    }
}

/// Replaces the weights of one output by the nearest in INT8, as bitsandbytes does: it reads the weights as f16, and computes in f32.
///
/// # Source
///
/// bitsandbytes 0.50.2, `nn/modules.py` (`Int8Params._quantize`), `backends/default/ops.py` (`int8_vectorwise_quant`) and `_ops.py`
/// (`int8_vectorwise_dequant`).
pub(super) fn round_row_in_int8(weights: &mut [f64]) {
    let in_half = |weight: f64| FloatFormat::F16.round(weight) as f32;
    let scale = weights.iter().fold(0.0, |scale: f32, &weight| in_half(weight).abs().max(scale));
    if scale == 0.0 {
        return weights.fill(0.0);
    }
    // In this order, as torch divides a number by a tensor.
    let inverse = 1.0 / scale * 127.0;
    for weight in weights {
        let code = (in_half(*weight) * inverse).round_ties_even();
        *weight = f64::from(code * scale * INT8_STEP);
    }
}

/// Replaces numbers by whole numbers of steps from a number. The counts are those of the exact step, in the arithmetic of the reference, which
/// decides ties: weights that were rounded before have many. The step and the number are then kept in f16.
fn in_steps(values: &mut [f64], zero: f64, step: f64, count: impl Fn(f32) -> f32) {
    let [kept_zero, kept_step] = [zero, step].map(|value| FloatFormat::F16.round(value));
    let inverse = if step == 0.0 { 0.0 } else { 1.0 / step as f32 };
    for value in values {
        let steps = count((*value as f32 - zero as f32) * inverse);
        *value = kept_zero + f64::from(steps) * kept_step;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODES: [Code; 4] = [Code::Even(127), Code::Even(7), Code::NF4, Code::FP4];
    const IN_HALF: [Code; 3] = [Code::EvenInHalf(127), Code::SignedInHalf(8), Code::BetweenInHalf(15)];

    /// What the package gguf 0.19 makes of 32 numbers (`quantize`): the step and the zero in f16, and the codes.
    #[test]
    fn codes_and_steps_are_those_of_gguf() {
        let numbers: [i32; 32] = [
            -13, 17, 70, -28, -42, 2, 44, -68, -95, -95, -66, 46, -2, -38, -34, 70, 25, -3, 27, 70, -41, -29,
            -14, 55, -53, -91, -91, -49, 60, -25, -14, -58,
        ];
        let expected: [(Code, f64, f64, [i32; 32]); 3] = [
            (
                Code::EvenInHalf(127),
                0.011_688_232_421_875,
                0.0,
                [
                    -17, 23, 94, -37, -56, 3, 59, -91, -127, -127, -88, 61, -3, -51, -45, 94, 33, -4, 36, 94,
                    -55, -39, -19, 74, -71, -122, -122, -66, 80, -33, -19, -78,
                ],
            ),
            (
                Code::SignedInHalf(8),
                0.185_546_875,
                0.0,
                [
                    -1, 1, 6, -2, -4, 0, 4, -6, -8, -8, -6, 4, 0, -3, -3, 6, 2, 0, 2, 6, -3, -2, -1, 5, -4,
                    -8, -8, -4, 5, -2, -1, -5,
                ],
            ),
            (
                Code::BetweenInHalf(15),
                0.171_875,
                -1.484_375,
                [
                    7, 10, 15, 6, 5, 9, 13, 2, 0, 0, 3, 13, 8, 5, 6, 15, 11, 8, 11, 15, 5, 6, 7, 14, 4, 0, 0,
                    4, 14, 6, 7, 3,
                ],
            ),
        ];
        for (code, step, zero, codes) in expected {
            let mut values = numbers.map(|number| f64::from(number) / 64.0);
            code.round(&mut values);
            assert_eq!(values, codes.map(|code| zero + f64::from(code) * step), "{code:?}");
        }
    }

    #[test]
    fn ties_are_rounded_as_gguf_rounds_them() {
        let rounded = |code: Code, mut weights: [f64; 4]| {
            code.round(&mut weights);
            weights
        };
        // Up to the larger code, so towards the sign of the largest magnitude's opposite.
        assert_eq!(rounded(Code::SignedInHalf(8), [-8.0, 2.5, -2.5, 0.5]), [-8.0, 3.0, -2.0, 1.0]);
        assert_eq!(rounded(Code::SignedInHalf(8), [8.0, 2.5, -2.5, 0.5]), [8.0, 2.0, -3.0, 0.0]);
        assert_eq!(rounded(Code::BetweenInHalf(15), [0.0, 15.0, 2.5, 3.5]), [0.0, 15.0, 3.0, 4.0]);
        assert_eq!(rounded(Code::EvenInHalf(127), [127.0, 2.5, -2.5, 0.5]), [127.0, 3.0, -3.0, 1.0]);
    }

    #[test]
    fn a_number_of_the_largest_magnitude_and_the_other_sign_is_cut_off() {
        let mut weights = [1.0, -1.0, 0.5];
        Code::SignedInHalf(8).round(&mut weights);
        assert_eq!(weights, [1.0, -0.875, 0.5]);
    }

    #[test]
    fn even_steps_are_those_of_absmax() {
        let mut weights = [0.5, -2.0, 0.49, 1.0];
        Code::Even(127).round(&mut weights);
        // 127 / 2 x 0.49 = 31.1.
        assert_eq!(weights, [32.0 / 127.0 * 2.0, -2.0, 31.0 / 127.0 * 2.0, 64.0 / 127.0 * 2.0]);
    }

    #[test]
    fn the_lists_ascend_from_minus_one_to_one_and_hold_zero() {
        for code in [Code::NF4, Code::FP4] {
            let Code::Listed(values) = code else { unreachable!("both are lists") };
            assert!(values.is_sorted() && values[0] == -1.0 && values[values.len() - 1] == 1.0);
            assert!(values.contains(&0.0));
        }
    }

    #[test]
    fn a_block_of_zeros_stays() {
        for code in CODES.into_iter().chain(IN_HALF) {
            let mut weights = [0.0; 5];
            code.round(&mut weights);
            assert_eq!(weights, [0.0; 5]);
        }
    }

    proptest! {
        #[test]
        fn no_other_value_of_the_code_is_nearer_and_rounding_again_changes_nothing(
            weights in prop::collection::vec(-3.0_f64..3.0, 1..70),
        ) {
            for code in CODES {
                let largest = weights.iter().fold(0.0_f64, |largest, weight| largest.max(weight.abs()));
                let mut rounded = weights.clone();
                code.round(&mut rounded);
                let values: Vec<f64> = match code {
                    Code::Even(steps) => {
                        (-i32::from(steps)..=i32::from(steps)).map(|i| f64::from(i) / f64::from(steps)).collect()
                    }
                    Code::Listed(values) => values.iter().copied().map(f64::from).collect(),
                    _ => unreachable!("steps in f16 have a test of their own"),
                };
                for (weight, rounded) in weights.iter().zip(&rounded) {
                    let nearest = values.iter().map(|value| (value * largest - weight).abs()).fold(f64::INFINITY, f64::min);
                    // Lists are computed in f32: see `half_step`.
                    prop_assert!((rounded - weight).abs() <= nearest + 4.0 * largest * FloatFormat::F32.rounding_error(1.0));
                }
                let mut again = rounded.clone();
                code.round(&mut again);
                prop_assert!(again.iter().zip(&rounded).all(|(a, b)| (a - b).abs() < 1e-12));
            }
        }

        #[test]
        fn steps_in_f16_move_no_number_beyond_the_bound_and_are_kept(
            weights in prop::collection::vec(-3.0_f64..3.0, 1..70),
        ) {
            for code in IN_HALF {
                let largest = weights.iter().fold(0.0_f64, |largest, weight| largest.max(weight.abs()));
                let mut rounded = weights.clone();
                code.round(&mut rounded);
                let most = code.half_step(largest) + 1e-12;
                prop_assert!(weights.iter().zip(&rounded).all(|(a, b)| (a - b).abs() <= most), "{code:?}");
                let mut again = rounded.clone();
                code.round(&mut again);
                prop_assert!(again.iter().zip(&rounded).all(|(a, b)| (a - b).abs() < 1e-12), "{code:?}");
            }
        }
    }
}
