//! The values of random tensors, drawn in pieces.

use std::io::{self, Write};

use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::plan::{PlannedTensor, Values};
use crate::format::FloatFormat;

/// The values that one stream of random numbers gives. A checkpoint depends on it.
const PIECE: usize = 1 << 16;
/// The pieces that are drawn at once, and then written: at most 16 MB, and 16 MB more while they are rounded.
const AT_ONCE: usize = 64;

/// The upper bound, in standard deviations, on the numbers that are drawn.
///
/// # Source
///
/// G. Marsaglia and W. W. Tsang, "The Ziggurat Method for Generating Random Variables" (2000): in the tail beyond
/// r = 3.66 a number is r - ln(u) / r with a uniform u, which is at least 2^-53 here.
pub(super) const FARTHEST: f64 = 14.0;

/// Writes the values of a tensor, little-endian. Reports the bytes written after each piece of work.
///
/// The seed, the tensor's name and the place of a value in the tensor decide the value. The number of threads does not, and nor do
/// the other tensors. Another format rounds the same value.
pub(super) fn write_values(
    tensor: &PlannedTensor,
    format: FloatFormat,
    seed: u64,
    out: &mut dyn Write,
    report: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let pieces: Vec<usize> = (0..tensor.len().div_ceil(PIECE)).collect();
    for some in pieces.chunks(AT_ONCE) {
        let drawn: Vec<Vec<u8>> =
            some.par_iter().map(|&piece| piece_of(tensor, format, seed, piece)).collect::<Result<_, _>>()?;
        for bytes in drawn {
            out.write_all(&bytes)?;
            report(bytes.len() as u64);
        }
    }
    Ok(())
}

fn piece_of(tensor: &PlannedTensor, format: FloatFormat, seed: u64, piece: usize) -> io::Result<Vec<u8>> {
    let len = PIECE.min(tensor.len() - piece * PIECE);
    let values: Vec<f32> = match tensor.values {
        Values::Constant(value) => vec![value; len],
        Values::Normal { std } => {
            let mut numbers = stream(seed, &tensor.name, piece);
            let normal = |_| {
                let value: f64 = StandardNormal.sample(&mut numbers);
                (std * value) as f32
            };
            (0..len).map(normal).collect()
        }
    };
    let mut bytes = Vec::with_capacity(len * format.bytes());
    format.encode(&values, &mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The random numbers of a piece. Different names and places have unrelated streams.
fn stream(seed: u64, name: &str, piece: usize) -> Xoshiro256PlusPlus {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update((piece as u64).to_le_bytes());
    hasher.update(name);
    Xoshiro256PlusPlus::from_seed(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(rows: usize) -> PlannedTensor {
        PlannedTensor {
            name: "wte.weight".into(),
            shape: vec![rows, 1000],
            values: Values::Normal { std: 0.02 },
        }
    }

    fn drawn(tensor: &PlannedTensor, format: FloatFormat, seed: u64) -> Vec<f32> {
        let mut bytes = Vec::new();
        let mut told = 0;
        write_values(tensor, format, seed, &mut bytes, &mut |written| told += written).unwrap();
        assert_eq!(told, bytes.len() as u64);
        let mut values = vec![0.0; tensor.len()];
        format.decode(&bytes, &mut values);
        values
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        // More than one round of pieces, the last one short.
        let tensor = tensor(5000);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| drawn(&tensor, FloatFormat::F32, 7))
        };
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn a_format_rounds_the_same_values() {
        let full = drawn(&tensor(70), FloatFormat::F32, 7);
        let rounded = drawn(&tensor(70), FloatFormat::Bf16, 7);
        let expected: Vec<f32> = full.iter().map(|&value| half::bf16::from_f32(value).to_f32()).collect();
        assert_eq!(rounded, expected);
    }

    #[test]
    fn values_have_the_moments_of_their_distribution_and_streams_are_unrelated() {
        let first = drawn(&tensor(500), FloatFormat::F32, 1);
        let other_seed = drawn(&tensor(500), FloatFormat::F32, 2);
        let other_name =
            drawn(&PlannedTensor { name: "wpe.weight".into(), ..tensor(500) }, FloatFormat::F32, 1);
        let n = first.len() as f64;
        let mean = |of: &dyn Fn(usize) -> f64| (0..first.len()).map(of).sum::<f64>() / n;
        let standard = |values: &[f32], i: usize| f64::from(values[i]) / 0.02;
        // Five standard errors of each mean: the variances of z, z^2, z^4 and of products of independent numbers.
        let close = |found: f64, expected: f64, variance: f64| {
            assert!((found - expected).abs() < 5.0 * (variance / n).sqrt(), "{found} is not {expected}");
        };
        close(mean(&|i| standard(&first, i)), 0.0, 1.0);
        close(mean(&|i| standard(&first, i).powi(2)), 1.0, 2.0);
        close(mean(&|i| standard(&first, i).powi(4)), 3.0, 96.0);
        close(mean(&|i| standard(&first, i) * standard(&other_seed, i)), 0.0, 1.0);
        close(mean(&|i| standard(&first, i) * standard(&other_name, i)), 0.0, 1.0);
        // The second piece does not repeat the first.
        close(mean(&|i| standard(&first, i) * standard(&first, (i + PIECE) % first.len())), 0.0, 1.0);
        assert!(first.iter().all(|value| f64::from(value.abs()) < 0.02 * FARTHEST));
    }
}
