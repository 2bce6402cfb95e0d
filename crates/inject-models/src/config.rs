//! What a decoder is made of, in our own terms: the one description every family is translated into.
//!
//! There is no `Default` and no builder here on purpose. A new axis of variation must make the compiler visit
//! every family under `families/`.

mod counts;

use std::ops::Range;

/// A sequential pre-norm decoder, complete: nothing about the computation is decided anywhere else.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Rows of the token embedding and of the head.
    pub vocab_size: usize,
    /// How token ids become the input of the first block.
    pub embedding: EmbeddingConfig,
    /// One entry a block, first to last. What depends on the layer number is already expanded here.
    pub blocks: Vec<BlockConfig>,
    /// The norm between the last block and the head.
    pub final_norm: NormConfig,
    /// How states become logits.
    pub head: Head,
}

/// How token ids become the input of the first block.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingConfig {
    /// Factor on the looked-up rows (Gemma: `sqrt(d_model)`), or none.
    pub scale: Option<f64>,
    /// Learned absolute positions, or none (rotary models put position into the attention instead).
    pub positions: LearnedPositions,
}

/// Whether a table of absolute positions is added to the token embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnedPositions {
    /// No table.
    None,
    /// A table with this many rows; no longer sequence can be computed.
    Table {
        /// Rows of the table.
        max_len: usize,
    },
}

/// One block: attention and feed-forward, each inside a residual branch.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockConfig {
    /// Every norm on the residual stream within this block.
    pub norm: NormConfig,
    /// Where the norms stand.
    pub residual: Residual,
    /// The attention branch.
    pub attention: AttentionConfig,
    /// The feed-forward branch.
    pub feed_forward: FeedForwardConfig,
}

/// Where the norms of a block stand relative to its two branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// `x + f(norm(x))`.
    Pre,
    /// `x + norm(f(norm(x)))`, Gemma's four norms a block.
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
        /// What the stored weight means.
        weight: RmsWeight,
    },
}

/// What the stored weight of an RMS norm means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RmsWeight {
    /// The factor itself.
    Factor,
    /// The factor less one (Gemma).
    FactorLessOne,
}

/// Causal self-attention.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionConfig {
    /// Query heads; a multiple of `n_kv_heads`.
    pub n_heads: usize,
    /// Key and value heads, each shared by `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Width of one head; not always `d_model / n_heads`.
    pub d_head: usize,
    /// Factor on the scores before the softmax.
    pub score_scale: f64,
    /// Which earlier positions a query sees.
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
    /// How many leading coordinates of each head rotate; even, at most `d_head`.
    pub rotary_dim: usize,
    /// Base of the geometric series of frequencies (`rope_theta`).
    pub base: f64,
    /// How the frequencies are stretched beyond the length the model was first trained on.
    pub scaling: RotaryScaling,
}

/// How rotary frequencies are stretched.
///
/// # Source
///
/// Hugging Face transformers 5.23, `modeling_rope_utils.py`.
#[derive(Clone, Debug, PartialEq)]
pub enum RotaryScaling {
    /// Not at all.
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
        /// Wavelengths above `original_len / low_freq_factor` are stretched in full.
        low_freq_factor: f64,
        /// Wavelengths below `original_len / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Length of the first training.
        original_len: f64,
    },
    /// One divisor a frequency, from one of two lists: the choice falls by the length of the whole sequence, so
    /// a state depends on how many tokens follow it (Phi-3, Phi-4-mini).
    LongRope {
        /// Divisors for sequences of at most `original_len` tokens; `rotary_dim / 2` of them.
        short_factor: Vec<f64>,
        /// Divisors for longer sequences; `rotary_dim / 2` of them.
        long_factor: Vec<f64>,
        /// Where the choice switches.
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
    /// Its form.
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
    /// `max(x, 0)`: not analytic, so outside the theorems on injectivity.
    Relu,
}

impl Activation {
    /// Whether it is an analytic function, as the theorems on injectivity assume.
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
    /// The activation in it.
    pub fn activation(self) -> Activation {
        match self {
            FeedForwardKind::Plain(activation) | FeedForwardKind::Gated(activation) => activation,
        }
    }

    /// The same form around another activation.
    pub fn with_activation(self, activation: Activation) -> Self {
        match self {
            FeedForwardKind::Plain(_) => FeedForwardKind::Plain(activation),
            FeedForwardKind::Gated(_) => FeedForwardKind::Gated(activation),
        }
    }
}

/// How states become logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// By the token embedding itself.
    Tied,
    /// By a matrix of its own.
    Untied,
}

impl DecoderConfig {
    /// Number of blocks.
    pub fn n_layers(&self) -> usize {
        self.blocks.len()
    }

    /// The longest sequence the model can compute at all, where there is such a limit: that of a table of learned positions.
    ///
    /// Rotary positions go on without end, and so do models that have them: `max_position_embeddings` says how long the sequences
    /// were in training. Hugging Face transformers warns of longer ones at most, and here nothing stops at it either. States beyond
    /// are computed and inverted like others; whether the model makes sense there is another question.
    pub fn max_len(&self) -> Option<usize> {
        match self.embedding.positions {
            LearnedPositions::None => None,
            LearnedPositions::Table { max_len } => Some(max_len),
        }
    }

    /// The same decoder with another activation in every block.
    pub fn with_activation(mut self, activation: Activation) -> Self {
        for block in &mut self.blocks {
            block.feed_forward.kind = block.feed_forward.kind.with_activation(activation);
        }
        self
    }

    /// Whether sequences of these two lengths use the same rotary frequencies.
    ///
    /// Only then may they share a batch: LongRoPE chooses by the length of the whole sequence.
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
    /// Columns of the fused query, key and value projection.
    pub fn qkv_width(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.d_head
    }

    /// Columns of queries, keys and values in the fused projection, in this order.
    pub fn qkv_widths(&self) -> [usize; 3] {
        [self.n_heads, self.n_kv_heads, self.n_kv_heads].map(|heads| heads * self.d_head)
    }

    /// Query heads that share one key and value head.
    pub fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }
}

impl FeedForwardConfig {
    /// Columns of the parts of the first projection: up alone, or gate and up.
    pub fn up_widths(&self) -> Vec<usize> {
        match self.kind {
            FeedForwardKind::Plain(_) => vec![self.d_ff],
            FeedForwardKind::Gated(_) => vec![self.d_ff; 2],
        }
    }

    /// Columns of the first projection: gate and up side by side where there is a gate.
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
