//! Gradient descent, for both published searches.

use crate::{
    error::InvertError,
    models::{Decoder, ModelError},
    tensors::read,
};
use burn::tensor::{DType, Tensor, TensorData};

/// The loss that a descent minimises.
///
/// # Source
///
/// arXiv 2510.15511 prints the first (Algorithm 3). The code released with it (giorgosnikolaou/SIPIT, `src/utils/model.py`)
/// computes the second, whose gradient is smaller by a factor of half the number of values compared. This matters if the gradient
/// is too small to be clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Objective {
    /// Half the squared Euclidean distance to the given states.
    #[default]
    HalfSquaredDistance,
    /// The mean of the squared differences between all coordinates.
    MeanSquaredDifference,
}

impl Objective {
    /// Returns the loss of `states`.
    ///
    /// # Shapes
    ///
    /// Both tensors are `[positions, d_model]`. The states are converted to the number format of `wanted`.
    pub(super) fn of(self, states: Tensor<2>, wanted: Tensor<2>) -> Tensor<1> {
        let difference = states.cast(wanted.dtype()) - wanted;
        let squares = difference.clone() * difference;
        match self {
            Objective::HalfSquaredDistance => squares.sum().mul_scalar(0.5),
            Objective::MeanSquaredDifference => squares.mean(),
        }
    }
}

/// Takes one step of gradient descent, with the gradient clipped to norm 1.
///
/// # Source
///
/// arXiv 2510.15511 v4, appendix E.1.
pub(super) fn descend(point: &mut [f64], gradient: &[f64], step_size: f64) {
    let norm = gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
    let step_size = step_size / norm.max(1.0);
    for (coordinate, slope) in point.iter_mut().zip(gradient) {
        *coordinate -= step_size * slope;
    }
}

/// Returns the size of a step relative to the first, after `steps` steps. It decreases linearly to a hundredth.
///
/// # Source
///
/// giorgosnikolaou/SIPIT, `src/algorithm/base.py` and `SIPIT.py`: `LinearLR` from 1 to 0.01.
pub(super) fn decayed(steps: usize, over: usize) -> f64 {
    1.0 - 0.99 * (steps.min(over) as f64 / over.max(1) as f64)
}

/// Returns the number format in which distances and losses are computed: the model's, or f32 if that is wider.
pub(super) fn wide(decoder: &Decoder) -> DType {
    match decoder.dtype() {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

/// Copies values to the model's device.
pub(super) fn upload(values: &[f64], shape: [usize; 2], decoder: &Decoder, dtype: DType) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), shape).convert_dtype(dtype);
    Tensor::from_data(data, (&decoder.device(), dtype))
}

/// Returns the loss at a point and its gradient with respect to the point. The closure computes the loss.
///
/// The model's parameters have no gradients. Next to a tensor that has one they are constants, so the graph contains only the
/// operations from the point to the loss.
///
/// # Shapes
///
/// `point` and the gradient are `[rows, d_model]`.
pub(super) fn slope(
    point: Tensor<2>,
    loss: impl FnOnce(Tensor<2>) -> Result<Tensor<1>, InvertError>,
) -> Result<(f64, Vec<f64>), InvertError> {
    let point = point.autodiff().require_grad();
    let loss = loss(point.clone())?;
    let mut gradients = loss.backward();
    let gradient = point.grad_remove(&mut gradients).ok_or_else(|| {
        let reason = "no gradient arrived at the embeddings".to_owned();
        InvertError::Model(ModelError::Device { reason })
    })?;
    let loss = read(loss)?.first().copied().unwrap_or(f64::NAN);
    Ok((loss, read(gradient)?))
}

#[cfg(test)]
pub(super) mod tests {
    use std::num::NonZeroUsize;

    use inject_testing::models::folder;

    use super::*;
    use crate::models::{FloatFormat, Logits, Model, Origin, Tap, TokenBatch};

    /// Runs `check` on small models in f64 that together have every kind of position encoding, norm and feed-forward layer.
    pub(in crate::sources) fn for_each_model(check: impl Fn(&str, &Decoder)) {
        for device in inject_testing::compiled().into_iter().filter(inject_testing::computes_in_f64) {
            for case in ["gpt2", "llama", "gemma3", "phi4"] {
                let origin = Origin::of_folder(&folder(case));
                check(case, &Model::load(origin, FloatFormat::F64, &device).unwrap().decoder);
            }
        }
    }

    /// Returns values without a pattern, about as large as those of an embedding.
    pub(in crate::sources) fn point(values: usize) -> Vec<f64> {
        (0..values).map(|i| ((i * i * 7 + i * 13 + 5) % 101) as f64 / 500.0 - 0.1).collect()
    }

