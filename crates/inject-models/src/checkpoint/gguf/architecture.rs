//! The architectures: the published names of their tensors, and the changes that the converter makes.

use std::path::Path;

use super::{
    Change, Order, cursor,
    head::Head,
    settings::{Settings, shown},
    value::Value,
};
use crate::error::ModelError;

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) enum Architecture {
    Llama,
    SmolLm3,
    Gemma2,
    Gemma3,
    Gpt2,
    GptNeoX,
    Olmo2,
    Phi3,
    Qwen2,
    Qwen3,
}

/// The numbers of heads, the same in every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) query: u64,
    pub(super) key: u64,
}

/// The names by which files call the architectures.
const KNOWN: &str = "llama, gemma2, gemma3, gpt2, gptneox, olmo2, phi3, qwen2, qwen3 or smollm3";

/// The key of the number of files that hold a model, and what is read.
pub(super) const SPLIT: &str = "split.count";
pub(super) const ONE_FILE: &str = "one file: join the parts with `llama-gguf-split --merge`";

/// The parts of names that differ, in the file and as published.
type Renamed = &'static [(&'static str, &'static str)];

const OUTSIDE_BLOCKS: Renamed =
    &[("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// # Source
///
/// github.com/ggml-org/llama.cpp, `gguf-py/gguf/tensor_mapping.py`.
const IN_BLOCKS: Renamed = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The names that Gemma has in place of those above.
const IN_BLOCKS_OF_GEMMA: Renamed = &[
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

/// The names that OLMo 2 has in place of those above.
const IN_BLOCKS_OF_OLMO2: Renamed =
    &[("post_attention_norm", "post_attention_layernorm"), ("post_ffw_norm", "post_feedforward_layernorm")];

/// The names that Phi-3 has in place of those above: its maps are fused.
const IN_BLOCKS_OF_PHI: Renamed = &[("attn_qkv", "self_attn.qkv_proj"), ("ffn_up", "mlp.gate_up_proj")];

const OUTSIDE_BLOCKS_OF_GPT2: Renamed = &[
    ("token_embd", "transformer.wte"),
    ("position_embd", "transformer.wpe"),
    ("output_norm", "transformer.ln_f"),
    ("output", "lm_head"),
];

const IN_BLOCKS_OF_GPT2: Renamed = &[
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];

const OUTSIDE_BLOCKS_OF_GPT_NEOX: Renamed = &[
    ("token_embd", "gpt_neox.embed_in"),
    ("output_norm", "gpt_neox.final_layer_norm"),
    ("output", "embed_out"),
];

const IN_BLOCKS_OF_GPT_NEOX: Renamed = &[
    ("attn_norm", "input_layernorm"),
    ("attn_qkv", "attention.query_key_value"),
    ("attn_output", "attention.dense"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_up", "mlp.dense_h_to_4h"),
    ("ffn_down", "mlp.dense_4h_to_h"),
];

impl Architecture {
    /// Reads the architecture of a file.
    pub(super) fn of(path: &Path, bytes: &[u8], head: &Head) -> Result<Self, ModelError> {
        const KEY: &str = "general.architecture";
        let missing = || match head.metadata.get(SPLIT).filter(|parts| parts.whole() > Some(1)) {
            // Only the first part names it.
            Some(parts) => ModelError::bad_key(path, SPLIT, &shown(bytes, parts), ONE_FILE),
            None => ModelError::missing_key(path, KEY, KNOWN),
        };
        let value = head.metadata.get(KEY).ok_or_else(missing)?;
        let name = match value {
            Value::Text(place) => cursor::text(bytes, place),
            _ => "",
        };
        Ok(match name {
            "llama" => Architecture::Llama,
            "smollm3" => Architecture::SmolLm3,
            "gemma2" => Architecture::Gemma2,
            "gemma3" => Architecture::Gemma3,
            "gpt2" => Architecture::Gpt2,
            "gptneox" => Architecture::GptNeoX,
            "olmo2" => Architecture::Olmo2,
            "phi3" => Architecture::Phi3,
            "qwen2" => Architecture::Qwen2,
            "qwen3" => Architecture::Qwen3,
            _ => {
                return Err(ModelError::bad_key(path, KEY, &shown(bytes, value), KNOWN));
            }
        })
    }

    /// The beginning of the keys of this architecture.
    pub(super) fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::SmolLm3 => "smollm3",
            Architecture::Gemma2 => "gemma2",
            Architecture::Gemma3 => "gemma3",
            Architecture::Gpt2 => "gpt2",
            Architecture::GptNeoX => "gptneox",
            Architecture::Olmo2 => "olmo2",
            Architecture::Phi3 => "phi3",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
        }
    }

    /// Whether a tensor is not a weight of the decoder: it holds settings of the rotation, or is of the part that sees images.
    pub(super) fn is_beside(self, name: &str) -> bool {
        match self {
            Architecture::Llama => name == "rope_freqs.weight",
            Architecture::Phi3 => {
                matches!(name, "rope_factors_long.weight" | "rope_factors_short.weight")
            }
            // Ollama keeps both parts in one file.
            Architecture::Gemma3 => name.starts_with("v.") || name.starts_with("mm."),
            _ => false,
        }
    }

    /// Returns the published name of a tensor. A name that the architecture does not have stays as it is, and is refused
    /// with the other surplus tensors.
    pub(super) fn published_name(self, name: &str) -> String {
        self.renamed(name).unwrap_or_else(|| name.to_owned())
    }

    /// Returns the name that a published tensor has in files of this architecture. `None` if it has none there.
    pub(in crate::checkpoint) fn own_name(self, published: &str) -> Option<String> {
        let (stem, part) = published.rsplit_once('.')?;
        let (outside, inside) = self.names();
        let find =
            |names: Renamed, stem: &str| names.iter().find(|(_, new)| *new == stem).map(|(own, _)| *own);
        let in_block = stem.strip_prefix(self.blocks()).and_then(|rest| rest.strip_prefix('.'));
        let Some((block, stem)) = in_block.and_then(|rest| rest.split_once('.')) else {
            return Some(format!("{}.{part}", find(outside, stem)?));
        };
        let own = inside.iter().find_map(|names| find(names, stem))?;
        Some(format!("blk.{block}.{own}.{part}"))
    }

    /// The names outside the blocks and those in them, the first of which count before the others.
    fn names(self) -> (Renamed, [Renamed; 2]) {
        match self {
            Architecture::Llama | Architecture::SmolLm3 | Architecture::Qwen2 | Architecture::Qwen3 => {
                (OUTSIDE_BLOCKS, [&[], IN_BLOCKS])
            }
            Architecture::Olmo2 => (OUTSIDE_BLOCKS, [IN_BLOCKS_OF_OLMO2, IN_BLOCKS]),
            Architecture::Gemma2 | Architecture::Gemma3 => (OUTSIDE_BLOCKS, [IN_BLOCKS_OF_GEMMA, IN_BLOCKS]),
            Architecture::Phi3 => (OUTSIDE_BLOCKS, [IN_BLOCKS_OF_PHI, IN_BLOCKS]),
            Architecture::Gpt2 => (OUTSIDE_BLOCKS_OF_GPT2, [&[], IN_BLOCKS_OF_GPT2]),
            Architecture::GptNeoX => (OUTSIDE_BLOCKS_OF_GPT_NEOX, [&[], IN_BLOCKS_OF_GPT_NEOX]),
        }
    }

    /// The published name of the blocks.
    fn blocks(self) -> &'static str {
        match self {
            Architecture::Gpt2 => "transformer.h",
            Architecture::GptNeoX => "gpt_neox.layers",
            _ => "model.layers",
        }
    }

    fn renamed(self, name: &str) -> Option<String> {
        let (stem, part) = name.rsplit_once('.')?;
        let (outside, inside) = self.names();
        let find =
            |names: Renamed, stem: &str| names.iter().find(|(known, _)| *known == stem).map(|(_, new)| *new);
        let Some((block, stem)) = stem.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
            return Some(format!("{}.{part}", find(outside, stem)?));
        };
        let blocks = self.blocks();
        let new = inside.iter().find_map(|names| find(names, stem))?;
        Some(format!("{blocks}.{block}.{new}.{part}"))
    }

    /// Returns the change that the converter made to a tensor.
    pub(super) fn change(self, name: &str, heads: Heads) -> Change {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        match self {
            Architecture::Llama | Architecture::SmolLm3 => {
                let of = |heads: u64| Change::Reordered(Order::Interleaved { heads: heads as usize });
                match stem {
                    _ if stem.ends_with(".attn_q") => of(heads.query),
                    _ if stem.ends_with(".attn_k") => of(heads.key),
                    _ => Change::None,
                }
            }
            Architecture::GptNeoX if stem.ends_with(".attn_qkv") => {
                Change::Reordered(Order::QueriesKeysValues { heads: heads.query as usize })
            }
            Architecture::Gemma2 | Architecture::Gemma3 if stem.ends_with("norm") => Change::PlusOne,
            _ => Change::None,
        }
    }
}

impl Heads {
    /// Takes the numbers of heads.
    pub(super) fn take(settings: &mut Settings<'_>) -> Self {
        let query = settings.size("attention.head_count");
        let key = settings.optional_size_above_0("attention.head_count_kv").unwrap_or(query);
        Heads { query, key }
    }
}
