//! Causal self-attention: of runs of positions, and of rows beside a run.

use std::ops::Range;

use burn::{
    module::Module,
    tensor::{Bool, Tensor, activation::softmax, module::attention, ops::AttentionModuleOptions},
};

use super::{
    cache::{Cache, KeysValues},
    full_precision::{matmul, rounds_products},
    lanes::Lanes,
    linear::Linear,
    norm::Norm,
    rotary::RotaryTable,
    rows::{Rows, concatenate},
    sight::{Sight, SightBeside},
    soft_cap::capped,
};
use crate::config::{AttentionConfig, QkNorm};

/// Queries, keys and values of one fused projection, and the projection back.
#[derive(Module, Debug)]
pub(super) struct Attention {
    /// `[d_model, (n_heads + 2 n_kv_heads) d_head]`: queries, keys, values side by side.
    pub(super) qkv: Linear,
    pub(super) out: Linear,
    pub(super) q_norm: Option<Norm>,
    pub(super) k_norm: Option<Norm>,
    #[module(skip)]
    pub(super) config: AttentionConfig,
}

/// The three projections of some positions, rotated, for some of the heads.
pub(super) struct Projected {
    /// The key and value heads.
    pub(super) heads: Range<usize>,
    /// The queries of every head that shares these keys, `[batch, heads * group, positions, d_head]`.
    queries: Tensor<4>,
    /// The keys after rotation. Shape `[batch, heads, positions, d_head]`.
    pub(super) keys: Tensor<4>,
    /// The values. Shape `[batch, heads, positions, d_head]`.
    pub(super) values: Tensor<4>,
}

impl Attention {
    /// Queries, keys and values side by side. A norm over all heads together is applied here, that of each head in
    /// [`Attention::split`].
    ///
    /// # Shapes
    ///
    /// `[rows, d_model]` to `[rows, width]`.
    pub(super) fn project(&self, x: Tensor<2>) -> Tensor<2> {
        let projected = self.qkv.forward(x);
        let Some(QkNorm::AllHeads(_)) = self.config.qk_norm else { return projected };
        let [queries, keys, values] = self.config.qkv_widths();
        let part = |first: usize, width: usize| projected.clone().narrow(1, first, width);
        let parts = vec![
            normed(&self.q_norm, part(0, queries)),
            normed(&self.k_norm, part(queries, keys)),
            part(queries + keys, values),
        ];
        Tensor::cat(parts, 1)
    }

    /// Mixes the values that each row sees. A cache to be written takes up the keys and values of the runs.
    ///
    /// # Shapes
    ///
    /// From `[rows, width]`, the result of [`Attention::project`], to `[rows, n_heads * d_head]` for [`Attention::out`].
    pub(super) fn mix(
        &self,
        projected: Tensor<2>,
        rows: &Rows,
        sight: &Sight,
        mut cache: Cache<'_, KeysValues>,
        lanes: Lanes,
    ) -> Tensor<2> {
        let (runs, beside) = rows.split(projected);
        let runs = runs.map(|projected| self.mix_runs(&projected, rows.batch(), sight, &mut cache, lanes));
        let beside = beside.map(|projected| match &cache {
            Cache::Read(held) => self.mix_beside(&projected, &sight.beside, held),
            Cache::Write(held) => self.mix_beside(&projected, &sight.beside, held),
            Cache::None => unreachable!("rows beside a run see cached positions"),
        });
        concatenate(runs, beside)
    }

    /// Attention of runs over all positions so far, by groups of heads.
    ///
    /// # Shapes
    ///
    /// `[batch * run, width]` to `[batch * run, n_heads * d_head]`.
    fn mix_runs(
        &self,
        projected: &Tensor<2>,
        batch: usize,
        sight: &Sight,
        cache: &mut Cache<'_, KeysValues>,
        lanes: Lanes,
    ) -> Tensor<2> {
        let rows = projected.dims()[0];
        let mut parts = lanes.each(self.config.n_kv_heads, rows, |heads| {
            self.split(projected, batch, heads, sight.rotary.as_ref())
        });
        if let Cache::Write(cache) = cache {
            cache.extend(&mut parts);
        }
        let mixed = Lanes::over(parts, |part| match &sight.hidden {
            None => self.one_query(part),
            Some(hidden) => self.many_queries(part, hidden),
        });
        Tensor::cat(mixed, 1)
    }

    /// Attention of some heads.
    ///
    /// Long runs are taken in pieces, each with the keys that some query of it sees: in one piece, half of all scores
    /// would be computed only to be masked.
    ///
    /// # Shapes
    ///
    /// `hidden` is `[1, 1, run, keys]`, and the result `[batch * run, heads * group * d_head]`.
    fn many_queries(&self, part: Projected, hidden: &Tensor<4, Bool>) -> Tensor<2> {
        const PIECE: usize = 128;
        let AttentionConfig { d_head, score_scale, score_cap, span, .. } = self.config;
        let Projected { heads, queries, keys, values } = part;
        let group = self.config.group();
        let [batch, n_queries, positions, _] = queries.dims();
        let held = keys.dims()[2] - positions;
        let device = keys.device();
        let piece = |begin: usize| {
            let len = PIECE.min(positions - begin);
            let end = held + begin + len;
            let first = span.keys(held + begin).start;
            let in_sight = |t: &Tensor<4>| t.clone().narrow(2, first, end - first);
            let hidden = hidden.clone().narrow(2, begin, len).narrow(3, first, end - first);
            // The heads that share keys become further queries of one head: every backend can then compute the product
            // without repeating the keys.
            let queries =
                queries.clone().narrow(2, begin, len).reshape([batch, heads.len(), group * len, d_head]);
            let hidden = match group {
                1 => hidden,
                _ => hidden.repeat_dim(2, group),
            };
            let options =
                AttentionModuleOptions { scale: Some(score_scale), softcap: score_cap, is_causal: false };
            // burn's own attention would round where products do.
            let attend = if rounds_products(&device) { in_full_precision } else { fused };
            attend(queries, in_sight(&keys), in_sight(&values), hidden, options)
                .reshape([batch, n_queries, len, d_head])
                .swap_dims(1, 2) // [batch, len, n_queries, d_head]
                .reshape([batch, len, n_queries * d_head])
        };
        let pieces = (0..positions).step_by(PIECE).map(piece).collect();
        Tensor::cat(pieces, 1).reshape([batch * positions, n_queries * d_head])
    }

