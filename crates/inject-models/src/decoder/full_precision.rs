//! Matrix products with the precision of F32 on devices that round their inputs.
//!
//! NVIDIA's tensor cores multiply F32 numbers after rounding them to TF32, which has 11 significant bits of F32's 24. burn's CUDA
//! backend prefers them for every large product. A state would then be off by a thousandth, and distances below that would mean
//! nothing. On such a device a product is computed in three parts.

use std::sync::{PoisonError, RwLock};

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::narrow::is_narrow;
use crate::host;

/// Multiplies matrices with the precision of their format.
///
/// # Shapes
///
/// As those of burn's `matmul`.
pub(super) fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    match a.dtype() {
        DType::F32 if rounds_products(&a.device()) => in_parts(a, b),
        dtype if is_narrow(dtype) && is_small(&a, &b) && host::is_remote(&a.device()) => widened(a, b),
        _ => a.matmul(b),
    }
}

/// Whether cubek 0.3.1 calls a product small (`MatmulGlobalScale::Small`): burn then tunes kernels without tensor cores too.
fn is_small<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> bool {
    [a, b].into_iter().flat_map(|t| t.dims().into_iter().skip(D - 2)).all(|side| side < 512)
}

/// Multiplies matrices of a 16-bit format in F32. TF32 holds their numbers, so the result is rounded once.
///
/// NVRTC takes more than a minute for each of the kernels without tensor cores that burn would try in BF16 or F16, and a second in
/// F32.
fn widened<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let dtype = a.dtype();
    a.cast(DType::F32).matmul(b.cast(DType::F32)).cast(dtype)
}

/// Returns whether a device rounds F32 numbers before it multiplies matrices of them. The decoder then computes each product in
/// three parts, so that states have the precision of F32 all the same.
///
/// The first call for a device that [is remote](host::is_remote) computes two products on it. Other devices never round.
pub fn rounds_products(device: &Device) -> bool {
    static KNOWN: RwLock<Vec<(Device, bool)>> = RwLock::new(Vec::new());
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, rounds)) = known.iter().find(|(known, _)| known == device) {
        return *rounds;
    }
    drop(known);
    let rounds = host::is_remote(device) && probe(&device.clone().without_autodiff());
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).push((device.clone(), rounds));
    rounds
}

/// Multiplies numbers that TF32, BF16 and F16 round down to one. A device that cannot return the result counts as one that rounds.
fn probe(device: &Device) -> bool {
    const VALUE: f32 = 1.0 + 1.0 / 4096.0;
    // The kernel is chosen by the largest side. For large products the tensor cores come first.
    [512, 2048].into_iter().any(|terms| {
        let of = |shape: [usize; 2]| {
            let data = TensorData::new(vec![VALUE; shape[0] * shape[1]], shape);
            Tensor::<2>::from_data(data, (device, DType::F32))
        };
        let products = host::to_host::<f64, 2>(of([64, terms]).matmul(of([terms, 64])));
        let expected = terms as f64 * f64::from(VALUE).powi(2);
        // Half of what the rounding of one factor would change, and far above what a sum in F32 does.
        let exact = |found: &f64| (found / expected - 1.0).abs() < 0.5 / 4096.0;
        !products.is_ok_and(|products| products.iter().all(exact))
    })
}

/// Computes a product of F32 matrices as three products whose factors TF32 holds.
///
/// Each number is the sum of a part with 11 significant bits and a rest, at most 2^-11 of it, of which TF32 loses at most 2^-10. The
/// product of the two rests is left out. So each term is off by at most 5 * 2^-22 of itself, some roundings of F32.
///
/// # Source
///
/// Markidis et al., arXiv 1803.04014, section V; Ootomo and Yokota, arXiv 2203.03341, section 2.3.
fn in_parts<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let ((a, a_rest), (b, b_rest)) = (parts(a), parts(b));
    a.clone().matmul(b_rest) + a_rest.matmul(b.clone()) + a.matmul(b)
}

