//! Products with weights that are stored input by input, as GPT-2's are.
//!
//! Every sum is one chain of additions in the order of the inputs. So it is the same bits in every kernel with fused multiply-add,
//! whatever is computed beside it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use super::{
    super::stored::{BLOCK, Bf16, F16, F32, Stored},
    GROUP, Group, Kernel, Loaded,
};
use crate::format::FloatFormat;

/// The number of outputs in one vector register.
pub(in super::super) const LANES: usize = 16;
/// The most outputs that are computed at once.
pub(in super::super) const WIDEST: usize = 8 * LANES;

/// The weights of consecutive outputs, for consecutive inputs.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Columns<'a> {
    /// From the first weight of the first input to the last weight of the last input.
    pub(in super::super) bytes: &'a [u8],
    /// The bytes from an input to the next.
    pub(in super::super) stride: usize,
    pub(in super::super) inputs: usize,
    pub(in super::super) outputs: usize,
}

impl Kernel {
    /// Returns the number of rows to multiply at once where there are more than [`GROUP`].
    pub(in super::super) fn rows_by_input(self) -> usize {
        match self {
            Kernel::Portable => GROUP,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(_) => avx2::PART,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(_) => GROUP,
        }
    }

    /// Returns the number of outputs to compute at once for `rows` rows.
    pub(in super::super) fn outputs_by_input(self, rows: usize) -> usize {
        match self {
            Kernel::Portable => LANES,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(_) => avx2::outputs(rows),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(_) => LANES * avx512::vectors(rows),
        }
    }

    /// Widens weights in their natural order.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer numbers than places.
    pub(in super::super) fn widen_in_order(self, format: FloatFormat, weights: &[u8], to: &mut [f32]) {
        match format {
            FloatFormat::Bf16 => self.widen_in_order_of::<Bf16>(weights, to),
            FloatFormat::F16 => self.widen_in_order_of::<F16>(weights, to),
            FloatFormat::F32 => self.widen_in_order_of::<F32>(weights, to),
            FloatFormat::F64 => unreachable!("weights of F64 are not mapped"),
        }
    }

    fn widen_in_order_of<S: Loaded>(self, weights: &[u8], to: &mut [f32]) {
        assert_eq!(weights.len(), to.len() * S::BYTES, "as many weights as places");
        match self {
            Kernel::Portable => widened::<S>(weights, to),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(detected) => avx2::widen::<S>(detected, weights, to),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(detected) => avx512::widen::<S>(detected, weights, to),
        }
    }

    /// Multiplies a group of rows, in their natural order, with the weights of some outputs.
    ///
    /// # Shapes
    ///
    /// `sums` is `[row, output]`.
    ///
    /// # Panics
    ///
    /// Panics if the lengths do not fit together.
    pub(in super::super) fn products_by_input(
        self,
        format: FloatFormat,
        group: Group<'_>,
        columns: Columns<'_>,
        sums: &mut [f32],
    ) {
        match format {
            FloatFormat::Bf16 => self.by_input_of::<Bf16>(group, columns, sums),
            FloatFormat::F16 => self.by_input_of::<F16>(group, columns, sums),
            FloatFormat::F32 => self.by_input_of::<F32>(group, columns, sums),
            FloatFormat::F64 => unreachable!("weights of F64 are not mapped"),
        }
    }

