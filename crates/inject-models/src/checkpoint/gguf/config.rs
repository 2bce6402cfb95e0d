//! From metadata to the `config.json` that the family publishes.
//!
//! # Source
//!
//! github.com/ggml-org/llama.cpp: `convert_hf_to_gguf.py` writes these keys, and `src/llama-model.cpp` (`load_hparams`)
//! has their defaults.

use serde_json::{Map, Value as Json, json};

use super::{
    Gguf,
    architecture::{Architecture, Heads},
    settings::Settings,
    value::Value,
};
use crate::error::ModelError;

impl Gguf {
    /// Returns the text of the `config.json` that describes this model.
    ///
    /// # Errors
    ///
    /// Fails if a key is missing or malformed, or asks for a computation that the family does not have.
    pub(crate) fn config(&self) -> Result<String, ModelError> {
        let mut settings = self.settings();
        let mut config = match self.architecture {
            Architecture::Llama => self.llama(&mut settings)?,
            Architecture::SmolLm3 => self.smollm3(&mut settings)?,
            Architecture::Gemma2 => self.gemma2(&mut settings)?,
            Architecture::Gemma3 => self.gemma3(&mut settings)?,
            Architecture::Gpt2 => self.gpt2(&mut settings)?,
            Architecture::GptNeoX => self.gpt_neox(&mut settings)?,
            Architecture::Olmo2 => self.olmo2(&mut settings)?,
            Architecture::Phi3 => self.phi3(&mut settings)?,
            Architecture::Qwen2 => self.qwen(&mut settings, "qwen2")?,
            Architecture::Qwen3 => self.qwen(&mut settings, "qwen3")?,
        };
        settings.only("expert_count", &Value::Unsigned(0), "0: a mixture of experts is not computed")?;
        settings.only("expert_used_count", &Value::Unsigned(0), "0: a mixture of experts is not computed")?;
        settings.only(
            "attention.causal",
            &Value::Flag(true),
            "true: attention to later tokens is not computed",
        )?;
        settings.finish()?;
        let only = "one file: join the parts with `llama-gguf-split --merge`";
        let parts = self.head.metadata.get("split.count");
        if let Some(parts) = parts.filter(|parts| !matches!(parts.whole(), Some(0 | 1))) {
            return Err(ModelError::bad_key(
                &self.path,
                "split.count",
                &super::settings::shown(&self.map, parts),
                only,
            ));
        }
        // The number of rows, because files may have more tokens than rows or fewer.
        if let Some(embedding) = self.head.tensors.get("token_embd.weight") {
            config.insert("vocab_size".to_owned(), json!(embedding.shape[0]));
        }
        let tied = !self.head.tensors.contains_key("output.weight");
        config.insert("tie_word_embeddings".to_owned(), json!(tied));
        if let Some(bos) = self.head.metadata.get("tokenizer.ggml.bos_token_id").and_then(Value::whole) {
            config.insert("bos_token_id".to_owned(), json!(bos));
        }
        Ok(Json::Object(config).to_string())
    }

    fn llama(&self, settings: &mut Settings<'_>) -> Result<Map<String, Json>, ModelError> {
        let (mut config, shape) = decoder(settings, "llama")?;
        whole_head_rotates(settings, &shape)?;
        config.insert("hidden_act".to_owned(), json!("silu"));
        config.insert("head_dim".to_owned(), json!(shape.d_head));
        // The tensors say which biases there are.
        let has = |name: &str| self.head.tensors.contains_key(name);
        config.insert("attention_bias".to_owned(), json!(has("blk.0.attn_q.bias")));
        config.insert("mlp_bias".to_owned(), json!(has("blk.0.ffn_up.bias")));
        let base = base(settings, 10_000.0)?;
        let rotary = match self.factors("rope_freqs.weight")? {
            // The wavelengths of Llama 3 as the converter computed them. No length changes them.
            Some(factors) => json!({
                "rope_type": "longrope",
                "rope_theta": base,
                "short_factor": factors,
                "long_factor": factors,
                "attention_factor": 1.0,
                "original_max_position_embeddings": shape.max_len,
            }),
            None => linear_or_none(settings, base)?,
        };
        if let Some(window) = settings.optional_size("attention.sliding_window")?.filter(|&window| window > 0)
        {
            config.insert("model_type".to_owned(), json!("mistral"));
            config.retain(|key, _| !matches!(key.as_str(), "attention_bias" | "mlp_bias"));
            config.insert("sliding_window".to_owned(), json!(window));
        }
        config.insert("rope_parameters".to_owned(), rotary);
        Ok(config)
    }

