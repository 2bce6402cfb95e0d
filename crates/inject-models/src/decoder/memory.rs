//! The memory that a pass takes.

use burn::tensor::{DType, Device};

use super::{Decoder, linear::pieces, narrow::is_narrow, rowwise, sight};
use crate::{
    config::{Activation, AttentionConfig, BlockConfig, FeedForwardKind, QkNorm, RotaryConfig, Span},
    tuning::{FEW_ROWS, LANE_MOST_ROWS, LARGEST_MASK, SCORES_TOGETHER},
};

impl Decoder {
    /// Estimates the memory that one token of a batch occupies while its widest block is computed: see
    /// [`DecoderConfig::numbers_per_token`](crate::DecoderConfig::numbers_per_token).
    ///
    /// # Units
    ///
    /// Bytes.
    pub fn bytes_per_token(&self, len: usize, taps: usize) -> usize {
        self.dtype().size() * self.config.numbers_per_token(len, taps)
    }

    /// Estimates the most memory that the states of one prompt of `len` tokens at `taps` taps take while they are computed and read.
    /// The weights are not counted.
    ///
    /// Unlike [`Decoder::bytes_per_token`], which divides a batch of short prompts, this follows the computation of a long prompt: its
    /// attention is computed piece by piece, and on a processor of several cores so is all that treats each row by itself. It is the
    /// sum of what exists at the same time at most, and so an upper bound. Some megabytes that a backend takes once are not counted.
    ///
    /// # Units
    ///
    /// Bytes.
    pub fn bytes_of_prompt(&self, len: usize, taps: usize) -> usize {
        Pass::new(self, len).bytes(taps)
    }
}

/// The computation of one prompt. Memory is counted in numbers, each of which takes 4 bytes at least: where a decoder computes in 16 bits,
/// norms, activations and attention widen what they are given.
struct Pass<'a> {
    decoder: &'a Decoder,
    len: usize,
    /// The jobs that threads have begun at the same time. A thread that waits for a part of its job takes up another.
    jobs: usize,
    /// Whether rows that do not depend on each other are computed in groups.
    grouped: bool,
    /// Whether the work between the products is done in place, in one pass over the numbers.
    in_place: bool,
}

impl<'a> Pass<'a> {
    fn new(decoder: &'a Decoder, len: usize) -> Self {
        let device = decoder.device();
        let in_place = rowwise::is_in_memory_on(&device, decoder.dtype());
        let grouped = decoder.lanes() > 1;
        Pass { decoder, len, jobs: 2 * rayon::current_num_threads(), grouped, in_place }
    }

    fn bytes(&self, taps: usize) -> usize {
        let Pass { decoder, len, .. } = *self;
        let config = &decoder.config;
        // The states of each tap, on the device and where they are read, and the prompt's ids.
        let kept = 2 * taps * config.d_model + 2;
        let blocks = config.blocks.iter();
        let in_block = blocks.map(|block| self.numbers(block)).max().unwrap_or(0);
        // Embeddings, scaled, with their positions.
        let embedded = len.saturating_mul(3 * config.d_model);
        let numbers = len.saturating_mul(kept).saturating_add(in_block.max(embedded));
        let number = decoder.dtype().size().max(DType::F32.size());
        number.saturating_mul(numbers).saturating_add(self.sights())
    }

    /// The numbers that a block holds at most, while it projects, mixes or goes on after the attention.
    fn numbers(&self, block: &BlockConfig) -> usize {
        let (attention, feed_forward) = (&block.attention, &block.feed_forward);
        let d = self.decoder.config.d_model;
        let [queries, keys, values] = attention.qkv_widths();
        let projected = queries + keys + values;
        let (up, d_ff) = (feed_forward.up_width(), feed_forward.d_ff);

        // The states, their norm and its squares; and the projection, which a bias or a norm of all heads copies.
        let copies = if matches!(attention.qk_norm, Some(QkNorm::AllHeads(_))) { 3 } else { 2 };
        let projecting = self.by_rows(d, (2 * d).max(d + copies * projected), projected);

        // The states and the projection; queries and keys out of it; keys and values in the order of the product, for as many
        // positions as are in sight; and what is mixed, piece by piece and joined.
        let mixing = d + projected + (queries + keys) + (keys + values) + 2 * queries;
        let widened = if is_narrow(self.decoder.dtype()) { keys + values } else { 0 };
        let mixing = self.len.saturating_mul(mixing + widened).saturating_add(self.scores(attention));

        // The states and what was mixed; the branch of the attention, the sum, its norm and the squares; then the sum, a state and
        // the hidden layer. What is computed in place is copied once where it becomes a tensor again. Out of place an activation has
        // up to four tensors.
        let hidden = match feed_forward.kind {
            kind if !(self.in_place && is_in_place(kind)) => up + 4 * d_ff,
            FeedForwardKind::Plain(_) => 2 * up,
            FeedForwardKind::Gated(_) => up + 2 * d_ff,
        };
        let after = self.by_rows(d + queries, (4 * d).max(2 * d + hidden), d);

        let maps = [[d, projected], [queries, d], [d, up], [d_ff, d]];
        let product = maps.map(|map| self.product(map)).into_iter().max().unwrap_or(0);
        projecting.max(mixing).max(after).saturating_add(product)
    }

