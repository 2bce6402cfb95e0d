//! Attention of given queries to given keys: by the backend, in full precision, and over cached keys beside own ones.

use burn::tensor::{Bool, Tensor, activation::softmax, module::attention, ops::AttentionModuleOptions};

use crate::decoder::{full_precision::matmul, soft_cap::capped};

/// Computes attention by the backend's own function.
pub(super) fn fused(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    hidden: Tensor<4, Bool>,
    options: AttentionModuleOptions,
) -> Tensor<4> {
    attention(queries, keys, values, Some(hidden), None, options)
}

/// The same from the decoder's own products.
pub(super) fn in_full_precision(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    hidden: Tensor<4, Bool>,
    options: AttentionModuleOptions,
) -> Tensor<4> {
    let scale = options.scale.unwrap_or_else(|| (queries.dims()[3] as f64).powf(-0.5));
    let scores = capped(matmul(queries * scale, keys.swap_dims(2, 3)), options.softcap); // [batch, heads, queries, keys]
    let hidden = hidden.expand(scores.dims());
    matmul(softmax(scores.mask_fill(hidden, f32::NEG_INFINITY), 3), values)
}

/// Attention of rows that each see cached keys, except those `hidden` from them, and one key of their own.
///
/// # Shapes
///
/// `queries` is `[n_kv_heads, rows, group, d_head]`, and so is the result; `own_keys` and `own_values` are
/// `[n_kv_heads, rows, 1, d_head]`; `cached`, keys and values, `[n_kv_heads, keys, d_head]`; `hidden` `[rows, keys]`.
pub(super) fn over_cached_and_own(
    queries: Tensor<4>,
    own_keys: Tensor<4>,
    own_values: Tensor<4>,
    (keys, values): (Tensor<3>, Tensor<3>),
    hidden: Option<Tensor<2, Bool>>,
    score_cap: Option<f64>,
) -> Tensor<4> {
    let [n_kv_heads, rows, group, d_head] = queries.dims();
    let cached = keys.dims()[1];
    let own_scores = (queries.clone() * own_keys)
        .sum_dim(3) // [n_kv_heads, rows, group, 1]
        .reshape([n_kv_heads, rows * group, 1]);
    let queries = queries.reshape([n_kv_heads, rows * group, d_head]);
    let mut scores = capped(matmul(queries, keys.swap_dims(1, 2)), score_cap); // [n_kv_heads, rows * group, cached]
    if let Some(hidden) = hidden {
        // The heads of a group are neighbouring rows.
        let hidden =
            hidden.reshape([rows, 1, cached]).repeat_dim(1, group).reshape([1, rows * group, cached]);
        scores = scores.mask_fill(hidden.repeat_dim(0, n_kv_heads), f32::NEG_INFINITY);
    }
    let weights = softmax(Tensor::cat(vec![scores, capped(own_scores, score_cap)], 2), 2);
    let from_cached = matmul(weights.clone().narrow(2, 0, cached), values);
    let own_weight = weights.narrow(2, cached, 1).reshape([n_kv_heads, rows, group, 1]);
    from_cached.reshape([n_kv_heads, rows, group, d_head]) + own_values * own_weight
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Distribution, TensorData};

    use super::*;
    use crate::host::to_host;

    #[test]
    fn both_ways_of_attention_agree() {
        for device in inject_testing::compiled() {
            device.seed(11);
            let normal = |shape: [usize; 4]| {
                Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), (&device, DType::F32))
            };
            let (queries, keys, values) = (normal([2, 3, 5, 8]), normal([2, 3, 7, 8]), normal([2, 3, 7, 8]));
            let hidden: Vec<bool> = (0..35).map(|place| place % 7 > place / 7 + 2).collect();
            let hidden = Tensor::<4, Bool>::from_data(TensorData::new(hidden, [1, 1, 5, 7]), &device);
            for softcap in [None, Some(2.0)] {
                let options = AttentionModuleOptions { scale: Some(0.3), softcap, is_causal: false };
                let [fused, own] = [fused, in_full_precision].map(|attend| {
                    attend(queries.clone(), keys.clone(), values.clone(), hidden.clone(), options)
                });
                let apart: Vec<f32> = to_host((fused - own).abs().max()).unwrap();
                // Scores below 8 are off by at most 8 roundings, and so is the logarithm of a weight; the results are averages of
                // numbers below 4.
                assert!(apart[0] < 4.0 * 2.0 * 8.0 * 8.0 * 2_f32.powi(-24), "{softcap:?}: {apart:?}");
            }
        }
    }
}
