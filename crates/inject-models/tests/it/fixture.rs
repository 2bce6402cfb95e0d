//! The reference models and the files that hold their states.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Tensor};
use inject_models::{Family, FloatFormat, Model, Origin};
/// One small model of each family.
pub(crate) use inject_testing::models::FAMILIES as ONE_PER_FAMILY;
use safetensors::{Dtype, SafeTensors};

pub(crate) fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(case)
}

pub(crate) fn load(case: &str, precision: FloatFormat, device: &Device) -> Model {
    Model::load(Origin::of_folder(&folder(case)), precision, device)
        .unwrap_or_else(|error| panic!("{case}: {error}"))
}

/// Checks that a list of fixtures has one of each family.
pub(crate) fn check_families<'a>(cases: impl IntoIterator<Item = &'a str>) {
    let device = inject_testing::any_device();
    let found: HashSet<Family> =
        cases.into_iter().map(|case| load(case, FloatFormat::F32, &device).family()).collect();
    for family in Family::all() {
        assert!(found.contains(family), "no fixture of {family}");
    }
}

/// A tensor of a golden file, with its values as f64.
pub(crate) struct Golden {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

pub(crate) fn golden(file: &SafeTensors<'_>, name: &str) -> Golden {
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

/// Rows of ids.
pub(crate) fn ids(golden: &Golden) -> Vec<Vec<u32>> {
    let width = *golden.shape.last().unwrap();
    golden.values.chunks(width).map(|row| row.iter().map(|&id| id as u32).collect()).collect()
}

/// The values of a tensor, as f64.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().try_to_vec::<f64>().unwrap()
}

/// The L2 distance within which a state equals the reference.
///
/// In float32 it is four times the larger of two numbers: the float32 error of the reference at that tap, and 2e-7 of the
/// norm of the state, which is a few roundings (one is 6e-8). In float64 the reference has no error that matters; there
/// the tolerance is 1e-12 of the norm, a few thousand roundings.
pub(crate) fn tolerance(format: FloatFormat, noise: f64, expected: &[f64]) -> f64 {
    match format {
        FloatFormat::F32 => 4.0 * noise.max(2e-7 * norm(expected)),
        FloatFormat::F64 => 1e-12 * norm(expected),
        other => panic!("a model does not compute in {other}"),
    }
}

/// L2 distance of two rows.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

pub(crate) fn norm(a: &[f64]) -> f64 {
    a.iter().map(|a| a * a).sum::<f64>().sqrt()
}
