//! Attention: heads, the keys that a query sees, and rotary positions.

use std::ops::Range;

use super::{Bias, NormConfig};

/// The shape of the causal self-attention of one block.
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
    /// The bound `c` of scaled scores, which become `c tanh(score / c)` before the softmax (Gemma 2), or none.
    pub score_cap: Option<f64>,
    /// The keys that a query sees.
    pub span: Span,
    /// Rotation of queries and keys by position, or none.
    pub rotary: Option<RotaryConfig>,
    /// Norm of queries and keys before the rotation, or none.
    pub qk_norm: Option<QkNorm>,
    /// Bias on the query, key and value projections.
    pub qkv_bias: Bias,
    /// Bias on the output projection.
    pub out_bias: Bias,
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

    /// Returns the form of the norms of queries and keys, and the widths of the two.
    pub fn qk_norms(&self) -> Option<(NormConfig, [usize; 2])> {
        let [queries, keys, _] = self.qkv_widths();
        self.qk_norm.map(|norm| match norm {
            QkNorm::PerHead(norm) => (norm, [self.d_head; 2]),
            QkNorm::AllHeads(norm) => (norm, [queries, keys]),
        })
    }
}

/// The numbers over which queries and keys are normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QkNorm {
    /// Those of one head (Gemma 3, Qwen3). All heads share the weight.
    PerHead(NormConfig),
    /// Those of all heads together (OLMo 2).
    AllHeads(NormConfig),
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
    /// The number of leading coordinates of each head that rotate, on which the frequencies depend. An odd number is rounded up to
    /// whole [pairs](RotaryConfig::pairs), for which `d_head` has room.
    pub rotary_dim: usize,
    /// Base of the geometric series of frequencies (`rope_theta`).
    pub base: f64,
    /// The change of the frequencies for sequences longer than those of the first training.
    pub scaling: RotaryScaling,
}

impl RotaryConfig {
    /// Returns the number of pairs of coordinates that rotate, each with a frequency of its own.
    pub fn pairs(&self) -> usize {
        self.rotary_dim.div_ceil(2)
    }
}

/// A change of rotary frequencies for longer sequences.
///
/// # Source
///
/// Hugging Face transformers 5.23, `modeling_rope_utils.py`.
#[derive(Clone, Debug, PartialEq)]
pub enum RotaryScaling {
    /// The base frequencies, at every length.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The divisor of every frequency.
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
        /// Divisors for sequences of at most `original_len` tokens; one for each pair.
        short_factor: Vec<f64>,
        /// Divisors for longer sequences; one for each pair.
        long_factor: Vec<f64>,
        /// The longest sequence with the short factors.
        original_len: usize,
        /// Factor on sines and cosines.
        attention_factor: f64,
    },
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
