//! From metadata to the `config.json` that the family publishes.
//!
//! # Source
//!
//! github.com/ggml-org/llama.cpp: `convert_hf_to_gguf.py` writes these keys, and `src/llama-model.cpp` (`load_hparams`)
//! has their defaults.

mod gemma;
mod own_keys;
mod rotating;

use serde_json::{Map, Value as Json, json};

use self::rotating::{base, decoder, linear_or_none, whole_head_rotates};
use super::{
    Gguf,
    architecture::{Architecture, ONE_FILE, SPLIT},
    settings::Settings,
    value::Value,
};
use crate::{
    error::{ConfigProblem, ModelError},
    families::{self, Described},
    note::Note,
};

impl Gguf {
    /// Returns the description of this model.
    ///
    /// # Errors
    ///
    /// Fails with all problems of the file: keys that are missing or malformed, or ask for a computation that the family does not have.
    pub(crate) fn describe(&self) -> Result<Described, ModelError> {
        let (config, mut problems) = self.config();
        let described = families::describe_in_part(&self.path, &config, own_keys::unknown(&problems));
        match described.map_err(|error| self.with_own_keys(error)) {
            Ok(mut described) if problems.is_empty() => {
                for note in &mut described.notes {
                    if let Note::BosOutside { key, .. } = note {
                        own_keys::BOS.clone_into(key);
                    }
                }
                return Ok(described);
            }
            Ok(_) => {}
            Err(ModelError::Config { problems: more, .. }) => problems.extend(more),
            Err(other) => return Err(other),
        }
        Err(ModelError::Config { path: self.path.clone(), problems })
    }

    /// Returns the text of the `config.json` that describes this model, and the problems of the settings. A stand-in takes the place
    /// of a value with a problem.
    fn config(&self) -> (String, Vec<ConfigProblem>) {
        let mut settings = self.settings();
        let mut config = match self.architecture {
            Architecture::Llama => self.llama(&mut settings),
            Architecture::SmolLm3 => self.smollm3(&mut settings),
            Architecture::Gemma2 => self.gemma2(&mut settings),
            Architecture::Gemma3 => self.gemma3(&mut settings),
            Architecture::Gpt2 => self.gpt2(&mut settings),
            Architecture::GptNeoX => self.gpt_neox(&mut settings),
            Architecture::Olmo2 => self.olmo2(&mut settings),
            Architecture::Phi3 => self.phi3(&mut settings),
            Architecture::Qwen2 => self.qwen(&mut settings, "qwen2"),
            Architecture::Qwen3 => self.qwen(&mut settings, "qwen3"),
        };
        settings.only("expert_count", &Value::Unsigned(0), "0: a mixture of experts is not computed");
        settings.only("expert_used_count", &Value::Unsigned(0), "0: a mixture of experts is not computed");
        settings.only(
            "attention.causal",
            &Value::Flag(true),
            "true: attention to later tokens is not computed",
        );
        let parts = self.head.metadata.get(SPLIT);
        if let Some(parts) = parts.filter(|parts| !matches!(parts.whole(), Some(0 | 1))) {
            settings.bad_key(SPLIT.to_owned(), &super::settings::shown(&self.map, parts), ONE_FILE);
        }
        let problems = settings.finish();
        // The number of rows, because files may have more tokens than rows or fewer.
        if let Some(embedding) = self.head.tensors.get("token_embd.weight") {
            config.insert("vocab_size".to_owned(), json!(embedding.shape[0]));
        }
        let tied = !self.head.tensors.contains_key("output.weight");
        config.insert("tie_word_embeddings".to_owned(), json!(tied));
        if let Some(bos) = self.head.metadata.get("tokenizer.ggml.bos_token_id").and_then(Value::whole) {
            config.insert("bos_token_id".to_owned(), json!(bos));
        }
        (Json::Object(config).to_string(), problems)
    }

