//! Causal self-attention: of runs of positions, and of rows beside a run.

mod scores;

use std::ops::Range;

use burn::{
    module::Module,
    tensor::{Tensor, activation::softmax, ops::AttentionModuleOptions},
};

use self::scores::{fused, in_full_precision, over_cached_and_own};
use super::{
    cache::{Cache, KeysValues},
    full_precision::{matmul, rounds_products},
    lanes::Lanes,
    linear::Linear,
    norm::Norm,
    rotary::RotaryTable,
    rows::{Rows, concatenate},
    sight::{Hidden, Sight, SightBeside},
    soft_cap::capped,
};
use crate::{
    config::{AttentionConfig, QkNorm},
    tuning::SCORES_TOGETHER,
};

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
            Some(hidden) => self.many_queries(part, hidden, lanes),
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
    /// `[batch * run, heads * group * d_head]`.
    fn many_queries(&self, part: Projected, hidden: &Hidden, lanes: Lanes) -> Tensor<2> {
        let AttentionConfig { d_head, score_scale, score_cap, span, .. } = self.config;
        let Projected { heads, queries, keys, values } = part;
        let group = self.config.group();
        let [batch, n_queries, positions, _] = queries.dims();
        let held = keys.dims()[2] - positions;
        let device = keys.device();
        let piece = |begin: usize| {
            lanes.check();
            let len = SCORES_TOGETHER.min(positions - begin);
            let end = held + begin + len;
            let first = span.keys(held + begin).start;
            let in_sight = |t: &Tensor<4>| t.clone().narrow(2, first, end - first);
            let hidden = hidden.from(begin..begin + len, first..end);
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
        let pieces = (0..positions).step_by(SCORES_TOGETHER).map(piece).collect();
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

fn normed<const D: usize>(norm: &Option<Norm>, x: Tensor<D>) -> Tensor<D> {
    match norm {
        None => x,
        Some(norm) => norm.forward(x),
    }
}
