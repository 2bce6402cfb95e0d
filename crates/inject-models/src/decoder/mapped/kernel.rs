//! Products of a few rows of F32 with a few rows of stored weights.
//!
//! Every kernel keeps sixteen partial sums of each product and adds them up in one order. So the sums of kernels with fused
//! multiply-add are the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(super) mod by_input;
mod portable;
pub(super) mod widened;

use super::stored::{BLOCK, Bf16, F16, F32};
use crate::{decoder::Instructions, format::FloatFormat};

/// The most rows that are multiplied at once.
pub(super) const GROUP: usize = 8;
/// The most outputs that are computed at once.
pub(super) const WIDEST: usize = 8;

/// An implementation of the products. Those with fused multiply-add give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// Plain Rust, for every processor.
    Portable,
    /// With the instructions of AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Detected),
    /// With those of AVX-512.
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Detected),
}

/// A group of rows beside each other, block by block: `[block, row, place in the block]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    pub(super) values: &'a [f32],
    /// The number of rows in use, at most [`GROUP`].
    pub(super) rows: usize,
}

impl Kernel {
    /// The fastest that this processor has.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(detected) = avx512::Detected::new() {
                return Kernel::Avx512(detected);
            }
            if let Some(detected) = avx2::Detected::new() {
                return Kernel::Avx2(detected);
            }
        }
        Kernel::Portable
    }

    /// The instructions that it is compiled for.
    pub(super) fn instructions(self) -> Instructions {
        match self {
            Kernel::Portable if cfg!(target_arch = "x86_64") => Instructions::X86,
            Kernel::Portable if cfg!(target_arch = "aarch64") => Instructions::Aarch64,
            Kernel::Portable => Instructions::Other,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(_) => Instructions::Avx2,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(_) => Instructions::Avx512,
        }
    }

    /// Every kernel that runs on this processor.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        Vec::from([
            Some(Kernel::Portable),
            #[cfg(target_arch = "x86_64")]
            avx2::Detected::new().map(Kernel::Avx2),
            #[cfg(target_arch = "x86_64")]
            avx512::Detected::new().map(Kernel::Avx512),
        ])
        .into_iter()
        .flatten()
        .collect()
    }

    /// Returns the number of outputs to compute at once for `rows` rows: as many as there are registers for their sums.
    pub(super) fn outputs(self, rows: usize) -> usize {
        match self {
            Kernel::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(_) => avx2::outputs(rows),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(_) => avx512::outputs(rows),
        }
    }

    /// Multiplies a group of rows with rows of weights. The next ones are `ahead` bytes after them.
    ///
    /// # Shapes
    ///
    /// `sums` is `[row, output]`.
    ///
    /// # Panics
    ///
    /// Panics if the lengths do not fit together.
    pub(super) fn products(
        self,
        format: FloatFormat,
        group: Group<'_>,
        weights: &[&[u8]],
        ahead: usize,
        sums: &mut [f32],
    ) {
        match format {
            FloatFormat::Bf16 => self.products_of::<Bf16>(group, weights, ahead, sums),
            FloatFormat::F16 => self.products_of::<F16>(group, weights, ahead, sums),
            FloatFormat::F32 => self.products_of::<F32>(group, weights, ahead, sums),
            FloatFormat::F64 => unreachable!("weights of F64 are not mapped"),
        }
    }

    fn products_of<S: Loaded>(self, group: Group<'_>, weights: &[&[u8]], ahead: usize, sums: &mut [f32]) {
        let blocks = group.values.len() / (group.rows * BLOCK);
        assert!(matches!(group.rows, 1..=GROUP), "{} rows in a group", group.rows);
        assert_eq!(group.values.len(), blocks * group.rows * BLOCK, "whole blocks of rows");
        assert!(weights.len() <= self.outputs(group.rows), "{} outputs at once", weights.len());
        assert_eq!(sums.len(), group.rows * weights.len(), "one sum for each row and output");
        let fits = |bytes: &&[u8]| {
            bytes.len().is_multiple_of(S::BYTES) && bytes.len().div_ceil(BLOCK * S::BYTES) == blocks
        };
        assert!(weights.iter().all(fits), "weights as wide as the rows");
        match self {
            Kernel::Portable => portable::products::<S>(group, weights, sums),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(detected) => avx2::products::<S>(detected, group, weights, ahead, sums),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(detected) => avx512::products::<S>(detected, group, weights, ahead, sums),
        }
    }
}

