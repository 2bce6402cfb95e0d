//! What the benchmarks share: the two model shapes they compare, and the device they run on.
//!
//! ```text
//! cargo bench -p inject-benches                           # everything
//! cargo bench -p inject-benches --bench step -- gpt2      # one question, the rows whose label contains `gpt2`
//! ```
//!
//! A label reads `question/model/size`. Throughput is counted in floating-point operations, so criterion's `Gelem/s` is
//! GFLOP/s; only the products with weights count ([`DecoderConfig::flops_per_token`]), so the attention scores, the norms
//! and the activations lower the rate.
//!
//! | variable | meaning |
//! |---|---|
//! | `INJECT_DEVICE` | `flex`, `ndarray`, `cuda` or `wgpu`, as far as compiled in; without it, the first of them that is |
//! | `INJECT_REAL_MODELS` | a folder of checkpoints; the weights of its `smollm2-135m` then replace the random ones |
//! | `RAYON_NUM_THREADS` | CPU threads, all cores by default |
//!
//! `peers/` measures PyTorch at the same sizes.

use std::{env, fmt, num::NonZeroUsize, path::PathBuf};

use burn::tensor::Device;
use inject_devices::DeviceKind;
use inject_sipit::{
    Decoder, DecoderConfig, Logits, Model, Origin, Precision, PrefixCache, Tap, TokenBatch,
    config::{
        Activation, AttentionConfig, Bias, BlockConfig, EmbeddingConfig, FeedForwardConfig, FeedForwardKind,
        Head, LearnedPositions, NormConfig, Residual, RmsWeight, RotaryConfig, RotaryScaling, Span,
    },
};

/// A model shape that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// GPT-2 small, 124 million parameters.
    Gpt2Small,
    /// SmolLM2-135M, of the llama family.
    SmolLm2,
}

impl Shape {
    /// Both.
    pub const ALL: [Shape; 2] = [Shape::Gpt2Small, Shape::SmolLm2];

    /// What it is made of.
    pub fn config(self) -> DecoderConfig {
        match self {
            Shape::Gpt2Small => {
                gpt2(Gpt2 { n_layers: 12, d_model: 768, n_heads: 12, vocab_size: 50257, max_len: 1024 })
            }
            Shape::SmolLm2 => smollm2(),
        }
    }

    /// Random weights, or those of the checkpoint where `INJECT_REAL_MODELS` has one of this shape.
    ///
    /// # Panics
    ///
    /// If that checkpoint does not load.
    pub fn decoder(self, device: &Device) -> Decoder {
        match real_models().map(|folder| folder.join(self.to_string())).filter(|folder| folder.is_dir()) {
            None => random(&self.config(), device),
            Some(folder) => {
                let model = Model::load(Origin::of_folder(&folder), Precision::F32, device);
                with_lanes(model.unwrap_or_else(|error| panic!("{error}")).decoder)
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shape::Gpt2Small => "gpt2-small",
            Shape::SmolLm2 => "smollm2-135m",
        })
    }
}

/// What tells one GPT-2 from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpt2 {
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream; the hidden layer is four times as wide.
    pub d_model: usize,
    /// Heads, which share the width evenly.
    pub n_heads: usize,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Rows of the table of positions.
    pub max_len: usize,
}

/// A model of the GPT-2 family.
pub fn gpt2(size: Gpt2) -> DecoderConfig {
    let Gpt2 { n_layers, d_model, n_heads, vocab_size, max_len } = size;
    let norm = NormConfig::Layer { eps: 1e-5 };
    let d_head = d_model / n_heads;
    let attention = AttentionConfig {
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        score_scale: (d_head as f64).powf(-0.5),
        span: Span::Full,
        rotary: None,
        qk_norm: None,
        qkv_bias: Bias::With,
        out_bias: Bias::With,
    };
    let feed_forward = FeedForwardConfig {
        d_ff: 4 * d_model,
        kind: FeedForwardKind::Plain(Activation::GeluTanh),
        bias: Bias::With,
    };
    let block = BlockConfig { norm, residual: Residual::Pre, attention, feed_forward };
    DecoderConfig {
        d_model,
        vocab_size,
        embedding: EmbeddingConfig { scale: None, positions: LearnedPositions::Table { max_len } },
        blocks: vec![block; n_layers],
        final_norm: norm,
        head: Head::Tied,
    }
}