    fn llama(&self, settings: &mut Settings<'_>) -> Map<String, Json> {
        let (mut config, shape) = decoder(settings, "llama");
        whole_head_rotates(settings, &shape);
        config.insert("hidden_act".to_owned(), json!("silu"));
        config.insert("head_dim".to_owned(), json!(shape.d_head));
        // The tensors say which biases there are.
        let has = |name: &str| self.head.tensors.contains_key(name);
        config.insert("attention_bias".to_owned(), json!(has("blk.0.attn_q.bias")));
        config.insert("mlp_bias".to_owned(), json!(has("blk.0.ffn_up.bias")));
        let base = base(settings, 10_000.0);
        let factors = self.factors(settings, "rope_freqs.weight");
        let scaling = linear_or_none(settings, base);
        if factors.is_some() && scaling["rope_type"] == "linear" {
            let only = "1: a factor beside those of `rope_freqs.weight` is not computed";
            settings.bad("rope.scaling.factor", &scaling["factor"].to_string(), only);
        }
        let rotary = match factors {
            // The wavelengths of Llama 3 as the converter computed them. No length changes them.
            Some(factors) => json!({
                "rope_type": "longrope",
                "rope_theta": base,
                "short_factor": factors,
                "long_factor": factors,
                "attention_factor": 1.0,
                "original_max_position_embeddings": shape.max_len,
            }),
            None => scaling,
        };
        if let Some(window) = settings.optional_size("attention.sliding_window").filter(|&window| window > 0)
        {
            config.insert("model_type".to_owned(), json!("mistral"));
            config.retain(|key, _| !matches!(key.as_str(), "attention_bias" | "mlp_bias"));
            config.insert("sliding_window".to_owned(), json!(window));
        }
        config.insert("rope_parameters".to_owned(), rotary);
        config
    }

    fn qwen(&self, settings: &mut Settings<'_>, model_type: &str) -> Map<String, Json> {
        let (mut config, shape) = decoder(settings, model_type);
        whole_head_rotates(settings, &shape);
        config.insert("hidden_act".to_owned(), json!("silu"));
        if model_type == "qwen3" {
            config.insert("head_dim".to_owned(), json!(shape.d_head));
            let biased = self.head.tensors.contains_key("blk.0.attn_q.bias");
            config.insert("attention_bias".to_owned(), json!(biased));
        } else if shape.d_head * shape.n_heads != shape.d_model
            && !settings.are_faulty(&["attention.key_length", "embedding_length", "attention.head_count"])
        {
            settings.bad(
                "attention.key_length",
                &shape.d_head.to_string(),
                "the model's width divided by its heads",
            );
        }
        let base = base(settings, 10_000.0);
        let rotary = linear_or_none(settings, base);
        config.insert("rope_parameters".to_owned(), rotary);
        config
    }

    fn olmo2(&self, settings: &mut Settings<'_>) -> Map<String, Json> {
        let (mut config, shape) = decoder(settings, "olmo2");
        whole_head_rotates(settings, &shape);
        // OLMo 3 has the same architecture, and windows.
        settings.only("attention.sliding_window", &Value::Unsigned(0), "0: OLMo 2 has no windows");
        let base = base(settings, 10_000.0);
        config.insert("hidden_act".to_owned(), json!("silu"));
        config.insert("head_dim".to_owned(), json!(shape.d_head));
        config.insert("rope_parameters".to_owned(), linear_or_none(settings, base));
        config
    }

    fn smollm3(&self, settings: &mut Settings<'_>) -> Map<String, Json> {
        let (mut config, shape) = decoder(settings, "smollm3");
        whole_head_rotates(settings, &shape);
        let has = |name: &str| self.head.tensors.contains_key(name);
        let base = base(settings, 10_000.0);
        config.extend(object(json!({
            "hidden_act": "silu",
            "head_dim": shape.d_head,
            "attention_bias": has("blk.0.attn_q.bias"),
            "mlp_bias": has("blk.0.ffn_up.bias"),
            // llama.cpp knows the period and no other.
            "no_rope_layer_interval": 4,
            "rope_parameters": linear_or_none(settings, base),
        })));
        config
    }