    /// Attention of one new position of each sequence. Keys and values stay views of the cache: burn's own attention
    /// would copy them, which at a prefix of 512 takes as long as the rest of the step.
    ///
    /// # Shapes
    ///
    /// `[batch, heads * group * d_head]`.
    fn one_query(&self, part: Projected) -> Tensor<2> {
        let AttentionConfig { d_head, score_scale, score_cap, span, .. } = self.config;
        let Projected { heads, queries, keys, values } = part;
        let (group, [batch, _, positions, _]) = (self.config.group(), keys.dims());
        let first = span.keys(positions - 1).start;
        let keys = keys.narrow(2, first, positions - first);
        let values = values.narrow(2, first, positions - first);
        let queries = queries.reshape([batch, heads.len(), group, d_head]) * score_scale;
        let scores = matmul(queries, keys.swap_dims(2, 3)); // [batch, heads, group, seen]
        let weights = softmax(capped(scores, score_cap), 3);
        matmul(weights, values).reshape([batch, heads.len() * group * d_head])
    }

    /// Attention of rows beside a run: each sees cached positions and itself.
    ///
    /// The rows are queries of one product with the cached keys, so nothing of the cache is copied for them. Each row's
    /// own key and value enter as one more column.
    ///
    /// # Shapes
    ///
    /// `[rows, width]` to `[rows, n_heads * d_head]`.
    fn mix_beside(&self, projected: &Tensor<2>, sight: &SightBeside, cache: &KeysValues) -> Tensor<2> {
        let rows = projected.dims()[0];
        let AttentionConfig { n_heads, n_kv_heads, d_head, score_scale, score_cap, .. } = self.config;
        let group = self.config.group();
        // As many sequences of one position.
        let Projected { queries, keys, values, .. } =
            self.split(projected, rows, 0..n_kv_heads, sight.rotary.as_ref());
        let by_kv_head = |t: Tensor<4>, per_head: usize| {
            t.reshape([rows, n_kv_heads, per_head, d_head]).swap_dims(0, 1) // [n_kv_heads, rows, per_head, d_head]
        };
        let queries = by_kv_head(queries, group) * score_scale;
        let (own_keys, own_values) = (by_kv_head(keys, 1), by_kv_head(values, 1));
        let mixed = if sight.keys.is_empty() {
            // The softmax over one key is 1.
            own_values.repeat_dim(2, group)
        } else {
            let cached = cache.at(sight.keys.clone());
            over_cached_and_own(queries, own_keys, own_values, cached, sight.hidden.clone(), score_cap)
        };
        mixed
            .swap_dims(0, 1) // [rows, n_kv_heads, group, d_head]
            .reshape([rows, n_heads * d_head])
    }

    /// Takes some heads out of the fused projection of `batch` runs of positions, and rotates.
    fn split(
        &self,
        projected: &Tensor<2>,
        batch: usize,
        heads: Range<usize>,
        rotary: Option<&RotaryTable>,
    ) -> Projected {
        let positions = projected.dims()[0] / batch;
        let AttentionConfig { n_heads, n_kv_heads, d_head, .. } = self.config;
        let group = self.config.group();
        let columns = |first: usize, count: usize| {
            projected
                .clone()
                .narrow(1, first * d_head, count * d_head)
                .reshape([batch, positions, count, d_head])
                .swap_dims(1, 2) // [batch, count, positions, d_head]
        };
        let normed = |t: Tensor<4>, norm: &Option<Norm>| match self.config.qk_norm {
            None | Some(QkNorm::AllHeads(_)) => t,
            Some(QkNorm::PerHead(_)) => normed(norm, t),
        };
        let rotated = |t: Tensor<4>| match rotary {
            None => t,
            Some(table) => table.rotate(t),
        };
        Projected {
            queries: rotated(normed(columns(heads.start * group, heads.len() * group), &self.q_norm)),
            keys: rotated(normed(columns(n_heads + heads.start, heads.len()), &self.k_norm)),
            values: columns(n_heads + n_kv_heads + heads.start, heads.len()),
            heads,
        }
    }
}

/// Computes attention by the backend's own function.
fn fused(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    hidden: Tensor<4, Bool>,
    options: AttentionModuleOptions,
) -> Tensor<4> {
    attention(queries, keys, values, Some(hidden), None, options)
}

/// The same from the decoder's own products.
fn in_full_precision(
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

fn normed<const D: usize>(norm: &Option<Norm>, x: Tensor<D>) -> Tensor<D> {
    match norm {
        None => x,
        Some(norm) => norm.forward(x),
    }
}

/// Attention of rows that each see cached keys, except those `hidden` from them, and one key of their own.
///
/// # Shapes
///
/// `queries` is `[n_kv_heads, rows, group, d_head]`, and so is the result; `own_keys` and `own_values` are
/// `[n_kv_heads, rows, 1, d_head]`; `cached`, keys and values, `[n_kv_heads, keys, d_head]`; `hidden` `[rows, keys]`.
fn over_cached_and_own(
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
