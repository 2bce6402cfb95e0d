//! Causal self-attention: over a whole sequence, over a cached prefix, and for many candidate tokens at once that
//! share one cached prefix.

use std::ops::Range;

use burn::{
    module::Module,
    tensor::{Bool, Tensor, activation::softmax, module::attention, ops::AttentionModuleOptions},
};

use super::{cache::KeysValues, lanes::Lanes, linear::Linear, norm::Norm, rotary::RotaryTable};
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

/// The three projections of some positions, rotated, for some of the heads.
pub(super) struct Projected {
    /// Which keys and values these are.
    pub(super) heads: Range<usize>,
    /// Those of every head that shares them, `[batch, heads * group, positions, d_head]`.
    queries: Tensor<4>,
    /// `[batch, heads, positions, d_head]`
    pub(super) keys: Tensor<4>,
    /// `[batch, heads, positions, d_head]`
    pub(super) values: Tensor<4>,
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
        lanes: Lanes,
    ) -> Tensor<2> {
        let rows = fused.dims()[0];
        let mut parts =
            lanes.each(self.config.n_kv_heads, rows, |heads| self.split(&fused, batch, heads, rotary));
        if let Some(cache) = cache {
            cache.extend(&mut parts);
        }
        let mixed = Lanes::over(parts, |part| match rows / batch {
            1 => self.mix_one(part),
            _ => self.mix_many(part, &hidden),
        });
        Tensor::cat(mixed, 1)
    }

    /// Attention of some heads.
    ///
    /// Long runs of positions are taken in pieces, each with the keys that some query of it sees: in one piece, half of all
    /// scores would be computed only to be masked.
    ///
    /// # Shapes
    ///
    /// `hidden` is `[1, 1, positions, keys]`, and the result `[batch * positions, heads * group * d_head]`.
    fn mix_many(&self, part: Projected, hidden: &Tensor<4, Bool>) -> Tensor<2> {
        const PIECE: usize = 128;
        let AttentionConfig { d_head, score_scale, span, .. } = self.config;
        let Projected { heads, queries, keys, values } = part;
        let group = self.config.group();
        let [batch, n_queries, positions, _] = queries.dims();
        let held = keys.dims()[2] - positions;
        let piece = |begin: usize| {
            let len = PIECE.min(positions - begin);
            let end = held + begin + len;
            let first = match span {
                Span::Full => 0,
                Span::Window(n) => (held + begin + 1).saturating_sub(n),
            };
            let in_sight = |t: &Tensor<4>| t.clone().narrow(2, first, end - first);
            let hidden = hidden.clone().narrow(2, begin, len).narrow(3, first, end - first);
            // The heads that share keys become further queries of one head: every backend can then do the product without
            // repeating the keys.
            let queries =
                queries.clone().narrow(2, begin, len).reshape([batch, heads.len(), group * len, d_head]);
            let hidden = match group {
                1 => hidden,
                _ => hidden.repeat_dim(2, group),
            };
            let options =
                AttentionModuleOptions { scale: Some(score_scale), softcap: None, is_causal: false };
            attention(queries, in_sight(&keys), in_sight(&values), Some(hidden), None, options)
                .reshape([batch, n_queries, len, d_head])
                .swap_dims(1, 2) // [batch, len, n_queries, d_head]
                .reshape([batch, len, n_queries * d_head])
        };
        let pieces = (0..positions).step_by(PIECE).map(piece).collect();
        Tensor::cat(pieces, 1).reshape([batch * positions, n_queries * d_head])
    }

    /// Attention of one new position a sequence. Keys and values stay the views of the cache that they are: burn's own
    /// attention would copy them, and at a prefix of 512 that copy takes as long as the rest of the step.
    ///
    /// # Shapes
    ///
    /// `[batch, heads * group * d_head]`.
    fn mix_one(&self, part: Projected) -> Tensor<2> {
        let AttentionConfig { d_head, score_scale, span, .. } = self.config;
        let Projected { heads, queries, keys, values } = part;
        let (group, [batch, _, held, _]) = (self.config.group(), keys.dims());
        let seen = match span {
            Span::Full => held,
            Span::Window(n) => held.min(n),
        };
        let keys = keys.narrow(2, held - seen, seen);
        let values = values.narrow(2, held - seen, seen);
        let queries = queries.reshape([batch, heads.len(), group, d_head]) * score_scale;
        let scores = queries.matmul(keys.swap_dims(2, 3)); // [batch, heads, group, seen]
        softmax(scores, 3).matmul(values).reshape([batch, heads.len() * group * d_head])
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
        let projected = self.split(&fused, candidates, 0..n_kv_heads, rotary);
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
            beside_prefix(queries, own_keys, own_values, cache.shared(first), None)
        };
        mixed
            .swap_dims(0, 1) // [candidates, n_kv_heads, group, d_head]
            .reshape([candidates, n_heads * d_head])
    }

    /// Attention of alternatives to tokens that the cache holds already, each seeing what is before its own place and itself.
    ///
    /// # Shapes
    ///
    /// `fused` is `[alternatives, width]`, the rotary table has a position for each, and `hidden`, `[alternatives, keys]`, says which
    /// cached keys are out of sight. The result is `[alternatives, n_heads * d_head]`.
    pub(super) fn mix_alternatives(
        &self,
        fused: Tensor<2>,
        rotary: Option<&RotaryTable>,
        hidden: Tensor<2, Bool>,
        cache: &KeysValues,
    ) -> Tensor<2> {
        let alternatives = fused.dims()[0];
        let AttentionConfig { n_heads, n_kv_heads, d_head, score_scale, .. } = self.config;
        let group = self.config.group();
        let projected = self.split(&fused, 1, 0..n_kv_heads, rotary);
        let by_kv_head = |t: Tensor<4>, per_head: usize| {
            t.reshape([n_kv_heads, per_head, alternatives, d_head]).swap_dims(1, 2) // [n_kv_heads, alternatives, per_head, d_head]
        };
        let queries = by_kv_head(projected.queries, group) * score_scale;
        let own = [projected.keys, projected.values].map(|t| by_kv_head(t, 1));
        let [own_keys, own_values] = own;
        beside_prefix(queries, own_keys, own_values, cache.shared(0), Some(hidden))
            .swap_dims(0, 1) // [alternatives, n_kv_heads, group, d_head]
            .reshape([alternatives, n_heads * d_head])
    }

    /// Takes some heads out of the fused projection of `batch` runs of positions, and rotates.
    fn split(
        &self,
        fused: &Tensor<2>,
        batch: usize,
        heads: Range<usize>,
        rotary: Option<&RotaryTable>,
    ) -> Projected {
        let positions = fused.dims()[0] / batch;
        let AttentionConfig { n_heads, n_kv_heads, d_head, .. } = self.config;
        let group = self.config.group();
        let columns = |first: usize, count: usize| {
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
            queries: rotated(normed(columns(heads.start * group, heads.len() * group), &self.q_norm)),
            keys: rotated(normed(columns(n_heads + heads.start, heads.len()), &self.k_norm)),
            values: columns(n_heads + n_kv_heads + heads.start, heads.len()),
            heads,
        }
    }
}