    fn qwen(&self, settings: &mut Settings<'_>, model_type: &str) -> Result<Map<String, Json>, ModelError> {
        let (mut config, shape) = decoder(settings, model_type)?;
        whole_head_rotates(settings, &shape)?;
        config.insert("hidden_act".to_owned(), json!("silu"));
        if model_type == "qwen3" {
            config.insert("head_dim".to_owned(), json!(shape.d_head));
            let biased = self.head.tensors.contains_key("blk.0.attn_q.bias");
            config.insert("attention_bias".to_owned(), json!(biased));
        } else if shape.d_head * shape.n_heads != shape.d_model {
            return Err(settings.bad(
                "attention.key_length",
                &shape.d_head.to_string(),
                "the model's width divided by its heads",
            ));
        }
        let base = base(settings, 10_000.0)?;
        let rotary = linear_or_none(settings, base)?;
        config.insert("rope_parameters".to_owned(), rotary);
        Ok(config)
    }

    fn gemma3(&self, settings: &mut Settings<'_>) -> Result<Map<String, Json>, ModelError> {
        // Ollama's names.
        settings.unify("rope.freq_base", "rope.global.freq_base")?;
        settings.unify("rope.freq_base_swa", "rope.local.freq_base")?;
        let (mut config, shape) = decoder(settings, "gemma3_text")?;
        whole_head_rotates(settings, &shape)?;
        // The largest model scales its scores by the share of a head in the width, all others by the width of a head.
        let scalar = if shape.n_layers == 62 { shape.d_model / shape.n_heads } else { shape.d_head };
        config.insert("query_pre_attn_scalar".to_owned(), json!(scalar));
        config.insert("head_dim".to_owned(), json!(shape.d_head));
        config.insert("hidden_activation".to_owned(), json!("gelu_pytorch_tanh"));
        config.insert("sliding_window".to_owned(), json!(settings.size("attention.sliding_window")?));
        config.insert("layer_types".to_owned(), self.layer_types(settings, &shape, 6)?);
        let local = settings.optional_number("rope.freq_base_swa")?.unwrap_or(10_000.0);
        let base = base(settings, 1_000_000.0)?;
        let full = linear_or_none(settings, base)?;
        let sliding = json!({ "rope_type": "default", "rope_theta": local });
        config.insert(
            "rope_parameters".to_owned(),
            json!({ "sliding_attention": sliding, "full_attention": full }),
        );
        // The class of the family reads both keys and applies the latter, so they go where it reads them. 0 means none.
        for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
            let cap = settings.optional_number(key)?.filter(|cap| *cap != 0.0);
            config.insert(key.to_owned(), json!(cap));
        }
        Ok(config)
    }

    fn gemma2(&self, settings: &mut Settings<'_>) -> Result<Map<String, Json>, ModelError> {
        let (mut config, shape) = decoder(settings, "gemma2")?;
        whole_head_rotates(settings, &shape)?;
        // The largest model scales its scores by the share of a head in the width, the others by the width of a head.
        let scalar = if shape.n_layers == 46 { shape.d_model / shape.n_heads } else { shape.d_head };
        let window = settings.optional_size("attention.sliding_window")?.unwrap_or(4096);
        let score_cap = settings.optional_number("attn_logit_softcapping")?.unwrap_or(50.0);
        let logit_cap = settings.optional_number("final_logit_softcapping")?.unwrap_or(30.0);
        let base = base(settings, 10_000.0)?;
        settings.only("rope.freq_base_swa", &Value::Float(base), "the value of `rope.freq_base`")?;
        let rotary = linear_or_none(settings, base)?;
        config.insert("layer_types".to_owned(), self.layer_types(settings, &shape, 2)?);
        config.extend(object(json!({
            "head_dim": shape.d_head,
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": scalar,
            "sliding_window": window,
            "attn_logit_softcapping": score_cap,
            "final_logit_softcapping": logit_cap,
            "rope_parameters": rotary,
        })));
        Ok(config)
    }

    /// Takes the layers that have a window: the file lists them, or gives a period of which the last layer has none. With a
    /// period of 0 every layer has one, as in llama.cpp.
    fn layer_types(
        &self,
        settings: &mut Settings<'_>,
        shape: &Shape,
        in_a_row: u64,
    ) -> Result<Json, ModelError> {
        let sliding = match settings.optional_flags("attention.sliding_window_pattern")? {
            Some(sliding) => sliding,
            None => {
                let pattern = settings.optional_size("attention.sliding_window_pattern")?;
                let pattern = pattern.unwrap_or(in_a_row);
                // The loop ends with the file: every layer has tensors in it.
                let n_layers = shape.n_layers.min(self.head.tensors.len() as u64);
                (1..=n_layers).map(|layer| !layer.is_multiple_of(pattern)).collect()
            }
        };
        let kind = |sliding: &bool| if *sliding { "sliding_attention" } else { "full_attention" };
        Ok(sliding.iter().map(kind).collect())
    }

    fn olmo2(&self, settings: &mut Settings<'_>) -> Result<Map<String, Json>, ModelError> {
        let (mut config, shape) = decoder(settings, "olmo2")?;
        whole_head_rotates(settings, &shape)?;
        // OLMo 3 has the same architecture, and windows.
        settings.only("attention.sliding_window", &Value::Unsigned(0), "0: OLMo 2 has no windows")?;
        let base = base(settings, 10_000.0)?;
        config.insert("hidden_act".to_owned(), json!("silu"));
        config.insert("head_dim".to_owned(), json!(shape.d_head));
        config.insert("rope_parameters".to_owned(), linear_or_none(settings, base)?);
        Ok(config)
    }

    fn smollm3(&self, settings: &mut Settings<'_>) -> Result<Map<String, Json>, ModelError> {
        let (mut config, shape) = decoder(settings, "smollm3")?;
        whole_head_rotates(settings, &shape)?;
        let has = |name: &str| self.head.tensors.contains_key(name);
        let base = base(settings, 10_000.0)?;
        config.extend(object(json!({
            "hidden_act": "silu",
            "head_dim": shape.d_head,
            "attention_bias": has("blk.0.attn_q.bias"),
            "mlp_bias": has("blk.0.ffn_up.bias"),
            // llama.cpp knows the period and no other.
            "no_rope_layer_interval": 4,
            "rope_parameters": linear_or_none(settings, base)?,
        })));
        Ok(config)
    }

    fn gpt_neox(&self, settings: &mut Settings<'_>) -> Result<Map<String, Json>, ModelError> {
        let d_model = settings.size("embedding_length")?;
        let n_heads = settings.size("attention.head_count")?;
        let rotary_dim = settings.size("rope.dimension_count")?;
        Ok(object(json!({
            "model_type": "gpt_neox",
            "hidden_act": "gelu",
            "hidden_size": d_model,
            "intermediate_size": settings.size("feed_forward_length")?,
            "num_hidden_layers": settings.size("block_count")?,
            "num_attention_heads": n_heads,
            "max_position_embeddings": settings.size("context_length")?,
            "layer_norm_eps": settings.number("attention.layer_norm_epsilon")?,
            "use_parallel_residual": settings.optional_flag("use_parallel_residual")?.unwrap_or(true),
            "attention_bias": self.head.tensors.contains_key("blk.0.attn_qkv.bias"),
            "rotary_pct": share(rotary_dim, d_model / n_heads),
            "rotary_emb_base": base(settings, 10_000.0)?,
        })))
    }

    fn phi3(&self, settings: &mut Settings<'_>) -> Result<Map<String, Json>, ModelError> {
        let (mut config, shape) = decoder(settings, "phi3")?;
        let rotary_dim = settings.optional_size("rope.dimension_count")?.unwrap_or(shape.d_head);
        config.insert("hidden_act".to_owned(), json!("silu"));
        config.insert("partial_rotary_factor".to_owned(), json!(share(rotary_dim, shape.d_head)));
        let window = settings.optional_size("attention.sliding_window")?.filter(|&window| window > 0);
        config.insert("sliding_window".to_owned(), json!(window));
        let base = base(settings, 10_000.0)?;
        let long = self.factors("rope_factors_long.weight")?;
        let short = self.factors("rope_factors_short.weight")?;
        let rotary = match (short, long) {
            (Some(short), Some(long)) => {
                let original = settings.size("rope.scaling.original_context_length")?;
                config.insert("original_max_position_embeddings".to_owned(), json!(original));
                if let Some(other) = settings
                    .optional_text("rope.scaling.type")?
                    .filter(|kind| !matches!(*kind, "none" | "longrope"))
                {
                    return Err(settings.bad(
                        "rope.scaling.type",
                        &format!("{other:?}"),
                        "`none` or `longrope`",
                    ));
                }
                let mut rotary = object(json!({
                    "rope_type": "longrope",
                    "rope_theta": base,
                    "short_factor": short,
                    "long_factor": long,
                }));
                // Converters write it. Without it, it follows from the two lengths as in the family's own checkpoints.
                if let Some(factor) = settings.optional_number("rope.scaling.attn_factor")? {
                    rotary.insert("attention_factor".to_owned(), json!(factor));
                }
                Json::Object(rotary)
            }
            _ => {
                config.insert("original_max_position_embeddings".to_owned(), json!(shape.max_len));
                linear_or_none(settings, base)?
            }
        };
        config.insert("rope_parameters".to_owned(), rotary);
        Ok(config)
    }

    fn gpt2(&self, settings: &mut Settings<'_>) -> Result<Map<String, Json>, ModelError> {
        Ok(object(json!({
            "model_type": "gpt2",
            "activation_function": "gelu_new",
            "n_positions": settings.size("context_length")?,
            "n_embd": settings.size("embedding_length")?,
            "n_layer": settings.size("block_count")?,
            "n_head": settings.size("attention.head_count")?,
            "n_inner": settings.size("feed_forward_length")?,
            "layer_norm_epsilon": settings.number("attention.layer_norm_epsilon")?,
        })))
    }

    /// Returns the numbers of a small tensor that holds settings.
    fn factors(&self, name: &str) -> Result<Option<Vec<f64>>, ModelError> {
        const MOST: usize = 4096;
        let Some(placed) = self.head.tensors.get(name) else { return Ok(None) };
        let len = placed.shape.iter().product::<usize>();
        if len > MOST {
            return Err(ModelError::TensorShape {
                path: self.path.clone(),
                tensor: name.to_owned(),
                found: placed.shape.clone(),
                expected: vec![MOST],
            });
        }
        let mut factors = vec![0.0; len];
        placed.blocks.decode(&self.map[placed.place.clone()], &mut factors);
        Ok(Some(factors.into_iter().map(f64::from).collect()))
    }
}

