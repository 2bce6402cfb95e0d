//! The settings of an adapter.

mod refused;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) use self::refused::setting;
use self::refused::{initialisation, other_kind, refused};
use super::{
    AdapterError,
    pattern::{Pattern, check_sizes},
    selection::Selection,
};

/// The contents of `adapter_config.json`. The patterns are read apart, because the order of their entries counts.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    rank_pattern: Option<IndexMap<String, Value>>,
    alpha_pattern: Option<IndexMap<String, Value>>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The modules that an adapter changes, and its ranks and scales.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) selection: Selection,
    rank: usize,
    alpha: f64,
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
    scaling: Scaling,
    /// Whether the change of a tied embedding is that of the head too.
    pub(super) ensures_tying: bool,
}

/// The number by which `lora_alpha` is divided to give the scale of a change.
#[derive(Clone, Copy, Debug)]
enum Scaling {
    /// Divides by the rank: plain LoRA.
    Rank,
    /// Divides by the root of the rank: rank-stabilised LoRA.
    RootOfRank,
}

impl Settings {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Fails with all faults of the file.
    ///
    /// # Source
    ///
    /// PEFT 0.21.2, `tuners/lora/config.py`.
    pub(super) fn new(file: File) -> Result<Self, AdapterError> {
        let File { rank_pattern, alpha_pattern, others: mut map } = file;
        let mut faults = Vec::new();
        let kind = map.remove("peft_type").unwrap_or_default();
        if kind != "LORA" {
            // The other settings are those of the other kind.
            return Err(setting("peft_type", &kind, other_kind(&kind)));
        }
        let ranks = rank_pattern.iter().chain(&alpha_pattern).flat_map(IndexMap::keys).map(String::as_str);
        check_sizes(ranks.chain(Selection::expressions(&map)))?;
        let bias = map.remove("bias").unwrap_or_else(|| "none".into());
        if bias != "none" {
            let expected = "`none`: merge an adapter with biases of its own with PEFT (`merge_and_unload`), and give the merged model";
            faults.push(setting("bias", &bias, expected));
        }
        faults.extend(initialisation(&map.remove("init_lora_weights").unwrap_or(Value::Bool(true))).err());
        let scaling = match map.remove("use_rslora") {
            None | Some(Value::Null | Value::Bool(false)) => Scaling::Rank,
            Some(Value::Bool(true)) => Scaling::RootOfRank,
            Some(other) => {
                faults.push(setting("use_rslora", &other, "true or false"));
                Scaling::Rank
            }
        };
        let rank_of_all = map.remove("r").map_or(Ok(8), |value| rank("r", &value));
        let alpha_of_all = map.remove("lora_alpha").map_or(Ok(8.0), |value| alpha("lora_alpha", &value));
        let settings = Settings {
            selection: Selection::take(&mut map, &mut faults),
            rank: or(&mut faults, rank_of_all, 1),
            alpha: or(&mut faults, alpha_of_all, 1.0),
            ranks: compiled("rank_pattern", rank_pattern, rank, &mut faults),
            alphas: compiled("alpha_pattern", alpha_pattern, alpha, &mut faults),
            scaling,
            ensures_tying: map.get("ensure_weight_tying") == Some(&Value::Bool(true)),
        };
        faults.extend(map.iter().filter_map(|(key, value)| refused(key, value)));
        match faults.len() {
            0 => Ok(settings),
            1 => Err(faults.remove(0)),
            _ => Err(AdapterError::several(&faults)),
        }
    }

    /// The rank of the change to a module.
    ///
    /// # Errors
    ///
    /// Fails if a pattern takes too many steps.
    pub(super) fn rank(&self, module: &str) -> Result<usize, AdapterError> {
        Ok(first_match(&self.ranks, module)?.unwrap_or(self.rank))
    }

    /// The factor on the change to a module.
    ///
    /// # Errors
    ///
    /// Fails if a pattern takes too many steps.
    ///
    /// # Source
    ///
    /// PEFT 0.21.2, `tuners/lora/layer.py` (`update_layer`).
    pub(super) fn scale(&self, module: &str) -> Result<f64, AdapterError> {
        let alpha = first_match(&self.alphas, module)?.unwrap_or(self.alpha);
        let rank = self.rank(module)? as f64;
        Ok(match self.scaling {
            Scaling::Rank => alpha / rank,
            Scaling::RootOfRank => alpha / rank.sqrt(),
        })
    }
}