/// Attention of rows that each see shared keys, but for those `hidden` from them, and one key of their own.
///
/// The rows are queries of one product with the shared keys, so nothing is copied for them; each row's own key and value enter as one
/// more column.
///
/// # Shapes
///
/// `queries` is `[n_kv_heads, rows, group, d_head]`, and so is the result; `own_keys` and `own_values` are
/// `[n_kv_heads, rows, 1, d_head]`; `shared`, keys and values, `[n_kv_heads, keys, d_head]`; `hidden` `[rows, keys]`.
fn beside_prefix(
    queries: Tensor<4>,
    own_keys: Tensor<4>,
    own_values: Tensor<4>,
    (keys, values): (Tensor<3>, Tensor<3>),
    hidden: Option<Tensor<2, Bool>>,
) -> Tensor<4> {
    let [n_kv_heads, rows, group, d_head] = queries.dims();
    let shared = keys.dims()[1];
    let own_scores = (queries.clone() * own_keys)
        .sum_dim(3) // [n_kv_heads, rows, group, 1]
        .reshape([n_kv_heads, rows * group, 1]);
    let queries = queries.reshape([n_kv_heads, rows * group, d_head]);
    let mut scores = queries.matmul(keys.swap_dims(1, 2)); // [n_kv_heads, rows * group, shared]
    if let Some(hidden) = hidden {
        // The heads of a group are neighbouring rows.
        let hidden =
            hidden.reshape([rows, 1, shared]).repeat_dim(1, group).reshape([1, rows * group, shared]);
        scores = scores.mask_fill(hidden.repeat_dim(0, n_kv_heads), f32::NEG_INFINITY);
    }
    let weights = softmax(Tensor::cat(vec![scores, own_scores], 2), 2);
    let from_shared = weights.clone().narrow(2, 0, shared).matmul(values);
    let own_weight = weights.narrow(2, shared, 1).reshape([n_kv_heads, rows, group, 1]);
    from_shared.reshape([n_kv_heads, rows, group, d_head]) + own_values * own_weight
}