    fn gpt_neox(&self, settings: &mut Settings<'_>) -> Map<String, Json> {
        let d_model = settings.size("embedding_length");
        let n_heads = settings.size("attention.head_count");
        let rotary_dim = settings.size("rope.dimension_count");
        object(json!({
            "model_type": "gpt_neox",
            "hidden_act": "gelu",
            "hidden_size": d_model,
            "intermediate_size": settings.size("feed_forward_length"),
            "num_hidden_layers": settings.size("block_count"),
            "num_attention_heads": n_heads,
            "max_position_embeddings": settings.size("context_length"),
            "layer_norm_eps": settings.number("attention.layer_norm_epsilon"),
            "use_parallel_residual": settings.optional_flag("use_parallel_residual").unwrap_or(true),
            "attention_bias": self.head.tensors.contains_key("blk.0.attn_qkv.bias"),
            "rotary_pct": share(rotary_dim, d_model / n_heads),
            "rotary_emb_base": base(settings, 10_000.0),
        }))
    }

    fn phi3(&self, settings: &mut Settings<'_>) -> Map<String, Json> {
        let (mut config, shape) = decoder(settings, "phi3");
        let rotary_dim = settings.optional_size("rope.dimension_count").unwrap_or(shape.d_head);
        config.insert("hidden_act".to_owned(), json!("silu"));
        config.insert("partial_rotary_factor".to_owned(), json!(share(rotary_dim, shape.d_head)));
        let window = settings.optional_size("attention.sliding_window").filter(|&window| window > 0);
        config.insert("sliding_window".to_owned(), json!(window));
        let base = base(settings, 10_000.0);
        let long = self.factors(settings, "rope_factors_long.weight");
        let short = self.factors(settings, "rope_factors_short.weight");
        let rotary = match (short, long) {
            (Some(short), Some(long)) => {
                let original = settings.size("rope.scaling.original_context_length");
                config.insert("original_max_position_embeddings".to_owned(), json!(original));
                if let Some(other) = settings
                    .optional_text("rope.scaling.type")
                    .filter(|kind| !matches!(*kind, "none" | "longrope"))
                {
                    settings.bad("rope.scaling.type", &format!("{other:?}"), "`none` or `longrope`");
                }
                let mut rotary = object(json!({
                    "rope_type": "longrope",
                    "rope_theta": base,
                    "short_factor": short,
                    "long_factor": long,
                }));
                // Converters write it. Without it, it follows from the two lengths as in the family's own checkpoints.
                if let Some(factor) = settings.optional_number("rope.scaling.attn_factor") {
                    rotary.insert("attention_factor".to_owned(), json!(factor));
                }
                Json::Object(rotary)
            }
            _ => {
                config.insert("original_max_position_embeddings".to_owned(), json!(shape.max_len));
                linear_or_none(settings, base)
            }
        };
        config.insert("rope_parameters".to_owned(), rotary);
        config
    }

    fn gpt2(&self, settings: &mut Settings<'_>) -> Map<String, Json> {
        object(json!({
            "model_type": "gpt2",
            "activation_function": "gelu_new",
            "n_positions": settings.size("context_length"),
            "n_embd": settings.size("embedding_length"),
            "n_layer": settings.size("block_count"),
            "n_head": settings.size("attention.head_count"),
            "n_inner": settings.size("feed_forward_length"),
            "layer_norm_epsilon": settings.number("attention.layer_norm_epsilon"),
        }))
    }

    /// Returns the numbers of a small tensor that holds settings.
    fn factors(&self, settings: &Settings<'_>, name: &str) -> Option<Vec<f64>> {
        const MOST: usize = 4096;
        let placed = self.head.tensors.get(name)?;
        let len = placed.shape.iter().product::<usize>();
        if len > MOST {
            let expected = format!("a tensor of at most {MOST} numbers");
            settings.bad_key(name.to_owned(), &format!("a tensor {:?}", placed.shape), &expected);
            return None;
        }
        let mut factors = vec![0.0; len];
        placed.blocks.decode(&self.map[placed.place.clone()], &mut factors);
        Some(factors.into_iter().map(f64::from).collect())
    }
}

/// The members of an object that was just made.
fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(members) => members,
        _ => unreachable!("an object was made"),
    }
}

/// The share of `whole` that gives `part` back when their product is truncated.
fn share(part: u64, whole: u64) -> f64 {
    let share = part as f64 / whole.max(1) as f64;
    if ((whole as f64 * share) as u64) < part { share.next_up() } else { share }
}
