//! The names of tensors in checkpoints.

/// The names of the decoder's tensors in the checkpoints of a family.
///
/// A name is empty if no model of the family has the tensor.
#[derive(Debug)]
pub(crate) struct Names {
    /// Prefixes of every name except the head's. The first that fits the checkpoint is used.
    pub(crate) prefixes: &'static [&'static str],
    pub(crate) embedding: &'static str,
    pub(crate) positions: &'static str,
    pub(crate) final_norm: &'static str,
    pub(crate) head: &'static str,
    /// The part of a name before the number of a block.
    pub(crate) block: &'static str,
    pub(crate) attention_norm: &'static str,
    /// The norm after the attention branch, for sandwich norms.
    pub(crate) post_attention_norm: &'static str,
    pub(crate) feed_forward_norm: &'static str,
    /// The norm after the feed-forward branch, for sandwich norms.
    pub(crate) post_feed_forward_norm: &'static str,
    /// Query, key and value: three tensors, or one that holds all.
    pub(crate) qkv: Projection,
    pub(crate) q_norm: &'static str,
    pub(crate) k_norm: &'static str,
    pub(crate) out: Projection,
    /// Up alone, or gate and up: two tensors, or one that holds both.
    pub(crate) up: Projection,
    pub(crate) down: Projection,
    /// Tensors of published checkpoints that the decoder does not need.
    pub(crate) ignored: &'static [Ignored],
}

impl Names {
    /// The head's name in transformers 5, in whose classes every head is the module `lm_head`.
    pub(crate) const HEAD_OF_CLASSES: &str = "lm_head.weight";

    /// Whether a name is that of the embedding.
    pub(crate) fn is_embedding(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| name.strip_prefix(prefix) == Some(self.embedding))
    }

    /// Whether a name is that of the head.
    pub(crate) fn is_head(&self, name: &str) -> bool {
        name == self.head || name == Names::HEAD_OF_CLASSES
    }

    /// The full name of a tensor that is called `stem` within a block.
    pub(crate) fn in_block(&self, prefix: &str, block: usize, stem: &str) -> String {
        format!("{prefix}{}{block}.{stem}", self.block)
    }
}

/// The tensors that make one linear map, side by side along its outputs.
#[derive(Debug)]
pub(crate) struct Projection {
    /// Names without `.weight` and `.bias`.
    pub(crate) parts: &'static [&'static str],
    pub(crate) stored: Stored,
}

impl Projection {
    /// The stored tensors, each with its name and its share of the outputs: one for each width, or one for all. `name` makes
    /// the name from a stem.
    ///
    /// # Panics
    ///
    /// Panics if there are several, and not as many as widths: the decoder is then of another family.
    pub(crate) fn tensors(&self, widths: &[usize], name: impl Fn(&str) -> String) -> Vec<(String, usize)> {
        match self.parts {
            [stem] => vec![(name(stem), widths.iter().sum())],
            stems => {
                assert_eq!(stems.len(), widths.len(), "the decoder is not of this family: {stems:?}");
                stems.iter().zip(widths).map(|(stem, &width)| (name(stem), width)).collect()
            }
        }
    }
}

/// The layout of the matrix of a linear map in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// `[in, out]`, as the decoder uses it (GPT-2's `Conv1D`).
    InOut,
    /// `[out, in]`, as in PyTorch's `Linear`.
    OutIn,
    /// `[out, in]`, the query, key and value of each head side by side, one head after another (GPT-NeoX).
    OutInByHead,
}

/// Tensors that are known and not used, by their names.
#[derive(Debug)]
pub(crate) enum Ignored {
    /// Every tensor whose name begins with this text.
    Prefix(&'static str),
    /// Every tensor whose name ends with this text.
    Suffix(&'static str),
}

impl Ignored {
    /// The heads of tasks, of rewards and of values, whose states are the decoder's, and buffers that follow from the config.
    pub(crate) const IN_EVERY_FAMILY: &[Ignored] = &[
        Ignored::Prefix("score."),
        Ignored::Prefix("classifier."),
        Ignored::Prefix("qa_outputs."),
        // That of a reranker in a GGUF file.
        Ignored::Prefix("cls."),
        Ignored::Prefix("multiple_choice_head."),
        Ignored::Prefix("v_head."),
        Ignored::Prefix("value_head."),
        Ignored::Prefix("reward_head."),
        Ignored::Prefix("rm_head."),
        Ignored::Prefix("regression_head."),
        Ignored::Suffix(".position_ids"),
        // Of rotations, by whatever name of the module.
        Ignored::Suffix("inv_freq"),
        Ignored::Suffix(".cos_cached"),
        Ignored::Suffix(".sin_cached"),
    ];

    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Ignored::Prefix(prefix) => name.starts_with(prefix),
            Ignored::Suffix(suffix) => name.ends_with(suffix),
        }
    }
}
