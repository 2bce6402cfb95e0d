//! The description of a decoder, into which every family is translated.
//!
//! The types here have no `Default`, no builder and no hidden variants, on purpose: a new axis of variation must make the
//! compiler visit every family, and everyone else who interprets a description.

mod counts;

use std::ops::Range;

/// A sequential pre-norm decoder. The description is complete: the computation depends on nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Rows of the token embedding and of the head.
    pub vocab_size: usize,
    /// The step from token ids to the input of the first block.
    pub embedding: EmbeddingConfig,
    /// The blocks, first to last.
    pub blocks: Vec<BlockConfig>,
    /// The norm between the last block and the head.
    pub final_norm: NormConfig,
    /// The step from states to logits.
    pub head: Head,
}

/// The step from token ids to the input of the first block.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingConfig {
    /// Factor on the embeddings (Gemma: `sqrt(d_model)`), or none.
    pub scale: Option<f64>,
    /// Learned absolute positions, or none (rotary models put position into the attention instead).
    pub positions: LearnedPositions,
}

/// Whether a table of absolute positions is added to the token embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnedPositions {
    /// There is no table.
    None,
    /// There is a table. Sequences longer than its rows cannot be computed.
    Table {
        /// Rows of the table.
        max_len: usize,
    },
}

/// One block: attention and feed-forward, each in a residual branch.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockConfig {
    /// Every norm on the residual stream within this block.
    pub norm: NormConfig,
    /// The places of the norms.
    pub residual: Residual,
    /// The attention branch.
    pub attention: AttentionConfig,
    /// The feed-forward branch.
    pub feed_forward: FeedForwardConfig,
}

/// The places of a block's norms relative to its two branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// `x + f(norm(x))`.
    Pre,
    /// `x + norm(f(norm(x)))`, which makes four norms in a block of Gemma.
    Sandwich,
}

/// A normalisation over the last dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormConfig {
    /// Mean and variance, weight and bias.
    Layer {
        /// Added to the variance.
        eps: f64,
    },
    /// Root mean square, weight only.
    Rms {
        /// Added to the mean square.
        eps: f64,
        /// The meaning of the stored weight.
        weight: RmsWeight,
    },
}

/// The meaning of the stored weight of an RMS norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RmsWeight {
    /// The weight is the factor.
    Factor,
    /// The weight is the factor less one (Gemma).
    FactorLessOne,
}

/// Causal self-attention.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionConfig {
    /// Query heads; a multiple of `n_kv_heads`.
    pub n_heads: usize,
    /// Key and value heads, each shared by `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Width of one head. It can differ from `d_model / n_heads`.
    pub d_head: usize,
    /// Factor on the scores before the softmax.
    pub score_scale: f64,
    /// The keys that a query sees.
    pub span: Span,
    /// Rotation of queries and keys by position, or none.
    pub rotary: Option<RotaryConfig>,
    /// Norm of each head's query and key before the rotation, or none.
    pub qk_norm: Option<NormConfig>,
    /// Bias on the query, key and value projections.
    pub qkv_bias: Bias,
    /// Bias on the output projection.
    pub out_bias: Bias,
}

/// Whether a projection adds a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// Product only.
    Without,
    /// Product plus a learned vector.
    With,
}

/// The keys that a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Every position up to the query's own.
    Full,
    /// The last `n` positions, the query's own included.
    Window(usize),
}

impl Span {
    /// Returns the positions of the keys that the query at position `query` sees. Every mask follows from it.
    ///
    /// # Source
    ///
    /// Hugging Face transformers 5.23, `masking_utils.py` (`causal_mask_function`, `sliding_window_overlay`) and
    /// `modeling_gpt_neo.py` (the `xor` of two triangles): all of them keep exactly the last `n` keys.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::config::Span;
    ///
    /// assert_eq!(Span::Window(3).keys(5), 3..6);
    /// assert_eq!(Span::Window(3).keys(1), 0..2);
    /// assert_eq!(Span::Full.keys(5), 0..6);
    /// ```
    pub fn keys(self, query: usize) -> Range<usize> {
        let end = query + 1;
        match self {
            Span::Full => 0..end,
            Span::Window(n) => end.saturating_sub(n)..end,
        }
    }
}

/// Rotary position embedding, rotating the two halves of each head against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryConfig {
    /// The number of leading coordinates of each head that rotate. It is even and at most `d_head`.
    pub rotary_dim: usize,
    /// Base of the geometric series of frequencies (`rope_theta`).
    pub base: f64,
    /// The change of the frequencies for sequences longer than those of the first training.
    pub scaling: RotaryScaling,
}

/// A change of rotary frequencies for longer sequences.
///
/// # Source
///
/// Hugging Face transformers 5.23, `modeling_rope_utils.py`.
#[derive(Clone, Debug, PartialEq)]
pub enum RotaryScaling {
    /// No change.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// Divisor.
        factor: f64,
    },
    /// Low frequencies divided by `factor`, high ones kept, a ramp between (Llama 3.1).
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_len / low_freq_factor` are stretched by the whole factor.
        low_freq_factor: f64,
        /// Wavelengths below `original_len / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Length of the sequences of the first training.
        original_len: f64,
    },
    /// One divisor for each frequency, from one of two lists. The length of the whole sequence decides between the lists, so
    /// a state depends on the number of tokens after it (Phi-3, Phi-4-mini).
    LongRope {
        /// Divisors for sequences of at most `original_len` tokens; `rotary_dim / 2` of them.
        short_factor: Vec<f64>,
        /// Divisors for longer sequences; `rotary_dim / 2` of them.
        long_factor: Vec<f64>,
        /// The longest sequence with the short factors.
        original_len: usize,
        /// Factor on sines and cosines.
        attention_factor: f64,
    },
}

