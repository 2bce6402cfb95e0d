//! Formats whose numbers share a scale.

/// The values that a number can take, as shares of the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Code {
    /// Whole multiples of the reciprocal of this number, from -1 to 1.
    Even(u8),
    /// A list, in ascending order.
    Listed(&'static [f64]),
}

impl Code {
    /// The 16 quantiles that split the normal distribution into parts of equal weight, with an exact zero.
    ///
    /// # Source
    ///
    /// QLoRA (arXiv 2305.14314), appendix E.
    pub(super) const NF4: Code = Code::Listed(&[
        -1.0,
        -0.696_192_800_998_687_7,
        -0.525_073_051_452_636_7,
        -0.394_917_488_098_144_53,
        -0.284_441_381_692_886_35,
        -0.184_773_430_228_233_34,
        -0.091_050_036_251_544_95,
        0.0,
        0.079_580_299_556_255_34,
        0.160_930_201_411_247_25,
        0.246_112_301_945_686_34,
        0.337_915_241_718_292_24,
        0.440_709_829_330_444_34,
        0.562_617_003_917_694_1,
        0.722_956_836_223_602_3,
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
        let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        if largest == 0.0 {
            return;
        }
        for value in values {
            *value = self.nearest(*value / largest) * largest;
        }
    }

    /// Half the widest gap between neighbouring values.
    pub(super) fn half_step(self) -> f64 {
        match self {
            Code::Even(steps) => 0.5 / f64::from(steps),
            Code::Listed(values) => {
                values.windows(2).map(|pair| (pair[1] - pair[0]) / 2.0).fold(0.0, f64::max)
            }
        }
    }

    fn nearest(self, share: f64) -> f64 {
        match self {
            Code::Even(steps) => (share * f64::from(steps)).round_ties_even() / f64::from(steps),
            Code::Listed(values) => {
                let above = values.partition_point(|value| *value < share).min(values.len() - 1);
                let below = above.saturating_sub(1);
                match share - values[below] < values[above] - share {
                    true => values[below],
                    false => values[above],
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODES: [Code; 4] = [Code::Even(127), Code::Even(7), Code::NF4, Code::FP4];

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
        for code in CODES {
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
                    Code::Listed(values) => values.to_vec(),
                };
                for (weight, rounded) in weights.iter().zip(&rounded) {
                    let nearest = values.iter().map(|value| (value * largest - weight).abs()).fold(f64::INFINITY, f64::min);
                    prop_assert!((rounded - weight).abs() <= nearest + 1e-12);
                }
                let mut again = rounded.clone();
                code.round(&mut again);
                prop_assert!(again.iter().zip(&rounded).all(|(a, b)| (a - b).abs() < 1e-12));
            }
        }
    }
}