/// The sizes that other settings depend on.
struct Shape {
    d_model: u64,
    d_head: u64,
    n_heads: u64,
    n_layers: u64,
    max_len: u64,
}

/// The members of an object that was just made.
fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(members) => members,
        _ => unreachable!("an object was made"),
    }
}

fn base(settings: &mut Settings<'_>, default: f64) -> Result<f64, ModelError> {
    Ok(settings.optional_number("rope.freq_base")?.unwrap_or(default))
}

/// Takes the settings that all architectures with rotations have.
fn decoder(settings: &mut Settings<'_>, model_type: &str) -> Result<(Map<String, Json>, Shape), ModelError> {
    let n_layers = settings.size("block_count")?;
    let d_model = settings.size("embedding_length")?;
    let d_ff = settings.size("feed_forward_length")?;
    let max_len = settings.size("context_length")?;
    let Heads { query: n_heads, key: n_kv_heads } = Heads::take(settings)?;
    // Ollama's name.
    settings.unify("attention.key_length", "attention.head_dim")?;
    let d_head = settings.optional_size("attention.key_length")?.unwrap_or(d_model / n_heads);
    let d_value = settings.optional_size("attention.value_length")?.unwrap_or(d_head);
    if d_value != d_head {
        return Err(settings.bad(
            "attention.value_length",
            &d_value.to_string(),
            &format!("the key_length {d_head}"),
        ));
    }
    let epsilon = settings.number("attention.layer_norm_rms_epsilon")?;
    // Ollama has both keys where a config.json has both.
    settings.only(
        "attention.layer_norm_epsilon",
        &Value::Float(epsilon),
        &format!("the layer_norm_rms_epsilon {epsilon}"),
    )?;
    let config = object(json!({
        "model_type": model_type,
        "hidden_size": d_model,
        "intermediate_size": d_ff,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "max_position_embeddings": max_len,
        "rms_norm_eps": epsilon,
    }));
    Ok((config, Shape { d_model, d_head, n_heads, n_layers, max_len }))
}

