//! Decoders from a checkpoint or from random numbers.

use burn::{
    module::Param,
    tensor::{DType, Device, Distribution, Tensor},
};

use super::{
    Decoder,
    attention::Attention,
    block::Block,
    by_head,
    feed_forward::FeedForward,
    lanes::Lanes,
    linear::Linear,
    norm::Norm,
    paging::Paging,
    weight::{Table, Weight},
};
use crate::{
    checkpoint::Weights,
    config::{
        AttentionConfig, Bias, BlockConfig, DecoderConfig, FeedForwardConfig, Head, LearnedPositions,
        NormConfig, RmsWeight,
    },
    error::ModelError,
    families::{Names, Projection, Stored},
};

impl Decoder {
    /// Fills every parameter from a checkpoint.
    pub(crate) fn load(config: DecoderConfig, mut weights: Weights<'_>) -> Result<Self, ModelError> {
        let d_model = config.d_model;
        let embedding = weights.embedding(config.vocab_size, d_model)?;
        let positions = match config.embedding.positions {
            LearnedPositions::None => None,
            LearnedPositions::Table { max_len } => Some(weights.positions(max_len, d_model)?),
        };
        let blocks: Vec<Block> = config
            .blocks
            .iter()
            .enumerate()
            .map(|(i, block)| load_block(&mut weights, i, block, d_model))
            .collect::<Result<_, _>>()?;
        let final_norm = Norm {
            weight: weights.final_norm("weight", d_model)?,
            bias: has_bias(config.final_norm).then(|| weights.final_norm("bias", d_model)).transpose()?,
            config: config.final_norm,
        };
        let head = match config.head {
            Head::Tied | Head::Absent => None,
            Head::Untied => Some(weights.head(config.vocab_size, d_model)?),
        };
        weights.finish()?;
        let paging = Paging::of_all(blocks.len());
        Ok(Decoder { embedding, positions, blocks, final_norm, head, config, lanes: Lanes::ONE, paging })
    }
}

fn load_block(
    weights: &mut Weights<'_>,
    i: usize,
    config: &BlockConfig,
    d_model: usize,
) -> Result<Block, ModelError> {
    let mut norm = |name: fn(&Names) -> &'static str, width: usize, config: NormConfig| {
        Ok::<_, ModelError>(Norm {
            weight: weights.block_norm(i, name, "weight", width)?,
            bias: has_bias(config).then(|| weights.block_norm(i, name, "bias", width)).transpose()?,
            config,
        })
    };
    let mut norm_if = |there: bool, name: fn(&Names) -> &'static str| {
        there.then(|| norm(name, d_model, config.norm)).transpose()
    };
    let (before, after) = (config.residual.norms_before(), config.residual.norms_after());
    let attention = &config.attention;
    let attention_norm = norm_if(before, |names| names.attention_norm)?;
    let post_attention_norm = norm_if(after, |names| names.post_attention_norm)?;
    let feed_forward_norm = norm_if(before, |names| names.feed_forward_norm)?;
    let post_feed_forward_norm = norm_if(after, |names| names.post_feed_forward_norm)?;
    let qk_norms = attention.qk_norms();
    let q_norm = qk_norms.map(|(kind, [width, _])| norm(|names| names.q_norm, width, kind)).transpose()?;
    let k_norm = qk_norms.map(|(kind, [_, width])| norm(|names| names.k_norm, width, kind)).transpose()?;

    let stored_qkv = weights.names().qkv.stored;
    let mut linear =
        |projection: fn(&'static Names) -> &'static Projection, d_in: usize, widths: &[usize], bias: Bias| {
            Ok::<_, ModelError>(Linear {
                weight: weights.matrix(i, projection, d_in, widths)?,
                bias: match bias {
                    Bias::Without => None,
                    Bias::With => Some(weights.bias(i, projection, widths)?),
                },
            })
        };
    let AttentionConfig { n_heads, d_head, qkv_bias, out_bias, .. } = *attention;
    let FeedForwardConfig { d_ff, bias, .. } = config.feed_forward;
    let qkv = linear(|names| &names.qkv, d_model, &attention.qkv_widths(), qkv_bias)?;
    let attention = Attention {
        qkv: match stored_qkv {
            Stored::OutInByHead => by_head::loaded(qkv, n_heads),
            Stored::InOut | Stored::OutIn => qkv,
        },
        out: linear(|names| &names.out, n_heads * d_head, &[d_model], out_bias)?,
        q_norm,
        k_norm,
        config: attention.clone(),
    };
    let feed_forward = FeedForward {
        up: linear(|names| &names.up, d_model, &config.feed_forward.up_widths(), bias)?,
        down: linear(|names| &names.down, d_ff, &[d_model], bias)?,
        config: config.feed_forward,
    };
    Ok(Block {
        attention_norm,
        attention,
        post_attention_norm,
        feed_forward_norm,
        feed_forward,
        post_feed_forward_norm,
        residual: config.residual,
    })
}

