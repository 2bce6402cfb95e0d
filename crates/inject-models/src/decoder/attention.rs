//! Causal self-attention: over a whole sequence, over a cached prefix, and for many candidate tokens at once that
//! share one cached prefix.

use burn::{
    module::Module,
    tensor::{Bool, Tensor, activation::softmax, module::attention, ops::AttentionModuleOptions},
};

use super::{cache::KeysValues, linear::Linear, norm::Norm, rotary::RotaryTable};
use crate::config::{AttentionConfig, Span};

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

/// The three projections of some positions, rotated.
struct Projected {
    /// `[batch, n_heads, positions, d_head]`
    queries: Tensor<4>,
    /// `[batch, n_kv_heads, positions, d_head]`
    keys: Tensor<4>,
    /// `[batch, n_kv_heads, positions, d_head]`
    values: Tensor<4>,
}

impl Attention {
    /// Attention of new positions over everything so far; the cache, where there is one, takes them up.
    ///
    /// `hidden` says, for one query and each key it is given, whether the key is out of sight.
    ///
    /// # Shapes
    ///
    /// `fused` is what [`Attention::qkv`] gives, `[batch * positions, width]`; the result, for [`Attention::out`], is
    /// `[batch * positions, n_heads * d_head]`; `hidden` is `[1, 1, positions, keys]`.
    pub(super) fn mix(
        &self,
        fused: Tensor<2>,
        batch: usize,
        rotary: Option<&RotaryTable>,
        hidden: Tensor<4, Bool>,
        cache: Option<&mut KeysValues>,
    ) -> Tensor<2> {
        let positions = fused.dims()[0] / batch;
        let Projected { queries, keys, values } = self.split(fused, batch, rotary);
        let (keys, values) = match cache {
            None => (keys, values),
            Some(cache) => cache.extend(keys, values),
        };
        let AttentionConfig { n_heads, n_kv_heads, d_head, score_scale, .. } = self.config;
        let group = self.config.group();
        if positions == 1 {
            return self.mix_one(queries, keys, values);
        }
        // The heads that share keys become further queries of one head: every backend can then do the product without
        // repeating the keys.
        let queries = queries.reshape([batch, n_kv_heads, group * positions, d_head]);
        let hidden = match group {
            1 => hidden,
            _ => hidden.repeat_dim(2, group),
        };
        let options = AttentionModuleOptions { scale: Some(score_scale), softcap: None, is_causal: false };
        let mixed = attention(queries, keys, values, Some(hidden), None, options);
        mixed
            .reshape([batch, n_heads, positions, d_head])
            .swap_dims(1, 2) // [batch, positions, n_heads, d_head]
            .reshape([batch * positions, n_heads * d_head])
    }

    /// Attention of one new position a sequence. Keys and values stay the views of the cache that they are: burn's own
    /// attention would copy them, and at a prefix of 512 that copy takes as long as the rest of the step.
    ///
    /// # Shapes
    ///
    /// `queries` is `[batch, n_heads, 1, d_head]`, `keys` and `values` are `[batch, n_kv_heads, held, d_head]`, and the result
    /// is `[batch, n_heads * d_head]`.
    fn mix_one(&self, queries: Tensor<4>, keys: Tensor<4>, values: Tensor<4>) -> Tensor<2> {
        let AttentionConfig { n_heads, n_kv_heads, d_head, score_scale, span, .. } = self.config;
        let [batch, _, held, _] = keys.dims();
        let seen = match span {
            Span::Full => held,
            Span::Window(n) => held.min(n),
        };
        let keys = keys.narrow(2, held - seen, seen);
        let values = values.narrow(2, held - seen, seen);
        let queries = queries.reshape([batch, n_kv_heads, self.config.group(), d_head]) * score_scale;
        let scores = queries.matmul(keys.swap_dims(2, 3)); // [batch, n_kv_heads, group, seen]
        softmax(scores, 3).matmul(values).reshape([batch, n_heads * d_head])
    }

    /// Attention of many candidates for one next position, each seeing the cached prefix and itself.
    ///
    /// The candidates are query rows of one product with the shared keys: nothing of the prefix is copied for them.
    /// Each row's own key and value enter as one more column.
    ///
    /// # Shapes
    ///
    /// `fused` is `[candidates, width]`, and the result `[candidates, n_heads * d_head]`.
    pub(super) fn mix_candidates(
        &self,
        fused: Tensor<2>,
        rotary: Option<&RotaryTable>,
        cache: &KeysValues,
    ) -> Tensor<2> {
        let candidates = fused.dims()[0];
        let AttentionConfig { n_heads, n_kv_heads, d_head, score_scale, span, .. } = self.config;
        let group = self.config.group();
        let projected = self.split(fused, candidates, rotary);
        let by_kv_head = |t: Tensor<4>, per_head: usize| {
            t.reshape([candidates, n_kv_heads, per_head, d_head]).swap_dims(0, 1) // [n_kv_heads, candidates, per_head, d_head]
        };
        let queries = by_kv_head(projected.queries, group) * score_scale;
        let own_keys = by_kv_head(projected.keys, 1);
        let own_values = by_kv_head(projected.values, 1);

        // The prefix positions in sight of position `held`.
        let held = cache.len();
        let first = match span {
            Span::Full => 0,
            Span::Window(n) => (held + 1).saturating_sub(n),
        };
        let mixed = if first == held {
            // Nothing but itself in sight: the softmax over one key is 1.
            own_values.repeat_dim(2, group)
        } else {
            let (keys, values) = cache.shared(first); // [n_kv_heads, held - first, d_head]
            let own_scores = (queries.clone() * own_keys)
                .sum_dim(3) // [n_kv_heads, candidates, group, 1]
                .reshape([n_kv_heads, candidates * group, 1]);
            let queries = queries.reshape([n_kv_heads, candidates * group, d_head]);
            let scores = queries.matmul(keys.swap_dims(1, 2)); // [n_kv_heads, candidates * group, held - first]
            let weights = softmax(Tensor::cat(vec![scores, own_scores], 2), 2);
            let from_prefix = weights.clone().narrow(2, 0, held - first).matmul(values);
            let own_weight = weights.narrow(2, held - first, 1).reshape([n_kv_heads, candidates, group, 1]);
            from_prefix.reshape([n_kv_heads, candidates, group, d_head]) + own_values * own_weight
        };
        mixed
            .swap_dims(0, 1) // [candidates, n_kv_heads, group, d_head]
            .reshape([candidates, n_heads * d_head])
    }

    /// Takes the fused projection of `batch` runs of positions apart, and rotates.
    fn split(&self, fused: Tensor<2>, batch: usize, rotary: Option<&RotaryTable>) -> Projected {
        let positions = fused.dims()[0] / batch;
        let AttentionConfig { n_heads, n_kv_heads, d_head, .. } = self.config;
        let heads = |first: usize, count: usize| {
            fused
                .clone()
                .narrow(1, first * d_head, count * d_head)
                .reshape([batch, positions, count, d_head])
                .swap_dims(1, 2) // [batch, count, positions, d_head]
        };
        let normed = |t: Tensor<4>, norm: &Option<Norm>| match norm {
            None => t,
            Some(norm) => norm.forward(t),
        };
        let rotated = |t: Tensor<4>| match rotary {
            None => t,
            Some(table) => table.rotate(t),
        };
        Projected {
            queries: rotated(normed(heads(0, n_heads), &self.q_norm)),
            keys: rotated(normed(heads(n_heads, n_kv_heads), &self.k_norm)),
            values: heads(n_heads + n_kv_heads, n_kv_heads),
        }
    }
}