fn whole_head_rotates(settings: &mut Settings<'_>, shape: &Shape) -> Result<(), ModelError> {
    let d_head = shape.d_head;
    settings.only("rope.dimension_count", &Value::Unsigned(d_head), &format!("the width of a head, {d_head}"))
}

/// Takes the scaling of the rotation: none, or linear. In the older spelling the factor stands alone.
fn linear_or_none(settings: &mut Settings<'_>, base: f64) -> Result<Json, ModelError> {
    let kind = settings.optional_text("rope.scaling.type")?;
    settings.unify("rope.scaling.factor", "rope.scale_linear")?;
    let factor = settings.optional_number("rope.scaling.factor")?;
    settings.only("rope.scaling.attn_factor", &Value::Float(1.0), "1")?;
    match (kind, factor) {
        (None | Some("linear"), Some(factor)) if factor != 1.0 && factor != 0.0 => {
            Ok(json!({ "rope_type": "linear", "rope_theta": base, "factor": factor }))
        }
        (None | Some("none" | "linear"), _) => Ok(json!({ "rope_type": "default", "rope_theta": base })),
        (Some(other), _) => {
            Err(settings.bad("rope.scaling.type", &format!("{other:?}"), "`none` or `linear`"))
        }
    }
}

/// The share of `whole` that gives `part` back when their product is truncated.
fn share(part: u64, whole: u64) -> f64 {
    let share = part as f64 / whole.max(1) as f64;
    if ((whole as f64 * share) as u64) < part { share.next_up() } else { share }
}