fn has_bias(norm: NormConfig) -> bool {
    match norm {
        NormConfig::Layer { .. } => true,
        NormConfig::Rms { .. } => false,
    }
}

impl DecoderConfig {
    /// Makes a decoder of this form with random parameters.
    ///
    /// Matrices are drawn from a normal distribution with standard deviation `std`, those that write to the residual
    /// stream with `std / sqrt(2 n_layers)`; norms start as the identity, biases at zero. Seed the device first
    /// (`device.seed(..)`) to get the same numbers again.
    ///
    /// # Source
    ///
    /// The initialisation of GPT-2 as in Hugging Face transformers 5.23, `modeling_gpt2.py` (`_init_weights`); its `std`
    /// is 0.02.
    pub fn init(&self, std: f64, device: &Device) -> Decoder {
        let init = Init { std, residual_std: std / (2.0 * self.n_layers() as f64).sqrt(), device };
        Decoder {
            embedding: Table::Tensor(init.normal([self.vocab_size, self.d_model], std)),
            positions: self.max_len().map(|max_len| init.normal([max_len, self.d_model], std)),
            blocks: self.blocks.iter().map(|block| init.block(block, self.d_model)).collect(),
            final_norm: init.norm(self.final_norm, self.d_model),
            head: match self.head {
                Head::Tied | Head::Absent => None,
                Head::Untied => Some(Table::Tensor(init.normal([self.vocab_size, self.d_model], std))),
            },
            config: self.clone(),
            lanes: Lanes::ONE,
            paging: Paging::of_all(self.n_layers()),
        }
    }
}

struct Init<'a> {
    std: f64,
    residual_std: f64,
    device: &'a Device,
}

impl Init<'_> {
    fn block(&self, config: &BlockConfig, d_model: usize) -> Block {
        let attention = &config.attention;
        let width = attention.n_heads * attention.d_head;
        let feed_forward = config.feed_forward;
        let norm_if = |there: bool| there.then(|| self.norm(config.norm, d_model));
        let pre = || norm_if(config.residual.norms_before());
        let post = || norm_if(config.residual.norms_after());
        let qk_norms = attention.qk_norms();
        Block {
            attention_norm: pre(),
            attention: Attention {
                qkv: self.linear(d_model, attention.qkv_width(), attention.qkv_bias, self.std),
                out: self.linear(width, d_model, attention.out_bias, self.residual_std),
                q_norm: qk_norms.map(|(kind, [width, _])| self.norm(kind, width)),
                k_norm: qk_norms.map(|(kind, [_, width])| self.norm(kind, width)),
                config: attention.clone(),
            },
            post_attention_norm: post(),
            feed_forward_norm: pre(),
            feed_forward: FeedForward {
                up: self.linear(d_model, feed_forward.up_width(), feed_forward.bias, self.std),
                down: self.linear(feed_forward.d_ff, d_model, feed_forward.bias, self.residual_std),
                config: feed_forward,
            },
            post_feed_forward_norm: post(),
            residual: config.residual,
        }
    }

    fn linear(&self, d_in: usize, d_out: usize, bias: Bias, std: f64) -> Linear {
        let bias = match bias {
            Bias::Without => None,
            Bias::With => Some(self.vector(d_out, 0.0)),
        };
        Linear { weight: Weight::Tensor(self.normal([d_in, d_out], std)), bias }
    }

    fn norm(&self, config: NormConfig, width: usize) -> Norm {
        let (identity, bias) = match config {
            NormConfig::Layer { .. } => (1.0, Some(self.vector(width, 0.0))),
            NormConfig::Rms { weight: RmsWeight::Factor, .. } => (1.0, None),
            NormConfig::Rms { weight: RmsWeight::FactorLessOne, .. } => (0.0, None),
        };
        Norm { weight: self.vector(width, identity), bias, config }
    }

    fn normal(&self, shape: [usize; 2], std: f64) -> Param<Tensor<2>> {
        let values = Tensor::random(shape, Distribution::Normal(0.0, std), (self.device, DType::F32));
        trainable(values)
    }

    fn vector(&self, width: usize, value: f64) -> Param<Tensor<1>> {
        trainable(Tensor::full([width], value, (self.device, DType::F32)))
    }
}

fn trainable<const D: usize>(values: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(values)
}
