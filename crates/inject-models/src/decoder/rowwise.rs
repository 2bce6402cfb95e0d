//! Computations between the products, in one pass over states in the processor's memory.
//!
//! Every operation of a backend makes a tensor. For few rows that takes longer than the arithmetic, and many rows are read from memory
//! again for each. The functions here round where the operations do that they replace. So the results are the same bits.

use burn::tensor::{DType, Tensor, TensorData};
use rayon::prelude::*;

use crate::{host, tuning::FEWEST_NUMBERS};

/// Whether the numbers of a tensor are F32 in the processor's memory, and no gradient passes through them.
pub(super) fn is_in_memory<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    x.dtype() == DType::F32 && !device.is_autodiff() && !host::is_remote(&device)
}

/// The numbers of a tensor that [is in memory](is_in_memory).
fn numbers(data: &TensorData) -> &[f32] {
    data.as_slice().expect("the dtype was compared")
}

/// Changes every row of a tensor that [is in memory](is_in_memory), given its number.
fn changed<const D: usize>(x: Tensor<D>, change: impl Fn(usize, &mut [f32]) + Sync) -> Tensor<D> {
    let (device, width) = (x.device(), x.dims()[D - 1]);
    let mut data = x.into_data();
    for_each_row(data.as_mut_slice().expect("the dtype was compared"), width, change);
    Tensor::from_data(data, &device)
}

/// Calls a function for every row, given its number. The cores share many rows.
fn for_each_row(values: &mut [f32], width: usize, change: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = FEWEST_NUMBERS.div_ceil(width);
    let part = |(part, values): (usize, &mut [f32])| {
        let first = part * rows;
        values.chunks_exact_mut(width).enumerate().for_each(|(row, values)| change(first + row, values));
    };
    match values.len() > rows * width {
        true => values.par_chunks_mut(rows * width).enumerate().for_each(part),
        false => part((0, values)),
    }
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
    changed(x, |row, values| {
        let rms = (means[row] + eps as f32).sqrt();
        for (value, factor) in values.iter_mut().zip(factor) {
            *value = *value / rms * factor;
        }
    })
}

/// Returns `activation(gate) * up`.
///
/// # Shapes
///
/// `gate_and_up`, side by side, is `[rows, 2 d_ff]`, and the result `[rows, d_ff]`.
pub(super) fn gated(gate_and_up: Tensor<2>, activation: impl Fn(f32) -> f32 + Sync) -> Tensor<2> {
    let ([rows, width], device) = (gate_and_up.dims(), gate_and_up.device());
    let d_ff = width / 2;
    let data = gate_and_up.into_data();
    let gates_and_ups = numbers(&data);
    let mut hidden = vec![0.0; rows * d_ff];
    for_each_row(&mut hidden, d_ff, |row, hidden| {
        let (gate, up) = gates_and_ups[row * width..][..width].split_at(d_ff);
        for ((hidden, &gate), up) in hidden.iter_mut().zip(gate).zip(up) {
            *hidden = activation(gate) * up;
        }
    });
    Tensor::from_data(TensorData::new(hidden, [rows, d_ff]), &device)
}

/// Returns the activation of each number.
pub(super) fn mapped(x: Tensor<2>, activation: impl Fn(f32) -> f32 + Sync) -> Tensor<2> {
    changed(x, |_, values| values.iter_mut().for_each(|value| *value = activation(*value)))
}

/// Rotates the first `half` coordinates of each head against the next `half`.
///
/// # Shapes
///
/// `x` is `[batch, heads, positions, d_head]`, and so is the result. `cos` and `sin` are both `[1, 1, positions, half]`,
/// `[batch, 1, 1, half]` or `[1, 1, 1, half]`.
pub(super) fn rotated(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let [_, heads, positions, _] = x.dims();
    let [table_batch, _, table_positions, half] = cos.dims();
    let (cos, sin) = (cos.into_data(), sin.into_data());
    let (cos, sin) = (numbers(&cos), numbers(&sin));
    changed(x, |place, head| {
        let (batch, position) = (place / (heads * positions), place % positions);
        let row = (batch % table_batch) * table_positions + position % table_positions;
        let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
        let (first, second) = head[..2 * half].split_at_mut(half);
        for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            (*first, *second) = (*first * cos - *second * sin, *second * cos + *first * sin);
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

    /// A number of rows that one core computes, and one that several share.
    fn few_and_many(width: usize) -> [usize; 2] {
        [5, 2 * FEWEST_NUMBERS.div_ceil(width) + 3]
    }

    #[test]
    fn a_norm_has_the_bits_of_its_operations() {
        for rows in few_and_many(2 * 37) {
            let (x, factor) = (normal([rows, 2, 37]), normal([37]));
            let mean = (x.clone() * x.clone()).mean_dim(2);
            let expected = x.clone() / mean.clone().add_scalar(1e-5).sqrt() * factor.clone().unsqueeze::<3>();
            assert_eq!(bits(rms_norm(x, mean, 1e-5, factor)), bits(expected), "{rows} rows");
        }
    }

    #[test]
    fn a_gate_has_the_bits_of_its_operations() {
        for rows in few_and_many(33) {
            let x = normal([rows, 2 * 33]);
            let expected = x.clone().narrow(1, 0, 33) * 3.0 * x.clone().narrow(1, 33, 33);
            assert_eq!(bits(gated(x, |gate| gate * 3.0)), bits(expected), "{rows} rows");
        }
    }

    #[test]
    fn a_rotation_has_the_bits_of_its_operations() {
        // Tables for all positions, for each sequence of one position, and for all of those.
        let [_, many] = few_and_many(2 * 12);
        for (shape, table) in [
            ([3, 2, 5, 12], [1, 1, 5, 4]),
            ([3, 2, 1, 12], [3, 1, 1, 4]),
            ([3, 2, 1, 12], [1, 1, 1, 6]),
            ([1, 2, many, 12], [1, 1, many, 4]),
            ([many, 2, 1, 12], [many, 1, 1, 4]),
        ] {
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
        assert!(is_in_memory(&x) && !is_in_memory(&x.clone().cast(DType::F64)));
        assert!(!is_in_memory(&Tensor::<2>::ones([1, 2], &x.device().autodiff())));
    }
}
