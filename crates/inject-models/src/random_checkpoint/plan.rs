//! The tensors of a checkpoint, by their names in files, before there are values.

use crate::{
    config::{Bias, BlockConfig, DecoderConfig, Head, LearnedPositions, NormConfig, RmsWeight},
    families::{FirstWeights, Names, Projection, Stored},
    format::FloatFormat,
};

/// A tensor that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlannedTensor {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
}

/// The first values of a tensor, before any training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Values {
    /// Drawn from a normal distribution around zero.
    Normal { std: f64 },
    /// One value everywhere, as norms and biases begin.
    Constant(f32),
}

impl PlannedTensor {
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(super) fn bytes(&self, format: FloatFormat) -> u64 {
        self.len() as u64 * format.bytes() as u64
    }
}

/// Lists every tensor of a decoder, in the order in which a pass uses them.
pub(super) fn plan(config: &DecoderConfig, names: &'static Names, first: FirstWeights) -> Vec<PlannedTensor> {
    let prefix = names.prefixes[0];
    let mut plan = Plan { names, first, tensors: Vec::new() };
    let (vocab_size, d_model) = (config.vocab_size, config.d_model);
    plan.normal(format!("{prefix}{}", names.embedding), [vocab_size, d_model], first.std);
    if let LearnedPositions::Table { max_len } = config.embedding.positions {
        plan.normal(format!("{prefix}{}", names.positions), [max_len, d_model], first.std);
    }
    for (i, block) in config.blocks.iter().enumerate() {
        plan.block(i, block, d_model);
    }
    plan.norm(&format!("{prefix}{}", names.final_norm), config.final_norm, d_model);
    match config.head {
        Head::Tied | Head::Absent => {}
        Head::Untied => plan.normal(names.head.to_owned(), [vocab_size, d_model], first.std),
    }
    plan.tensors
}

/// The names and shapes of all tensors of a decoder.
pub(crate) fn shapes(
    config: &DecoderConfig,
    names: &'static Names,
) -> impl Iterator<Item = (String, Vec<usize>)> {
    let first = FirstWeights { std: 0.0, residual_std: 0.0 };
    plan(config, names, first).into_iter().map(|PlannedTensor { name, shape, .. }| (name, shape))
}

struct Plan {
    names: &'static Names,
    first: FirstWeights,
    tensors: Vec<PlannedTensor>,
}

impl Plan {
    fn block(&mut self, i: usize, block: &BlockConfig, d_model: usize) {
        let (names, first) = (self.names, self.first);
        let (attention, feed_forward) = (&block.attention, &block.feed_forward);
        let (before, after) = (block.residual.norms_before(), block.residual.norms_after());
        let qk_norms = attention.qk_norms();
        let norms = [
            (names.attention_norm, before.then_some((block.norm, d_model))),
            (names.q_norm, qk_norms.map(|(norm, [width, _])| (norm, width))),
            (names.k_norm, qk_norms.map(|(norm, [_, width])| (norm, width))),
            (names.post_attention_norm, after.then_some((block.norm, d_model))),
            (names.feed_forward_norm, before.then_some((block.norm, d_model))),
            (names.post_feed_forward_norm, after.then_some((block.norm, d_model))),
        ];
        for (stem, norm) in norms {
            if let Some((norm, width)) = norm {
                self.norm(&names.in_block(names.prefixes[0], i, stem), norm, width);
            }
        }
        let read = first.std;
        let write = first.residual_std;
        let width = attention.n_heads * attention.d_head;
        self.linear(i, &names.qkv, d_model, &attention.qkv_widths(), attention.qkv_bias, read);
        self.linear(i, &names.out, width, &[d_model], attention.out_bias, write);
        self.linear(i, &names.up, d_model, &feed_forward.up_widths(), feed_forward.bias, read);
        self.linear(i, &names.down, feed_forward.d_ff, &[d_model], feed_forward.bias, write);
    }

    fn linear(
        &mut self,
        block: usize,
        projection: &'static Projection,
        d_in: usize,
        widths: &[usize],
        bias: Bias,
        std: f64,
    ) {
        let names = self.names;
        for (name, width) in projection.tensors(widths, |stem| names.in_block(names.prefixes[0], block, stem))
        {
            let shape = match projection.stored {
                Stored::InOut => [d_in, width],
                Stored::OutIn | Stored::OutInByHead => [width, d_in],
            };
            self.normal(format!("{name}.weight"), shape, std);
            match bias {
                Bias::Without => {}
                Bias::With => self.constant(format!("{name}.bias"), width, 0.0),
            }
        }
    }

    fn norm(&mut self, name: &str, norm: NormConfig, width: usize) {
        let (identity, bias) = match norm {
            NormConfig::Layer { .. } => (1.0, Bias::With),
            NormConfig::Rms { weight: RmsWeight::Factor, .. } => (1.0, Bias::Without),
            NormConfig::Rms { weight: RmsWeight::FactorLessOne, .. } => (0.0, Bias::Without),
        };
        self.constant(format!("{name}.weight"), width, identity);
        match bias {
            Bias::Without => {}
            Bias::With => self.constant(format!("{name}.bias"), width, 0.0),
        }
    }

    fn normal(&mut self, name: String, shape: [usize; 2], std: f64) {
        self.tensors.push(PlannedTensor { name, shape: shape.into(), values: Values::Normal { std } });
    }

    fn constant(&mut self, name: String, width: usize, value: f32) {
        self.tensors.push(PlannedTensor { name, shape: vec![width], values: Values::Constant(value) });
    }
}