/// # Source
///
/// config.json of HuggingFaceTB/SmolLM2-135M.
fn smollm2() -> DecoderConfig {
    let norm = NormConfig::Rms { eps: 1e-5, weight: RmsWeight::Factor };
    let attention = AttentionConfig {
        n_heads: 9,
        n_kv_heads: 3,
        d_head: 64,
        score_scale: 0.125,
        span: Span::Full,
        rotary: Some(RotaryConfig { rotary_dim: 64, base: 100_000.0, scaling: RotaryScaling::None }),
        qk_norm: None,
        qkv_bias: Bias::Without,
        out_bias: Bias::Without,
    };
    let feed_forward =
        FeedForwardConfig { d_ff: 1536, kind: FeedForwardKind::Gated(Activation::Silu), bias: Bias::Without };
    let block = BlockConfig { norm, residual: Residual::Pre, attention, feed_forward };
    DecoderConfig {
        d_model: 576,
        vocab_size: 49152,
        embedding: EmbeddingConfig { scale: None, positions: LearnedPositions::None },
        blocks: vec![block; 30],
        final_norm: norm,
        head: Head::Tied,
    }
}

/// A decoder of random weights, the same every time.
pub fn random(config: &DecoderConfig, device: &Device) -> Decoder {
    device.seed(1);
    with_lanes(config.init(0.02, device))
}

/// On a CPU as many lanes as cores, on a GPU one: what the programs do too.
fn with_lanes(decoder: Decoder) -> Decoder {
    let lanes = match device_kind() {
        DeviceKind::Flex | DeviceKind::NdArray => {
            std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
        }
        DeviceKind::Cuda | DeviceKind::Wgpu => NonZeroUsize::MIN,
    };
    decoder.with_lanes(lanes)
}

/// The folder of real checkpoints, if there is one.
pub fn real_models() -> Option<PathBuf> {
    env::var_os("INJECT_REAL_MODELS").map(PathBuf::from)
}

/// The device the benchmarks run on.
///
/// # Panics
///
/// If the one asked for is unknown, not compiled in or not there.
pub fn device() -> Device {
    device_kind().open().unwrap_or_else(|error| panic!("{error}"))
}

fn device_kind() -> DeviceKind {
    let first = || DeviceKind::ALL.into_iter().find(|kind| kind.is_compiled());
    match env::var("INJECT_DEVICE") {
        Ok(name) => name.parse().unwrap_or_else(|error| panic!("INJECT_DEVICE: {error}")),
        Err(_) => first().expect("no device is compiled in"),
    }
}

/// Waits until everything asked of the device is computed.
///
/// # Panics
///
/// If the computation failed.
pub fn wait(device: &Device) {
    device.sync().expect("the device failed");
}

/// Token ids spread over the vocabulary, the same every time.
pub fn ids(count: usize, vocab_size: usize) -> Vec<u32> {
    (0..count).map(|i| (i * 7919 % vocab_size) as u32).collect()
}

/// A cache that holds `len` tokens of one sequence and has room for one more.
///
/// # Panics
///
/// If the decoder cannot compute that many.
pub fn prefix(decoder: &Decoder, len: usize, deepest: Tap) -> PrefixCache {
    let tokens = TokenBatch::new(&[ids(len, decoder.config().vocab_size)]).expect("a prefix has tokens");
    let mut cache =
        decoder.prefix_cache(1, len + 1, deepest).expect("the model has the tap and the positions");
    decoder.extend(&mut cache, &tokens, &[], Logits::None).expect("the prefix fits the cache");
    cache
}
