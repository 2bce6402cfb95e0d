//! The size of a decoder and the work of one token.

use super::{Bias, BlockConfig, DecoderConfig, Head, NormConfig, Residual};
use crate::tap::Tap;

impl DecoderConfig {
    /// Counts the floating-point operations of the matrix products that take one token from the embedding to a tap: two for
    /// each weight. The products within the attention, which grow with the prefix, are not counted.
    ///
    /// # Example
    ///
    /// ```
    /// # use inject_models::{FloatFormat, Model, Origin, Tap};
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2");
    /// # let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &burn::tensor::Device::flex())?;
    /// let config = model.decoder.config();
    /// let d = config.d_model as f64;
    /// assert_eq!(config.flops_per_token(Tap::Block(2)), 2.0 * 2.0 * 12.0 * d * d);
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn flops_per_token(&self, tap: Tap) -> f64 {
        let weights = |block: &BlockConfig| {
            let (attention, feed_forward) = (&block.attention, &block.feed_forward);
            let attention_width = attention.qkv_width() + attention.n_heads * attention.d_head;
            self.d_model * (attention_width + feed_forward.up_width() + feed_forward.d_ff)
        };
        let blocks = &self.blocks[..tap.blocks_needed(self.n_layers()).min(self.n_layers())];
        2.0 * blocks.iter().map(weights).sum::<usize>() as f64
    }

    /// Estimates the numbers that one token of a batch occupies while its widest block is computed: the states kept at
    /// `taps` taps, the residual stream and its copies, the fused projections, and a row of attention scores over `len`
    /// positions for each head.
    pub fn numbers_per_token(&self, len: usize, taps: usize) -> usize {
        let widest = self.blocks.iter().map(|block| {
            let attention = &block.attention;
            2 * attention.qkv_width() + 3 * block.feed_forward.up_width() + attention.n_heads * len
        });
        (taps + 6) * self.d_model + widest.max().unwrap_or(0)
    }

    /// Returns the numbers that a prefix cache holds for one token: a key and a value for each key and value head of each block.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::PublishedShape;
    ///
    /// // 32 blocks with 8 heads of width 128.
    /// assert_eq!(PublishedShape::Llama3_1_8b.config().cached_numbers_per_token(), 2 * 32 * 8 * 128);
    /// ```
    pub fn cached_numbers_per_token(&self) -> usize {
        let of_block = |block: &BlockConfig| 2 * block.attention.n_kv_heads * block.attention.d_head;
        self.blocks.iter().map(of_block).sum()
    }

    /// Returns the number of parameters.
    pub fn n_parameters(&self) -> usize {
        let d = self.d_model;
        let norm = |config: NormConfig, width: usize| match config {
            NormConfig::Layer { .. } => 2 * width,
            NormConfig::Rms { .. } => width,
        };
        let bias = |bias: Bias, width: usize| match bias {
            Bias::Without => 0,
            Bias::With => width,
        };
        let blocks = self.blocks.iter().map(|block| {
            let (a, f) = (&block.attention, &block.feed_forward);
            let qkv = a.qkv_width();
            let out = a.n_heads * a.d_head;
            let up = f.up_width();
            let norms = match block.residual {
                Residual::Pre | Residual::Post | Residual::Parallel => 2,
                Residual::Sandwich => 4,
            };
            norms * norm(block.norm, d)
                + d * qkv
                + bias(a.qkv_bias, qkv)
                + out * d
                + bias(a.out_bias, d)
                + a.qk_norms().map_or(0, |(config, [q, k])| norm(config, q) + norm(config, k))
                + d * up
                + bias(f.bias, up)
                + f.d_ff * d
                + bias(f.bias, d)
        });
        let head = match self.head {
            Head::Tied | Head::Absent => 0,
            Head::Untied => self.vocab_size * d,
        };
        self.vocab_size * d
            + self.max_len().unwrap_or(0) * d
            + blocks.sum::<usize>()
            + norm(self.final_norm, d)
            + head
    }
}
