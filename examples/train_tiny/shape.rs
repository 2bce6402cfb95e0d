//! The model's form, once as the decoder has it and once as transformers writes it.

use inject_sipit::config::{
    Activation, AttentionConfig, Bias, BlockConfig, DecoderConfig, EmbeddingConfig, FeedForwardConfig,
    FeedForwardKind, Head, LearnedPositions, NormConfig, Residual, Span,
};

use crate::{
    Options,
    text::{END_OF_TEXT_ID, VOCAB_SIZE},
};

/// The longest sequence of the model, and the length of every training window.
pub(crate) const POSITIONS: usize = 256;

/// Standard deviation of the first weights. GPT-2's 0.02 suits a width of 768 and more; at 128 the blocks would start out
/// all but silent, and the loss stay near that of single tokens for hundreds of steps.
pub(crate) const INIT_STD: f64 = 0.06;

const NORM_EPS: f64 = 1e-5;

/// A GPT-2.
pub(crate) fn decoder_config(options: &Options) -> DecoderConfig {
    let norm = NormConfig::Layer { eps: NORM_EPS };
    let d_head = options.width / options.heads;
    let block = BlockConfig {
        norm,
        residual: Residual::Pre,
        attention: AttentionConfig {
            n_heads: options.heads,
            n_kv_heads: options.heads,
            d_head,
            score_scale: (d_head as f64).powf(-0.5),
            span: Span::Full,
            rotary: None,
            qk_norm: None,
            qkv_bias: Bias::With,
            out_bias: Bias::With,
        },
        feed_forward: FeedForwardConfig {
            d_ff: 4 * options.width,
            kind: FeedForwardKind::Plain(Activation::GeluTanh),
            bias: Bias::With,
        },
    };
    DecoderConfig {
        d_model: options.width,
        vocab_size: VOCAB_SIZE,
        embedding: EmbeddingConfig { scale: None, positions: LearnedPositions::Table { max_len: POSITIONS } },
        blocks: vec![block; options.layers],
        final_norm: norm,
        head: Head::Tied,
    }
}

/// The same as config.json.
pub(crate) fn config_json(options: &Options) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&serde_json::json!({
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.0,
        "bos_token_id": END_OF_TEXT_ID,
        "dtype": "float16",
        "embd_pdrop": 0.0,
        "eos_token_id": END_OF_TEXT_ID,
        "initializer_range": INIT_STD,
        "layer_norm_epsilon": NORM_EPS,
        "model_type": "gpt2",
        "n_embd": options.width,
        "n_head": options.heads,
        "n_inner": null,
        "n_layer": options.layers,
        "n_positions": POSITIONS,
        "reorder_and_upcast_attn": false,
        "resid_pdrop": 0.0,
        "scale_attn_by_inverse_layer_idx": false,
        "scale_attn_weights": true,
        "tie_word_embeddings": true,
        "use_cache": true,
        "vocab_size": VOCAB_SIZE,
    }))
}