/// The feed-forward branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedForwardConfig {
    /// Width of the hidden layer.
    pub d_ff: usize,
    /// The form of the branch.
    pub kind: FeedForwardKind,
    /// Bias on every projection of the branch.
    pub bias: Bias,
}

/// The form of a feed-forward branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForwardKind {
    /// `down(act(up(x)))`.
    Plain(Activation),
    /// `down(act(gate(x)) * up(x))`.
    Gated(Activation),
}

/// An elementwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU in its tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// GELU by the error function (`gelu`).
    GeluErf,
    /// `x * sigmoid(x)` (`silu`, `swish`).
    Silu,
    /// `max(x, 0)`. It is not analytic, so the theorems on injectivity do not apply.
    Relu,
}

impl Activation {
    /// Returns whether the function is analytic, as the theorems on injectivity assume.
    pub fn is_analytic(self) -> bool {
        match self {
            Activation::GeluTanh | Activation::GeluErf | Activation::Silu => true,
            Activation::Relu => false,
        }
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Activation::GeluTanh => "gelu-tanh",
            Activation::GeluErf => "gelu",
            Activation::Silu => "silu",
            Activation::Relu => "relu",
        })
    }
}

impl FeedForwardKind {
    /// Returns the activation.
    pub fn activation(self) -> Activation {
        match self {
            FeedForwardKind::Plain(activation) | FeedForwardKind::Gated(activation) => activation,
        }
    }

    /// Returns the same form with another activation.
    pub fn with_activation(self, activation: Activation) -> Self {
        match self {
            FeedForwardKind::Plain(_) => FeedForwardKind::Plain(activation),
            FeedForwardKind::Gated(_) => FeedForwardKind::Gated(activation),
        }
    }
}

/// The step from states to logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The product with the token embedding.
    Tied,
    /// The product with a matrix of its own.
    Untied,
}

impl DecoderConfig {
    /// Returns the number of blocks.
    pub fn n_layers(&self) -> usize {
        self.blocks.len()
    }

    /// Returns the length of the longest sequence that can be computed, if a table of learned positions limits it.
    ///
    /// Rotary positions have no limit. The `max_position_embeddings` of such a model is the length of the sequences in
    /// training, and longer ones are computed like others, as in Hugging Face transformers. Whether the model makes sense
    /// there is another question.
    pub fn max_len(&self) -> Option<usize> {
        match self.embedding.positions {
            LearnedPositions::None => None,
            LearnedPositions::Table { max_len } => Some(max_len),
        }
    }

    /// Returns the same description with another activation in every block.
    pub fn with_activation(mut self, activation: Activation) -> Self {
        for block in &mut self.blocks {
            block.feed_forward.kind = block.feed_forward.kind.with_activation(activation);
        }
        self
    }

    /// Returns whether sequences of these two lengths use the same rotary frequencies. Only then may they share a batch:
    /// LongRoPE chooses its frequencies by the length of the whole sequence.
    pub fn same_rotary(&self, a: usize, b: usize) -> bool {
        let rotaries = self.blocks.iter().filter_map(|block| block.attention.rotary.as_ref());
        let switches = rotaries.filter_map(|rotary| match rotary.scaling {
            RotaryScaling::LongRope { original_len, .. } => Some(original_len),
            RotaryScaling::None | RotaryScaling::Linear { .. } | RotaryScaling::Llama3 { .. } => None,
        });
        switches.into_iter().all(|switch| (a > switch) == (b > switch))
    }
}

impl AttentionConfig {
    /// Returns the number of columns of the fused projection of queries, keys and values.
    pub fn qkv_width(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.d_head
    }

    /// Returns the numbers of columns of queries, keys and values in the fused projection, in this order.
    pub fn qkv_widths(&self) -> [usize; 3] {
        [self.n_heads, self.n_kv_heads, self.n_kv_heads].map(|heads| heads * self.d_head)
    }

    /// Returns the number of query heads that share one key and value head.
    pub fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }
}

impl FeedForwardConfig {
    /// Returns the numbers of columns of the parts of the first projection: up alone, or gate and up.
    pub fn up_widths(&self) -> Vec<usize> {
        match self.kind {
            FeedForwardKind::Plain(_) => vec![self.d_ff],
            FeedForwardKind::Gated(_) => vec![self.d_ff; 2],
        }
    }

    /// Returns the number of columns of the first projection.
    pub fn up_width(&self) -> usize {
        match self.kind {
            FeedForwardKind::Plain(_) => self.d_ff,
            FeedForwardKind::Gated(_) => 2 * self.d_ff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_keeps_exactly_w_keys() {
        for query in 0..20 {
            let seen: Vec<usize> = (0..20).filter(|key| Span::Window(8).keys(query).contains(key)).collect();
            let expected: Vec<usize> = (query.saturating_sub(7)..=query).collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn full_span_sees_the_past_and_itself_only() {
        for query in 0..9 {
            for key in 0..9 {
                assert_eq!(Span::Full.keys(query).contains(&key), key <= query);
            }
        }
    }
}