/// Splits numbers into a part that TF32 holds, and the rest.
///
/// F16 has as many significant bits as TF32. A number beyond its range, or so small that it has fewer bits there, leaves a larger
/// rest. The scale puts the range at a million. The rest of a small number is then at most 2^-21, so that 2^-31 is lost of it.
fn parts<const D: usize>(x: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    const SCALE: f32 = 16.0;
    let most = half::f16::MAX.to_f32();
    let part =
        x.clone().div_scalar(SCALE).clamp(-most, most).cast(DType::F16).cast(DType::F32).mul_scalar(SCALE);
    let rest = x - part.clone();
    (part, rest)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use burn::tensor::Distribution;

    use super::*;

    /// The number as the tensor cores take it: with 11 significant bits, the others cut off.
    fn tf32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        let (shape, device) = (x.dims(), x.device());
        let values: Vec<f32> = host::to_host(x).unwrap();
        let cut: Vec<f32> = values.iter().map(|x| f32::from_bits(x.to_bits() & !0x1fff)).collect();
        Tensor::from_data(TensorData::new(cut, shape), (&device, DType::F32))
    }

    /// The largest error of a product, as a share of the sum of its terms' sizes.
    fn error(found: Tensor<2>, a: &Tensor<2>, b: &Tensor<2>) -> f64 {
        let ([rows, terms], [_, columns]) = (a.dims(), b.dims());
        let host = |t: &Tensor<2>| host::to_host::<f64, 2>(t.clone()).unwrap();
        let (found, a, b) = (host::to_host::<f64, 2>(found).unwrap(), host(a), host(b));
        let mut worst = 0.0_f64;
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let products = (0..terms).map(|term| a[row * terms + term] * b[term * columns + column]);
            let (sum, size) = products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
            worst = worst.max((found[row * columns + column] - sum).abs() / size);
        }
        worst
    }

    #[test]
    fn three_products_of_rounded_parts_have_the_precision_of_f32() {
        let device = inject_testing::any_device();
        device.seed(5);
        for (size_a, size_b) in [(1.0, 0.02), (3e4, 1e-3), (1e-4, 1.0)] {
            let normal = |shape, size| {
                Tensor::<2>::random(shape, Distribution::Normal(0.0, size), (&device, DType::F32))
            };
            let (a, b) = (normal([7, 256], size_a), normal([256, 9], size_b));
            let ((a_part, a_rest), (b_part, b_rest)) = (parts(a.clone()), parts(b.clone()));
            for part in [&a_part, &b_part] {
                let same = (tf32(part.clone()) - part.clone()).abs().max();
                assert_eq!(host::to_host::<f32, 1>(same).unwrap(), [0.0], "TF32 holds the part");
            }
            let rounded = tf32(a_part.clone()).matmul(tf32(b_rest))
                + tf32(a_rest).matmul(tf32(b_part.clone()))
                + a_part.matmul(b_part);
            // Each term is off by 5 * 2^-22, and the sum of 256 by fewer roundings than it has terms.
            let allowed = 5.0 * 2_f64.powi(-22) + 256.0 * 2_f64.powi(-24);
            for found in [rounded, in_parts(a.clone(), b.clone())] {
                let found = error(found, &a, &b);
                assert!(found < allowed, "{size_a}, {size_b}: {found:e}");
            }
            let once = error(tf32(a.clone()).matmul(tf32(b.clone())), &a, &b);
            assert!(once > allowed, "one product of rounded numbers does not: {once:e}");
        }
    }

    #[test]
    fn a_small_product_of_16_bits_is_rounded_once() {
        let device = inject_testing::any_device();
        device.seed(5);
        let normal =
            |shape| Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), (&device, DType::F32));
        for (dtype, unit) in [(DType::BF16, 2_f64.powi(-8)), (DType::F16, 2_f64.powi(-11))] {
            let (a, b) = (normal([2, 5, 64]).cast(dtype), normal([2, 64, 7]).cast(dtype));
            assert!(is_small(&a, &b) && !is_small(&a, &b.clone().repeat_dim(2, 100)));
            let found = widened(a.clone(), b.clone());
            assert_eq!((found.dtype(), found.dims()), (dtype, [2, 5, 7]));
            let host = |t: Tensor<3>| host::to_host::<f64, 3>(t).unwrap();
            let (a, b, found) = (host(a), host(b), host(found));
            for (at, found) in found.into_iter().enumerate() {
                let (batch, row, column) = (at / 35, at / 7 % 5, at % 7);
                let terms = (0..64).map(|k| a[(batch * 5 + row) * 64 + k] * b[(batch * 64 + k) * 7 + column]);
                let exact: f64 = terms.sum();
                // The sum of 64 terms in F32 is off by far less.
                assert!((found - exact).abs() <= 1.01 * unit * exact.abs() + 1e-4, "{found}, {exact}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let device = inject_testing::any_device();
        for value in [f32::NAN, f32::INFINITY] {
            let a = Tensor::<2>::from_data([[value, 1.0]], (&device, DType::F32));
            let b = Tensor::<2>::from_data([[1.0], [1.0]], (&device, DType::F32));
            assert!(!host::to_host::<f32, 2>(in_parts(a, b)).unwrap()[0].is_finite());
        }
    }

    #[test]
    fn a_processor_does_not_round() {
        for device in inject_testing::compiled() {
            assert!(host::is_remote(&device) || !rounds_products(&device));
            let a = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], (&device, DType::F32));
            let found = host::to_host::<f32, 2>(matmul(a.clone(), a)).unwrap();
            assert_eq!(found, [7.0, 10.0, 15.0, 22.0]);
        }
    }

    /// Only a device that rounds would show a product that is computed elsewhere.
    #[test]
    fn every_product_of_this_crate_is_computed_here() {
        fn sources(folder: &Path) -> Vec<PathBuf> {
            let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
        }
        let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        assert!(files.len() > 50, "{} files", files.len());
        for file in files.iter().filter(|file| !file.ends_with("full_precision.rs")) {
            let text = fs::read_to_string(file).unwrap();
            assert!(!text.contains(".matmul("), "{}: use full_precision::matmul", file.display());
        }
    }
}
