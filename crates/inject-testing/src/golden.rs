//! The files of states that the reference computed, and the distance within which a state equals them.

use burn::tensor::Tensor;
use inject_models::FloatFormat;
use safetensors::{Dtype, SafeTensors};

/// A tensor of a golden file, with its values as f64.
pub struct Golden {
    /// The size of each axis.
    pub shape: Vec<usize>,
    /// All values, the last axis first.
    pub values: Vec<f64>,
}

/// Returns a tensor of a golden file.
///
/// # Panics
///
/// Panics if there is no such tensor, or if its values are neither f64, f32 nor i32.
pub fn golden(file: &SafeTensors<'_>, name: &str) -> Golden {
    let view = file.tensor(name).unwrap();
    let values = match view.dtype() {
        Dtype::F64 => view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        Dtype::F32 => {
            view.data().as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
        }
        Dtype::I32 => {
            view.data().as_chunks::<4>().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect()
        }
        other => panic!("unexpected {other:?}"),
    };
    Golden { shape: view.shape().to_vec(), values }
}

/// Returns the rows of a tensor of ids.
pub fn ids(golden: &Golden) -> Vec<Vec<u32>> {
    let width = *golden.shape.last().unwrap();
    golden.values.chunks(width).map(|row| row.iter().map(|&id| id as u32).collect()).collect()
}

/// Returns the values of a tensor, as f64.
///
/// # Panics
///
/// Panics if the device cannot be read.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().try_to_vec::<f64>().unwrap()
}

/// Returns the L2 distance within which a state equals the reference.
///
/// In float32 it is four times the larger of two numbers: the float32 error of the reference at that tap, and 2e-7 of the
/// norm of the state, which is a few roundings (one is 6e-8). In float64 the reference has no error that matters; there
/// the tolerance is 1e-12 of the norm, a few thousand roundings.
///
/// # Panics
///
/// Panics if a model does not compute in the format.
pub fn tolerance(format: FloatFormat, noise: f64, expected: &[f64]) -> f64 {
    match format {
        FloatFormat::F32 => 4.0 * noise.max(2e-7 * norm(expected)),
        FloatFormat::F64 => 1e-12 * norm(expected),
        other => panic!("a model does not compute in {other}"),
    }
}

/// Returns the L2 distance of two rows.
///
/// # Panics
///
/// Panics if their lengths differ.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// Returns the L2 norm of a row.
pub fn norm(a: &[f64]) -> f64 {
    a.iter().map(|a| a * a).sum::<f64>().sqrt()
}
