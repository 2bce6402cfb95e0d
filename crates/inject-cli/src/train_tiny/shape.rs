//! The model's form.

use super::{
    Options,
    text::{END_OF_TEXT_ID, VOCAB_SIZE},
};

/// The longest sequence of the model, and the length of every training window.
pub(crate) const POSITIONS: usize = 256;

/// Standard deviation of the first weights. GPT-2's 0.02 suits a width of 768 and more; at 128 the blocks would start out
/// all but silent, and the loss stay near that of single tokens for hundreds of steps.
pub(crate) const INIT_STD: f64 = 0.06;

/// A GPT-2, as transformers writes it.
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
        "layer_norm_epsilon": 1e-5,
        "model_type": "gpt2",
        "n_embd": options.width.get(),
        "n_head": options.heads.get(),
        "n_inner": null,
        "n_layer": options.layers.get(),
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
