//! Computations between the products, in one pass over states in the processor's memory.
//!
//! Every operation of a backend makes a tensor. For few rows that takes longer than the arithmetic, and many rows are read from memory
//! again for each. The functions here round where the operations do that they replace. So the results are the same bits.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::host;

/// Whether the numbers of a tensor are F32 in the processor's memory, and no gradient passes through them.
pub(super) fn is_in_memory<const D: usize>(x: &Tensor<D>) -> bool {
    is_in_memory_on(&x.device(), x.dtype())
}

/// Whether this holds of tensors of a format on a device.
pub(super) fn is_in_memory_on(device: &Device, dtype: DType) -> bool {
    dtype == DType::F32 && !device.is_autodiff() && !host::is_remote(device)
}

/// Borrows the numbers of a tensor that [is in memory](is_in_memory).
fn numbers(data: &TensorData) -> &[f32] {
    data.as_slice().expect("the dtype was compared")
}

/// Changes the numbers of a tensor that [is in memory](is_in_memory).
fn changed<const D: usize>(x: Tensor<D>, change: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let device = x.device();
    let mut data = x.into_data();
    change(data.as_mut_slice().expect("the dtype was compared"));
    Tensor::from_data(data, &device)
}

/// Returns `x / sqrt(mean_of_squares + eps) * factor`.
///
/// # Shapes
///
/// `x` is `[..., width]`, and so is the result; `mean_of_squares` is `[..., 1]`, and `factor` `[width]`.
pub(super) fn rms_norm<const D: usize>(
    x: Tensor<D>,
    mean_of_squares: Tensor<D>,
    eps: f64,
    factor: Tensor<1>,
) -> Tensor<D> {
    let (means, factor) = (mean_of_squares.into_data(), factor.into_data());
    let (means, factor) = (numbers(&means), numbers(&factor));
    changed(x, |values| {
        for (row, mean) in values.chunks_exact_mut(factor.len()).zip(means) {
            let rms = (mean + eps as f32).sqrt();
            for (value, factor) in row.iter_mut().zip(factor) {
                *value = *value / rms * factor;
            }
        }
    })
}

/// Returns `activation(gate) * up`.
///
/// # Shapes
///
/// `gate_and_up`, side by side, is `[rows, 2 d_ff]`, and the result `[rows, d_ff]`.
pub(super) fn gated(gate_and_up: Tensor<2>, activation: impl Fn(f32) -> f32) -> Tensor<2> {
    let ([rows, width], device) = (gate_and_up.dims(), gate_and_up.device());
    let d_ff = width / 2;
    let data = gate_and_up.into_data();
    let mut hidden = Vec::with_capacity(rows * d_ff);
    for row in numbers(&data).chunks_exact(width) {
        let (gate, up) = row.split_at(d_ff);
        hidden.extend(gate.iter().zip(up).map(|(&gate, up)| activation(gate) * up));
    }
    Tensor::from_data(TensorData::new(hidden, [rows, d_ff]), &device)
}

/// Applies an activation to every number.
pub(super) fn mapped(x: Tensor<2>, activation: impl Fn(f32) -> f32) -> Tensor<2> {
    changed(x, |values| values.iter_mut().for_each(|value| *value = activation(*value)))
}

/// Rotates the first `half` coordinates of each head against the next `half`.
///
/// # Shapes
///
/// `x` is `[batch, heads, positions, d_head]`, and so is the result. `cos` and `sin` are both `[1, 1, positions, half]`,
/// `[batch, 1, 1, half]` or `[1, 1, 1, half]`.
pub(super) fn rotated(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let [_, heads, positions, d_head] = x.dims();
    let [table_batch, _, table_positions, half] = cos.dims();
    let (cos, sin) = (cos.into_data(), sin.into_data());
    let (cos, sin) = (numbers(&cos), numbers(&sin));
    changed(x, |values| {
        for (place, head) in values.chunks_exact_mut(d_head).enumerate() {
            let (batch, position) = (place / (heads * positions), place % positions);
            let row = (batch % table_batch) * table_positions + position % table_positions;
            let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
            let (first, second) = head[..2 * half].split_at_mut(half);
            for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*first, *second) = (*first * cos - *second * sin, *second * cos + *first * sin);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::host::to_host;

    fn normal<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 2.0), (&inject_testing::any_device(), DType::F32))
    }

    fn bits<const D: usize>(x: Tensor<D>) -> Vec<u32> {
        to_host::<f32, D>(x).unwrap().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_norm_has_the_bits_of_its_operations() {
        let (x, factor) = (normal([3, 2, 37]), normal([37]));
        let mean = (x.clone() * x.clone()).mean_dim(2);
        let expected = x.clone() / mean.clone().add_scalar(1e-5).sqrt() * factor.clone().unsqueeze::<3>();
        assert_eq!(bits(rms_norm(x, mean, 1e-5, factor)), bits(expected));
    }

    #[test]
    fn a_gate_has_the_bits_of_its_operations() {
        let x = normal([5, 2 * 33]);
        let expected = x.clone().narrow(1, 0, 33) * 3.0 * x.clone().narrow(1, 33, 33);
        assert_eq!(bits(gated(x, |gate| gate * 3.0)), bits(expected));
    }

    #[test]
    fn a_rotation_has_the_bits_of_its_operations() {
        // Tables for all positions, for each sequence of one position, and for all of those.
        for (shape, table) in
            [([3, 2, 5, 12], [1, 1, 5, 4]), ([3, 2, 1, 12], [3, 1, 1, 4]), ([3, 2, 1, 12], [1, 1, 1, 6])]
        {
            let (x, cos, sin, half) = (normal(shape), normal(table), normal(table), table[3]);
            let [first, second] = [0, half].map(|begin| x.clone().narrow(3, begin, half));
            let mut parts = vec![
                first.clone() * cos.clone() - second.clone() * sin.clone(),
                second * cos.clone() + first * sin.clone(),
            ];
            if 2 * half < 12 {
                parts.push(x.clone().narrow(3, 2 * half, 12 - 2 * half));
            }
            assert_eq!(bits(rotated(x, cos, sin)), bits(Tensor::cat(parts, 3)), "{shape:?} {table:?}");
        }
    }

    #[test]
    fn only_numbers_without_a_gradient_are_taken_from_a_tensor() {
        let x = normal([1, 2]);
        assert_eq!(is_in_memory(&x), !host::is_remote(&x.device()));
        assert!(!is_in_memory(&x.clone().cast(DType::F16)));
        assert!(!is_in_memory(&Tensor::<2>::ones([1, 2], &x.device().autodiff())));
    }
}