    fn by_input_of<S: Loaded>(self, group: Group<'_>, columns: Columns<'_>, sums: &mut [f32]) {
        let Columns { bytes, stride, inputs, outputs } = columns;
        let blocks = inputs.div_ceil(BLOCK);
        assert!(matches!(group.rows, 1..=GROUP), "{} rows in a group", group.rows);
        assert_eq!(group.values.len(), blocks * group.rows * BLOCK, "whole blocks of rows");
        assert!(matches!(outputs, 1..=WIDEST), "{outputs} outputs at once");
        assert!(inputs > 0 && bytes.len() == (inputs - 1) * stride + outputs * S::BYTES, "all the weights");
        assert_eq!(sums.len(), group.rows * outputs, "one sum for each row and output");
        match self {
            Kernel::Portable => {
                portable::<S, { cfg!(any(target_arch = "aarch64", target_feature = "fma")) }>(
                    group, columns, 0, sums,
                );
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(detected) => avx2::products::<S>(detected, group, columns, sums),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(detected) => avx512::products::<S>(detected, group, columns, sums),
        }
    }
}

/// Widens weights. Compiled for the instructions of the caller.
#[inline(always)]
pub(super) fn widened<S: Stored>(weights: &[u8], to: &mut [f32]) {
    for (weight, to) in weights.chunks_exact(S::BYTES).zip(to) {
        *to = S::number(weight);
    }
}

/// Computes the outputs from one on. Compiled for the instructions of the caller.
#[inline(always)]
pub(super) fn portable<S: Stored, const FUSED: bool>(
    group: Group<'_>,
    columns: Columns<'_>,
    from: usize,
    sums: &mut [f32],
) {
    for first in (from..columns.outputs).step_by(LANES) {
        let lanes = LANES.min(columns.outputs - first);
        for row in 0..group.rows {
            let mut partial = [0.0_f32; LANES];
            for input in 0..columns.inputs {
                let value = group.values[(input / BLOCK * group.rows + row) * BLOCK + input % BLOCK];
                let weights = &columns.bytes[input * columns.stride + first * S::BYTES..][..lanes * S::BYTES];
                for (sum, weight) in partial.iter_mut().zip(weights.chunks_exact(S::BYTES)) {
                    let weight = S::number(weight);
                    *sum = if FUSED { value.mul_add(weight, *sum) } else { value * weight + *sum };
                }
            }
            sums[row * columns.outputs + first..][..lanes].copy_from_slice(&partial[..lanes]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::numbers, *};

    /// Rows in the order in which kernels read them.
    fn packed(rows: &[Vec<f32>]) -> Vec<f32> {
        let blocks = rows[0].len().div_ceil(BLOCK);
        let mut values = vec![0.0; rows.len() * blocks * BLOCK];
        for (place, block) in values.chunks_exact_mut(BLOCK).enumerate() {
            let (first, row) = (place / rows.len() * BLOCK, &rows[place % rows.len()]);
            let part = &row[first..row.len().min(first + BLOCK)];
            block[..part.len()].copy_from_slice(part);
        }
        values
    }

    #[test]
    fn every_kernel_equals_the_sums_in_f64() {
        for format in [FloatFormat::Bf16, FloatFormat::F16, FloatFormat::F32] {
            for (rows, inputs, outputs) in [
                (1, 5, 128),
                (2, 32, 1),
                (3, 64, 17),
                (4, 100, 96),
                (5, 129, 60),
                (6, 57, 64),
                (7, 31, 48),
                (8, 300, 47),
            ] {
                let x: Vec<Vec<f32>> =
                    (0..rows).map(|row| numbers(FloatFormat::F32, row as u32, inputs)).collect();
                let values = packed(&x);
                // Three weights of other outputs follow those of each input.
                let width = outputs + 3;
                let weights = numbers(format, 77, inputs * width);
                let mut bytes = Vec::new();
                format.encode(&weights, &mut bytes).unwrap();
                bytes.truncate(bytes.len() - 3 * format.bytes());
                let stride = width * format.bytes();
                let columns = Columns { bytes: &bytes, stride, inputs, outputs };
                let mut fused: Option<Vec<f32>> = None;
                for kernel in Kernel::all() {
                    let mut sums = vec![f32::NAN; rows * outputs];
                    kernel.products_by_input(format, Group { values: &values, rows }, columns, &mut sums);
                    for (place, &found) in sums.iter().enumerate() {
                        let (row, output) = (place / outputs, place % outputs);
                        let terms = || {
                            let weights = weights[output..].iter().step_by(width);
                            x[row].iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w))
                        };
                        let (sum, magnitude) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                        // One rounding of each product, and one of each addition.
                        let tolerance = (1.0 + inputs as f64) * magnitude * 2f64.powi(-24);
                        assert!(
                            (f64::from(found) - sum).abs() <= tolerance,
                            "{kernel:?} {format} {rows} x {inputs} x {outputs}: {found} {sum}"
                        );
                    }
                    if kernel != Kernel::Portable {
                        let known = fused.get_or_insert_with(|| sums.clone());
                        assert!(
                            sums.iter().map(|sum| sum.to_bits()).eq(known.iter().map(|sum| sum.to_bits()))
                        );
                    }
                }
            }
        }
    }
}