/// Asks the processor to bring the first of some bytes into the second cache.
pub(super) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every such processor has the instruction, and the bytes exist.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(bytes.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// A format that every kernel can load.
#[cfg(target_arch = "x86_64")]
trait Loaded: avx2::Vectors + avx512::Vectors {}
#[cfg(target_arch = "x86_64")]
impl<S: avx2::Vectors + avx512::Vectors> Loaded for S {}

/// A format that every kernel can load.
#[cfg(not(target_arch = "x86_64"))]
trait Loaded: super::stored::Stored {}
#[cfg(not(target_arch = "x86_64"))]
impl<S: super::stored::Stored> Loaded for S {}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::stored::Order, *};

    /// Numbers between -1 and 1 that a format holds exactly.
    pub(in super::super) fn numbers(format: FloatFormat, seed: u32, len: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format.round(f64::from(state >> 8) / f64::from(1 << 23) - 1.0) as f32
        };
        (0..len).map(|_| next()).collect()
    }

    pub(super) fn packed(rows: &[Vec<f32>], order: Order) -> Vec<f32> {
        let blocks = rows[0].len().div_ceil(BLOCK);
        let mut values = vec![f32::NAN; rows.len() * blocks * BLOCK];
        for (place, block) in values.chunks_exact_mut(BLOCK).enumerate() {
            let (first, row) = (place / rows.len() * BLOCK, &rows[place % rows.len()]);
            order.arrange(&row[first..row.len().min(first + BLOCK)], block);
        }
        values
    }

    #[test]
    fn every_kernel_equals_the_sums_in_f64() {
        for format in [FloatFormat::Bf16, FloatFormat::F16, FloatFormat::F32] {
            for (rows, width) in [(1, 5), (2, 32), (3, 64), (4, 100), (5, 129), (6, 576), (7, 31), (8, 1000)]
            {
                let x: Vec<Vec<f32>> =
                    (0..rows).map(|row| numbers(FloatFormat::F32, row as u32, width)).collect();
                let values = packed(&x, Order::of(format));
                let group = Group { values: &values, rows };
                for kernel in Kernel::all() {
                    for outputs in [1, kernel.outputs(rows)] {
                        let weights: Vec<Vec<f32>> =
                            (0..outputs).map(|out| numbers(format, 100 + out as u32, width)).collect();
                        let stored: Vec<Vec<u8>> = weights
                            .iter()
                            .map(|weights| {
                                let mut bytes = Vec::new();
                                format.encode(weights, &mut bytes).unwrap();
                                bytes
                            })
                            .collect();
                        let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
                        let mut sums = vec![f32::NAN; rows * outputs];
                        kernel.products(format, group, &stored, 0, &mut sums);
                        for (place, &found) in sums.iter().enumerate() {
                            let (x, w) = (&x[place / outputs], &weights[place % outputs]);
                            let terms = || x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
                            let (sum, magnitude) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                            // One rounding of each product, and of each partial sum that it is part of: the longest
                            // chain has width / 16 additions, and five more add up the sixteen sums.
                            let roundings = 2.0 + width.div_ceil(16) as f64 + 5.0;
                            let tolerance = roundings * magnitude * 2f64.powi(-24);
                            assert!(
                                (f64::from(found) - sum).abs() <= tolerance,
                                "{kernel:?} {format} {rows} x {width}: {found} {sum}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_every_group_and_in_every_fused_kernel() {
        let fused: Vec<Kernel> =
            Kernel::all().into_iter().filter(|kernel| *kernel != Kernel::Portable).collect();
        for format in [FloatFormat::Bf16, FloatFormat::F16, FloatFormat::F32] {
            let width = 300;
            let x: Vec<Vec<f32>> =
                (0..GROUP as u32).map(|row| numbers(FloatFormat::F32, row, width)).collect();
            let mut bytes = Vec::new();
            format.encode(&numbers(format, 9, width), &mut bytes).unwrap();
            let mut known: Option<Vec<u32>> = None;
            for kernel in &fused {
                for rows in 1..=GROUP {
                    let values = packed(&x[..rows], Order::of(format));
                    let mut sums = vec![f32::NAN; rows];
                    kernel.products(format, Group { values: &values, rows }, &[&bytes], 0, &mut sums);
                    let bits: Vec<u32> = sums.iter().map(|sum| sum.to_bits()).collect();
                    let known = known.get_or_insert_with(|| {
                        let values = packed(&x, Order::of(format));
                        let mut sums = vec![f32::NAN; GROUP];
                        kernel.products(
                            format,
                            Group { values: &values, rows: GROUP },
                            &[&bytes],
                            0,
                            &mut sums,
                        );
                        sums.iter().map(|sum| sum.to_bits()).collect()
                    });
                    assert_eq!(bits, known[..rows], "{kernel:?} {format} {rows}");
                }
            }
        }
    }
}
