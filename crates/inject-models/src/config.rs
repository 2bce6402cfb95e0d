//! The description of a decoder, into which every family is translated.
//!
//! The types here have no `Default`, no builder and no hidden variants, on purpose: a new axis of variation must make the
//! compiler visit every family, and everyone else who interprets a description.

mod attention;
mod counts;
mod feed_forward;

pub use self::{
    attention::{AttentionConfig, QkNorm, RotaryConfig, RotaryScaling, Span},
    feed_forward::{Activation, FeedForwardConfig, FeedForwardKind},
};

/// A decoder with residual branches. The description is complete: the computation depends on nothing else.
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
    /// The bound `c` of logits, which become `c tanh(logit / c)` (Gemma 2), or none.
    pub logit_cap: Option<f64>,
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
    /// No table is added, as in rotary models.
    None,
    /// There is a table. Sequences longer than its rows cannot be computed.
    Table {
        /// The number of rows of the table, which is the longest sequence.
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
    /// Self-attention, the first branch of the block.
    pub attention: AttentionConfig,
    /// The feed-forward network, the second branch of the block.
    pub feed_forward: FeedForwardConfig,
}

/// The places of a block's norms relative to its two branches, and the order of the branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// `x + f(norm(x))`, one branch after the other.
    Pre,
    /// `x + norm(f(x))`, one branch after the other (OLMo 2).
    Post,
    /// `x + norm(f(norm(x)))`, one branch after the other, which makes four norms in a block of Gemma.
    Sandwich,
    /// `x + f(norm(x)) + g(norm(x))`: both branches, each with a norm of its own, read the same stream (GPT-NeoX).
    Parallel,
}

impl Residual {
    /// Returns whether a norm stands before each branch.
    pub fn norms_before(self) -> bool {
        match self {
            Residual::Pre | Residual::Sandwich | Residual::Parallel => true,
            Residual::Post => false,
        }
    }

    /// Returns whether a norm stands after each branch.
    pub fn norms_after(self) -> bool {
        match self {
            Residual::Post | Residual::Sandwich => true,
            Residual::Pre | Residual::Parallel => false,
        }
    }
}

/// A normalisation over the last dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormConfig {
    /// Mean and variance, weight and bias.
    Layer {
        /// Constant added to the variance before the root.
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
    /// A normed coordinate is multiplied by the weight.
    Factor,
    /// A normed coordinate is multiplied by one plus the weight (Gemma).
    FactorLessOne,
}

/// Whether a projection adds a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// The branch has no norm of its own.
    Without,
    /// Product plus a learned vector.
    With,
}

/// The step from states to logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The product with the token embedding.
    Tied,
    /// The product with a matrix of its own.
    Untied,
    /// There is none: the checkpoint has states and no logits, as those of base models and classifiers.
    Absent,
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