    /// Compares a gradient with difference quotients in several directions.
    ///
    /// The error of a quotient over `2h` is `h^2 / 6` times the third derivative, plus the rounding error of the loss divided by
    /// `2h`. At `h = 1e-5` and losses of up to 1e3, both are below 1e-6 of the gradients here.
    fn assert_slope(
        label: &str,
        at: &[f64],
        shape: [usize; 2],
        decoder: &Decoder,
        loss: impl Fn(Tensor<2>) -> Tensor<1>,
    ) {
        let tensor = |values: &[f64]| upload(values, shape, decoder, DType::F64);
        let (value, gradient) = slope(tensor(at), |point| Ok(loss(point))).unwrap();
        let value_at = |values: &[f64]| read(loss(tensor(values))).unwrap()[0];
        assert!((value - value_at(at)).abs() <= 1e-12 * value.abs());
        let largest = gradient.iter().fold(0.0_f64, |largest, slope| largest.max(slope.abs()));
        assert!(largest > 0.0, "{label}");
        const H: f64 = 1e-5;
        for direction in (0..at.len()).step_by(11) {
            let moved = |by: f64| {
                let mut values = at.to_vec();
                values[direction] += by;
                value_at(&values)
            };
            let quotient = (moved(H) - moved(-H)) / (2.0 * H);
            let apart = (quotient - gradient[direction]).abs();
            assert!(apart <= 1e-5 * largest, "{label}, {direction}: {quotient} {}", gradient[direction]);
        }
    }

    const OBJECTIVES: [Objective; 2] = [Objective::HalfSquaredDistance, Objective::MeanSquaredDifference];

    #[test]
    fn the_gradient_after_a_prefix_is_that_of_finite_differences() {
        for_each_model(|case, decoder| {
            let d_model = decoder.config().d_model;
            let prefix: Vec<u32> = (0..11).map(|i| i * 31 % 97).collect();
            for tap in Tap::all(decoder.config().n_layers()) {
                let mut cache = decoder.prefix_cache(1, 14, tap).unwrap();
                let tokens = TokenBatch::new(&[&prefix]).unwrap();
                decoder.extend(&mut cache, &tokens, &[], Logits::None).unwrap();
                let wanted = decoder.candidates(&cache, &[17], tap).unwrap();
                for objective in OBJECTIVES {
                    assert_slope(
                        &format!("{case}, {tap}"),
                        &point(d_model),
                        [1, d_model],
                        decoder,
                        |point| {
                            let state = decoder.candidates_from_embeddings(&cache, point, tap).unwrap();
                            objective.of(state, wanted.clone())
                        },
                    );
                }
            }
        });
    }

    #[test]
    fn the_gradient_over_a_whole_prompt_is_that_of_finite_differences() {
        for_each_model(|case, decoder| {
            // Long enough for the attention windows, for the switch of rotary frequencies, and for two lanes.
            let shape = [40, decoder.config().d_model];
            let decoder = &decoder.clone().with_lanes(NonZeroUsize::MIN.saturating_add(1));
            for tap in Tap::all(decoder.config().n_layers()) {
                let wanted = upload(&vec![0.3; shape[0] * shape[1]], shape, decoder, DType::F64);
                for objective in OBJECTIVES {
                    assert_slope(
                        &format!("{case}, {tap}"),
                        &point(shape[0] * shape[1]),
                        shape,
                        decoder,
                        |points| {
                            let states = decoder.forward_from_embeddings(points.unsqueeze(), tap).unwrap();
                            objective.of(states.reshape(shape), wanted.clone())
                        },
                    );
                }
            }
        });
    }

    #[test]
    fn a_long_gradient_is_clipped_and_a_short_one_is_not() {
        let mut point = [1.0, 1.0];
        descend(&mut point, &[3.0, 4.0], 0.5);
        assert_eq!(point, [1.0 - 0.5 * 0.6, 1.0 - 0.5 * 0.8]);
        let mut point = [1.0, 1.0];
        descend(&mut point, &[0.3, 0.4], 0.5);
        assert_eq!(point, [0.85, 0.8]);
    }

    #[test]
    fn steps_shrink_to_a_hundredth_and_stay_there() {
        assert_eq!(decayed(0, 50), 1.0);
        assert!((decayed(25, 50) - 0.505).abs() < 1e-12);
        assert!((decayed(50, 50) - 0.01).abs() < 1e-12);
        assert_eq!(decayed(50, 50), decayed(5000, 50));
    }
}
