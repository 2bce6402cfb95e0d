//! The feed-forward branch.

use burn::{
    module::Module,
    tensor::{Tensor, activation},
};

use super::{linear::Linear, narrow::in_f32, rowwise};
use crate::config::{Activation, FeedForwardConfig, FeedForwardKind};

/// The map up, the activation and the map down, with a gate if the family has one.
#[derive(Module, Debug)]
pub(super) struct FeedForward {
    /// `[d_model, d_ff]`, or gate and up side by side, `[d_model, 2 d_ff]`.
    pub(super) up: Linear,
    pub(super) down: Linear,
    #[module(skip)]
    pub(super) config: FeedForwardConfig,
}

impl FeedForward {
    /// # Shapes
    ///
    /// `[rows, d_model]` to the same.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let up = self.up.forward(x);
        let hidden = match self.config.kind {
            FeedForwardKind::Plain(activation) => activate(up, activation),
            FeedForwardKind::Gated(activation) => gated(up, activation),
        };
        self.down.forward(hidden)
    }
}

/// `activation(gate) * up`, for `gate` and `up` side by side.
///
/// # Shapes
///
/// `[rows, 2 d_ff]` to `[rows, d_ff]`.
fn gated(gate_and_up: Tensor<2>, activation: Activation) -> Tensor<2> {
    let in_memory = rowwise::is_in_memory(&gate_and_up);
    match activation {
        Activation::GeluTanh if in_memory => rowwise::gated(gate_and_up, number::gelu_tanh),
        Activation::Silu if in_memory => rowwise::gated(gate_and_up, number::silu),
        activation => {
            let d_ff = gate_and_up.dims()[1] / 2;
            let gate = gate_and_up.clone().narrow(1, 0, d_ff);
            activate(gate, activation) * gate_and_up.narrow(1, d_ff, d_ff)
        }
    }
}

fn activate(x: Tensor<2>, kind: Activation) -> Tensor<2> {
    let in_memory = rowwise::is_in_memory(&x);
    in_f32(x, |x| match kind {
        Activation::GeluTanh if in_memory => rowwise::mapped(x, number::gelu_tanh),
        Activation::Silu if in_memory => rowwise::mapped(x, number::silu),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::GeluErf => activation::gelu(x),
        Activation::Silu => times_sigmoid(x.clone(), -x),
        Activation::Relu => activation::relu(x),
    })
}

/// The factor of the cube, and that of the whole, in the tanh approximation of GELU as `x sigmoid(2u)`.
const GELU_CUBIC: f64 = 0.044_715;
const GELU_SCALE: f64 = -std::f64::consts::SQRT_2 * std::f64::consts::FRAC_2_SQRT_PI;

/// An exponent at which the quotient is 1e-35 of x. Beyond it the exponential overflows, and its gradient would be zero times infinity.
const LARGEST_EXPONENT: f64 = 80.0;

/// The activations of single numbers, rounded as those of tensors are.
mod number {
    use super::{GELU_CUBIC, GELU_SCALE, LARGEST_EXPONENT};

    pub(super) fn gelu_tanh(x: f32) -> f32 {
        let slope = x * x * (GELU_SCALE * GELU_CUBIC) as f32 + GELU_SCALE as f32;
        times_sigmoid(x, slope * x)
    }

    pub(super) fn silu(x: f32) -> f32 {
        times_sigmoid(x, -x)
    }

    fn times_sigmoid(x: f32, minus_y: f32) -> f32 {
        x / (minus_y.min(LARGEST_EXPONENT as f32).exp() + 1.0)
    }
}

/// GELU in its tanh approximation, written as `x sigmoid(2u)`.
///
/// The function is the same, since `(1 + tanh u) / 2 = sigmoid(2u)`. But `1 + tanh u` suffers from cancellation for very
/// negative `u`, and tanh needs more than one exponential.
///
/// # Source
///
/// Hugging Face transformers 5.23, `activations.py` (`NewGELUActivation`).
fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    let slope = (x.clone() * x.clone()).mul_scalar(GELU_SCALE * GELU_CUBIC).add_scalar(GELU_SCALE);
    times_sigmoid(x.clone(), slope * x)
}

/// `x sigmoid(y)`, given `-y`, as one quotient. The sigmoid of a CPU backend branches on the sign of each value, which the
/// processor predicts wrongly half the time.
fn times_sigmoid(x: Tensor<2>, minus_y: Tensor<2>) -> Tensor<2> {
    x / minus_y.clamp_max(LARGEST_EXPONENT).exp().add_scalar(1.0)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::host;

    #[test]
    fn a_gradient_is_finite_where_the_exponential_overflows() {
        for device in inject_testing::compiled() {
            let device = device.autodiff();
            let x = Tensor::<2>::from_data([[-1000.0_f32, -90.0, -0.5, 1000.0]], &device).require_grad();
            for kind in [Activation::GeluTanh, Activation::Silu] {
                let gradients = activate(x.clone(), kind).sum().backward();
                let found = x.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
                assert!(found[..2].iter().all(|slope| slope.abs() < 1e-30), "{kind:?}: {found:?}");
                assert!(found[2].is_finite() && found[3] == 1.0, "{kind:?}: {found:?}");
            }
        }
    }

    #[test]
    fn numbers_and_tensors_have_the_same_bits() {
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-40, 3e38, -3e38, 1e20];
        let xs: Vec<f32> = (-12000..=12000).map(|i| i as f32 * 0.0101).chain(special).collect();
        // Other devices compute with tensors alone.
        for device in inject_testing::compiled().iter().filter(|device| !host::is_remote(device)) {
            let tensor = Tensor::<2>::from_data(TensorData::new(xs.clone(), [1, xs.len()]), device);
            let both: [(fn(f32) -> f32, Tensor<2>); 2] = [
                (number::silu, times_sigmoid(tensor.clone(), -tensor.clone())),
                (number::gelu_tanh, gelu_tanh(tensor)),
            ];
            for (number, tensor) in both {
                let expected = tensor.into_data().try_to_vec::<f32>().unwrap();
                for (x, expected) in xs.iter().zip(expected) {
                    let found = number(*x);
                    assert!(
                        found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                        "{x}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn silu_equals_its_published_formula() {
        for device in inject_testing::compiled() {
            let xs: Vec<f32> = (-1200..=1200).map(|i| i as f32 * 0.1).collect();
            let tensor = Tensor::<2>::from_data(TensorData::new(xs.clone(), [1, xs.len()]), &device);
            let found = activate(tensor, Activation::Silu).into_data().try_to_vec::<f32>().unwrap();
            for (x, found) in xs.into_iter().zip(found) {
                let x = f64::from(x);
                let expected = x / (1.0 + (-x).exp());
                assert!((f64::from(found) - expected).abs() <= 1e-6 * x.abs(), "{x}: {found} {expected}");
            }
        }
    }

    #[test]
    fn gelu_equals_its_published_formula() {
        for device in inject_testing::compiled() {
            let xs: Vec<f32> = (-120..=120).map(|i| i as f32 * 0.1).collect();
            let tensor = Tensor::<2>::from_data(TensorData::new(xs.clone(), [1, xs.len()]), &device);
            let found = gelu_tanh(tensor).into_data().try_to_vec::<f32>().unwrap();
            for (x, found) in xs.into_iter().zip(found) {
                let x = f64::from(x);
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                let expected = 0.5 * x * (1.0 + u.tanh());
                // Six roundings of f32, and the exponential's own error.
                assert!(
                    (f64::from(found) - expected).abs() <= 1e-6 * x.abs().max(1e-3),
                    "{x}: {found} {expected}"
                );
            }
        }
    }
}
