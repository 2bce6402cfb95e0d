//! The keys of a GGUF file in place of those of the `config.json` that it is translated into.

use std::collections::HashSet;

use crate::{
    checkpoint::gguf::{Gguf, architecture::Architecture},
    error::{ConfigProblem, ModelError},
};

/// The key of the token at the beginning of a text.
pub(super) const BOS: &str = "tokenizer.ggml.bos_token_id";

/// Keys of config files, of whatever family, and those of an architecture from which they come.
const OF_ARCHITECTURE: &[(&str, &str)] = &[
    ("hidden_size", "embedding_length"),
    ("n_embd", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("n_inner", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("n_layer", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("n_head", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("max_position_embeddings", "context_length"),
    ("n_positions", "context_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("layer_norm_eps", "attention.layer_norm_epsilon"),
    ("layer_norm_epsilon", "attention.layer_norm_epsilon"),
    ("sliding_window", "attention.sliding_window"),
    ("layer_types", "attention.sliding_window_pattern"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
    ("partial_rotary_factor", "rope.dimension_count"),
    ("rotary_pct", "rope.dimension_count"),
    ("rope_theta", "rope.freq_base"),
    ("rotary_emb_base", "rope.freq_base"),
    ("factor", "rope.scaling.factor"),
    ("attention_factor", "rope.scaling.attn_factor"),
    ("original_max_position_embeddings", "rope.scaling.original_context_length"),
];

/// Keys that come from tensors.
const OF_TENSORS: &[(&str, &str)] = &[
    ("vocab_size", "token_embd.weight"),
    ("short_factor", "rope_factors_short.weight"),
    ("long_factor", "rope_factors_long.weight"),
];

/// The keys from which the width of a head follows, and what follows from it in turn.
const OF_HEADS: [&str; 3] = ["embedding_length", "attention.head_count", "attention.key_length"];
const FROM_HEADS: [&str; 4] = ["head_dim", "partial_rotary_factor", "rotary_pct", "query_pre_attn_scalar"];

/// Returns the keys of the config whose values are stand-ins if the settings have these problems.
pub(super) fn unknown(problems: &[ConfigProblem]) -> Vec<&'static str> {
    let is_faulty = |own: &str| {
        let is_own = |key: &str| key == own || key.split_once('.').is_some_and(|(_, key)| key == own);
        problems.iter().any(|problem| is_own(problem.key()))
    };
    let faulty = OF_ARCHITECTURE.iter().chain(OF_TENSORS).filter(|(_, own)| is_faulty(own));
    let mut unknown: Vec<&str> = faulty.map(|(of_config, _)| *of_config).collect();
    if OF_HEADS.into_iter().any(is_faulty) {
        unknown.extend(FROM_HEADS);
    }
    unknown
}

impl Gguf {
    /// Puts the keys of the file in place of those of the config in an error.
    pub(super) fn with_own_keys(&self, error: ModelError) -> ModelError {
        match error {
            ModelError::Config { path, mut problems } => {
                for problem in &mut problems {
                    match problem {
                        ConfigProblem::Missing { key, .. } | ConfigProblem::Value { key, .. } => {
                            *key = self.own_key(key);
                        }
                        ConfigProblem::Contradiction { key, other, .. } => {
                            *key = self.own_key(key);
                            *other = self.own_key(other);
                        }
                        ConfigProblem::UnknownFamily { .. } | ConfigProblem::Quantised { .. } => {}
                    }
                }
                // One tensor can stand for two keys.
                let mut named = HashSet::new();
                problems.retain(|problem| named.insert(problem.key().to_owned()));
                ModelError::Config { path, problems }
            }
            other => other,
        }
    }

    fn own_key(&self, key: &str) -> String {
        let last = key.rsplit('.').next().unwrap_or(key);
        let find = |keys: &[(&str, &'static str)]| {
            keys.iter().find(|(of_config, _)| *of_config == last).map(|(_, own)| *own)
        };
        let architecture = self.architecture.name();
        match (key, find(OF_ARCHITECTURE), find(OF_TENSORS)) {
            ("rope_parameters.sliding_attention.rope_theta", ..) => {
                format!("{architecture}.rope.freq_base_swa")
            }
            ("bos_token_id", ..) => BOS.to_owned(),
            // The factors of all lengths.
            (_, None, Some(_)) if last != "vocab_size" && self.architecture == Architecture::Llama => {
                "rope_freqs.weight".to_owned()
            }
            (_, Some(own), _) => format!("{architecture}.{own}"),
            (_, None, Some(own)) => own.to_owned(),
            (_, None, None) => key.to_owned(),
        }
    }
}
