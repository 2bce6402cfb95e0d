//! Products with weights that were widened in advance.
//!
//! Many rows share the weights. So these are widened once, into the order in which the kernel reads them. The sums are those of
//! [`Kernel::products`], bit for bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::{
    super::stored::{BLOCK, Bf16, F16, F32},
    GROUP, Group, Kernel, Loaded,
};
use crate::format::FloatFormat;

/// The most outputs that are computed at once.
pub(in super::super) const WIDEST: usize = 3;
/// Partial sums of each product.
const LANES: usize = BLOCK / 2;

impl Kernel {
    /// The number of outputs that are computed at once. So many have their weights side by side.
    pub(in super::super) fn outputs_of_widened(self) -> usize {
        match self {
            Kernel::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(_) => avx2::OUTPUTS,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(_) => avx512::OUTPUTS,
        }
    }

    /// Widens the weights of one output. `place` is the place among the outputs that are computed at once.
    ///
    /// # Shapes
    ///
    /// `to` is `[half a block, output, place in the half]`.
    ///
    /// # Panics
    ///
    /// Panics if the lengths do not fit together.
    pub(in super::super) fn widen(self, format: FloatFormat, weights: &[u8], place: usize, to: &mut [f32]) {
        match format {
            FloatFormat::Bf16 => self.widen_of::<Bf16>(weights, place, to),
            FloatFormat::F16 => self.widen_of::<F16>(weights, place, to),
            FloatFormat::F32 => self.widen_of::<F32>(weights, place, to),
            FloatFormat::F64 => unreachable!("weights of F64 are not mapped"),
        }
    }

    fn widen_of<S: Loaded>(self, weights: &[u8], place: usize, to: &mut [f32]) {
        let outputs = self.outputs_of_widened();
        assert!(place < outputs, "place {place} of {outputs}");
        assert!(weights.len().is_multiple_of(S::BYTES), "whole numbers");
        let blocks = weights.len().div_ceil(BLOCK * S::BYTES);
        assert_eq!(to.len(), blocks * outputs * BLOCK, "room for the widened weights");
        match self {
            Kernel::Portable => portable::widen::<S>(weights, to),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(detected) => avx2::widen::<S>(detected, weights, place, to),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(detected) => avx512::widen::<S>(detected, weights, place, to),
        }
    }

    /// Multiplies a group of rows with widened weights.
    ///
    /// # Shapes
    ///
    /// `weights` is `[half a block, output, place in the half]`, and `sums` `[output, row]`, with places for [`GROUP`] rows.
    ///
    /// # Panics
    ///
    /// Panics if the lengths do not fit together.
    pub(in super::super) fn products_of_widened(
        self,
        group: Group<'_>,
        weights: &[f32],
        sums: &mut [[f32; GROUP]; WIDEST],
    ) {
        assert!(matches!(group.rows, 1..=GROUP), "{} rows in a group", group.rows);
        let blocks = group.values.len() / (group.rows * BLOCK);
        assert_eq!(group.values.len(), blocks * group.rows * BLOCK, "whole blocks of rows");
        assert_eq!(weights.len(), blocks * self.outputs_of_widened() * BLOCK, "weights as wide as the rows");
        match self {
            Kernel::Portable => portable::products(group, weights, &mut sums[0]),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(detected) => avx2::products(detected, group, weights, sums),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(detected) => avx512::products(detected, group, weights, sums),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::stored::Order,
            tests::{numbers, packed},
        },
        *,
    };

    #[test]
    fn products_of_widened_weights_are_those_of_stored_ones_bit_for_bit() {
        for format in [FloatFormat::Bf16, FloatFormat::F16, FloatFormat::F32] {
            for (rows, width) in [(1, 5), (2, 32), (3, 64), (4, 100), (5, 129), (6, 576), (7, 31), (8, 1000)]
            {
                let x: Vec<Vec<f32>> =
                    (0..rows).map(|row| numbers(FloatFormat::F32, row as u32, width)).collect();
                let values = packed(&x, Order::of(format));
                let group = Group { values: &values, rows };
                for kernel in Kernel::all() {
                    let outputs = kernel.outputs_of_widened();
                    let mut widened = vec![0.0; width.next_multiple_of(BLOCK) * outputs];
                    let mut expected = Vec::new();
                    for place in 0..outputs {
                        let mut bytes = Vec::new();
                        format.encode(&numbers(format, 100 + place as u32, width), &mut bytes).unwrap();
                        kernel.widen(format, &bytes, place, &mut widened);
                        let mut sums = vec![f32::NAN; rows];
                        kernel.products(format, group, &[&bytes], 0, &mut sums);
                        expected.push(sums);
                    }
                    let mut sums = [[f32::NAN; GROUP]; WIDEST];
                    kernel.products_of_widened(group, &widened, &mut sums);
                    for (sums, expected) in sums.iter().zip(&expected) {
                        let bits = |sums: &[f32]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
                        assert_eq!(
                            bits(&sums[..rows]),
                            bits(expected),
                            "{kernel:?} {format} {rows} x {width}"
                        );
                    }
                }
            }
        }
    }
}