fn first_match<T: Copy>(patterns: &[(Pattern, T)], module: &str) -> Result<Option<T>, AdapterError> {
    for (pattern, value) in patterns {
        if pattern.fits(module)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

/// Keeps a fault, and returns a value in the place of the faulty one.
pub(super) fn or<T>(faults: &mut Vec<AdapterError>, found: Result<T, AdapterError>, stand_in: T) -> T {
    found.unwrap_or_else(|fault| {
        faults.push(fault);
        stand_in
    })
}

/// Compiles regular expressions over the paths of modules. The first that fits counts, as in PEFT 0.21.2,
/// `utils/other.py` (`get_pattern_key`): it fits if it is the whole path, or the end of it after a dot.
fn compiled<T>(
    key: &'static str,
    patterns: Option<IndexMap<String, Value>>,
    parse: fn(&str, &Value) -> Result<T, AdapterError>,
    faults: &mut Vec<AdapterError>,
) -> Vec<(Pattern, T)> {
    let compile = |(pattern, value): (String, Value)| {
        let value = parse(&format!("{key}.{pattern}"), &value)?;
        Ok((Pattern::new(key, &pattern, [r"(.*\.)?(", ")$"])?, value))
    };
    patterns
        .into_iter()
        .flatten()
        .filter_map(|of| compile(of).map_err(|fault| faults.push(fault)).ok())
        .collect()
}

fn rank(key: &str, value: &Value) -> Result<usize, AdapterError> {
    const LIMIT: u64 = 1 << 24;
    match value.as_u64() {
        Some(rank @ 1..=LIMIT) => Ok(rank as usize),
        _ => Err(setting(key, value, "a rank from 1 on")),
    }
}

fn alpha(key: &str, value: &Value) -> Result<f64, AdapterError> {
    value.as_f64().filter(|alpha| alpha.is_finite()).ok_or_else(|| setting(key, value, "a number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(more: Value) -> Result<Settings, AdapterError> {
        let mut map = json!({ "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": [] });
        map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Settings::new(serde_json::from_value(map).unwrap())
    }

    #[test]
    fn patterns_fit_whole_paths_and_their_ends_and_the_first_counts() {
        // The order of the file, which is not that of the alphabet.
        let text = r#"{
            "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": [],
            "rank_pattern": { "q_proj": 2, "^model.layers.1.mlp.up_proj": 16 },
            "alpha_pattern": { "self_attn.[qk]_proj": 3, "q_proj": 7 }
        }"#;
        let settings = Settings::new(serde_json::from_str(text).unwrap()).unwrap();
        let of = |module: &str| (settings.rank(module).unwrap(), settings.scale(module).unwrap());
        assert_eq!(of("model.layers.0.self_attn.q_proj"), (2, 1.5));
        assert_eq!(of("model.layers.0.self_attn.xq_proj"), (4, 2.0));
        assert_eq!(of("other.q_proj"), (2, 3.5));
        assert_eq!(of("model.layers.1.mlp.up_proj"), (16, 0.5));
        assert_eq!(of("other.model.layers.1.mlp.up_proj"), (4, 2.0));
    }

    #[test]
    fn rank_stabilised_lora_divides_by_the_root() {
        let settings = parse(json!({ "use_rslora": true })).unwrap();
        assert_eq!(settings.scale("any").unwrap(), 4.0);
    }

    #[test]
    fn one_reading_finds_all_faults() {
        let faulty = json!({
            "use_dora": true, "bias": "all", "r": 0, "rank_pattern": { "q_proj(": 2 }, "alpha_pattern": { "k_proj": "8" },
            "init_lora_weights": "pissa", "ensure_weight_tying": true
        });
        let text = parse(faulty).unwrap_err().to_string();
        assert!(text.starts_with("6 faults: ") && text.contains("Opening parenthesis"), "{text}");
        for key in ["use_dora", "bias", "r", "rank_pattern", "alpha_pattern.k_proj", "init_lora_weights"]
            .map(|key| format!("`{key}`"))
        {
            assert!(text.contains(&key), "{key}: {text}");
        }
    }

    #[test]
    fn an_adapter_of_another_kind_is_to_be_merged_with_peft_if_it_can_be() {
        let text = |kind: &str| parse(json!({ "peft_type": kind })).unwrap_err().to_string();
        for kind in ["IA3", "LOHA", "LOKR", "ADALORA", "OFT", "VERA", "LN_TUNING"] {
            assert!(text(kind).contains(kind) && text(kind).contains("`merge_and_unload`"), "{}", text(kind));
        }
        for kind in ["PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "ADAPTION_PROMPT"] {
            assert!(text(kind).contains(kind) && text(kind).contains("cannot be merged"), "{}", text(kind));
        }
        let text = parse(json!({ "use_dora": true })).unwrap_err().to_string();
        assert!(text.contains("`merge_and_unload`"), "{text}");
    }

    #[test]
    fn everything_beyond_a_plain_lora_is_refused_by_name() {
        let refused = [
            ("peft_type", json!("IA3")),
            ("peft_type", json!(null)),
            ("bias", json!("all")),
            ("bias", json!("lora_only")),
            ("use_dora", json!(true)),
            ("use_qalora", json!(true)),
            ("lora_bias", json!(true)),
            ("trainable_token_indices", json!([3])),
            ("target_parameters", json!(["experts.down_proj"])),
            ("layer_replication", json!([[0, 2], [1, 3]])),
            ("alora_invocation_tokens", json!([1, 2])),
            ("megatron_config", json!({ "a": 1 })),
            ("init_lora_weights", json!("pissa_niter_4")),
            ("init_lora_weights", json!("loftq")),
            ("use_rslora", json!("yes")),
            ("r", json!(0)),
            ("lora_alpha", json!("8")),
            ("a_key_of_tomorrow", json!(true)),
        ];
        for (key, value) in refused {
            let error = parse(json!({ key: value })).unwrap_err();
            assert!(
                matches!(&error, AdapterError::Setting { key: found, .. } if found == key),
                "{key}: {error}"
            );
        }
        let error = parse(json!({ "alpha_pattern": { "q_proj(": 2 } })).unwrap_err();
        assert!(matches!(&error, AdapterError::Pattern { key: "alpha_pattern", .. }), "{error}");
        let error = parse(json!({ "rank_pattern": { "q_proj": -2 } })).unwrap_err();
        assert!(
            matches!(&error, AdapterError::Setting { key, .. } if key == "rank_pattern.q_proj"),
            "{error}"
        );
    }
}