    /// The numbers of a step that treats each row by itself: those that it has of all rows, and those that it has of the rows that are
    /// computed at the same time. The results of groups exist twice while they are joined.
    fn by_rows(&self, of_all: usize, of_each: usize, result: usize) -> usize {
        match self.grouped {
            false => self.len.saturating_mul(of_all + of_each),
            true => {
                let at_once = self.len.min(self.jobs * LANE_MOST_ROWS);
                self.len.saturating_mul(of_all + 2 * result).saturating_add(at_once * of_each)
            }
        }
    }

    /// The numbers that products have beside their factors and results. In 16 bits the matrix is widened for each group of rows. In
    /// others a product of few rows is computed in pieces, which are copied for their sum.
    fn product(&self, [inputs, outputs]: [usize; 2]) -> usize {
        let groups = if self.grouped { self.decoder.lanes() } else { 1 };
        if is_narrow(self.decoder.dtype()) {
            return self.jobs.min(groups.max(self.len / LANE_MOST_ROWS)) * inputs * outputs;
        }
        match pieces(inputs) {
            pieces if pieces > 1 && self.len <= groups * FEW_ROWS => self.len * 2 * pieces * outputs,
            _ => 0,
        }
    }

    /// The scores of the pieces that are computed at the same time.
    fn scores(&self, attention: &AttentionConfig) -> usize {
        /// The scores, those after the mask, and the weights.
        const COPIES: usize = 3;
        /// The most scores of one head that burn-flex keeps: `NAIVE_SCORE_BUDGET` of its `attention.rs`, version 0.22.
        const MOST_SCORES: usize = 1 << 18;
        /// The scores of one query where there would be more: `TILE_KV` keys at a time, and two sums.
        const TILE: usize = 64 + 2;
        let piece = SCORES_TOGETHER.min(self.len);
        let of_head = attention.group().saturating_mul(piece).saturating_mul(self.in_sight(attention));
        match keeps_few_scores(&self.decoder.device()) {
            true => self.jobs * of_head.min(MOST_SCORES.max(attention.group() * piece * TILE)),
            false => of_head.saturating_mul(COPIES * attention.n_kv_heads),
        }
    }

    /// The bytes of the masks, and of the angles of rotations.
    fn sights(&self) -> usize {
        let mut known: Vec<&AttentionConfig> = Vec::new();
        for block in &self.decoder.config.blocks {
            if !known.iter().any(|other| sight::agree(other, &block.attention)) {
                known.push(&block.attention);
            }
        }
        let of_sight = |attention: &AttentionConfig| {
            let whole = Some(self.len.saturating_mul(self.len)).filter(|&mask| mask <= LARGEST_MASK);
            let angles = 2 * attention.rotary.as_ref().map_or(0, RotaryConfig::pairs);
            let number = self.decoder.dtype().size();
            whole.unwrap_or(0).saturating_add(self.len.saturating_mul(number * angles))
        };
        // The mask of a piece, and for heads that share their keys as many more.
        let of_piece = |attention: &AttentionConfig| {
            let pieces = if self.grouped { self.jobs.min(attention.n_kv_heads) } else { 1 };
            let mask = SCORES_TOGETHER.min(self.len).saturating_mul(self.in_sight(attention));
            mask.saturating_mul(pieces * (1 + attention.group()))
        };
        let whole = known.iter().map(|attention| of_sight(attention)).fold(0, usize::saturating_add);
        whole.saturating_add(known.iter().map(|attention| of_piece(attention)).max().unwrap_or(0))
    }

    /// The keys that some position of a piece sees, at most.
    fn in_sight(&self, attention: &AttentionConfig) -> usize {
        match attention.span {
            Span::Full => self.len,
            Span::Window(window) => self.len.min(window.saturating_add(SCORES_TOGETHER)),
        }
    }
}

/// Whether an activation is computed in place where its numbers are F32 in the processor's memory.
fn is_in_place(kind: FeedForwardKind) -> bool {
    let (FeedForwardKind::Plain(activation) | FeedForwardKind::Gated(activation)) = kind;
    matches!(activation, Activation::GeluTanh | Activation::Silu)
}

/// Whether a device keeps few of the scores of a long piece. burn says which backend a device has in its debug output only. One that is
/// not known there counts as one that keeps all, which estimates too much and not too little.
fn keeps_few_scores(device: &Device) -> bool {
    format!("{device:?}").starts_with("Device<Flex")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn the_backend_that_keeps_few_scores_is_known() {
        for (name, device) in inject_testing::named() {
            assert_eq!(keeps_few_scores(&device), name == "flex", "{device:?}");
        }
    }

    #[test]
    fn the_memory_of_a_long_prompt_grows_with_its_length_and_not_faster() {
        for name in inject_testing::models::FAMILIES {
            let decoder = inject_testing::models::model(name, &inject_testing::any_device()).decoder;
            for lanes in [1, 2, 64] {
                let decoder = decoder.clone().with_lanes(NonZeroUsize::new(lanes).unwrap());
                let [short, long] = [100_000, 200_000].map(|len| decoder.bytes_of_prompt(len, 2));
                assert!(short < long && long <= 2 * short, "{name}: {short} {long}");
                // The states of both taps, on the device and where they are read.
                assert!(short > 100_000 * 4 * 2 * 2 * decoder.config().d_model, "{name}: {short}");
                assert_eq!(decoder.bytes_of_prompt(usize::MAX, 2), usize::MAX);
            }
        }
    }
}
