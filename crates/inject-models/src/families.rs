//! The six families, each as data: its config keys translated into a [`DecoderConfig`], and the names its
//! checkpoints use for the tensors of one shared decoder.

mod gemma3;
mod gpt2;
mod gpt_neo;
mod keys;
mod llama;
mod mistral;
mod phi3;
mod rotary;

use std::{fmt, path::Path};

use serde_json::{Map, Value};

use self::keys::Keys;
use crate::{
    checkpoint::read_text,
    config::{Activation, DecoderConfig},
    error::ModelError,
};

/// A family of checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// GPT-2 and its distillations.
    Gpt2,
    /// GPT-Neo, TinyStories.
    GptNeo,
    /// Llama 3.1 and 3.2 and their relatives, SmolLM2 among them.
    Llama,
    /// Mistral 7B.
    Mistral,
    /// Gemma 3, text only or the text part of a multimodal checkpoint.
    Gemma3,
    /// Phi-3 and Phi-4-mini.
    Phi3,
}

impl Family {
    /// Returns every family, in the order of the documentation.
    pub fn all() -> &'static [Family] {
        &[Family::Gpt2, Family::GptNeo, Family::Llama, Family::Mistral, Family::Gemma3, Family::Phi3]
    }

    /// The values of `model_type` that mean this family.
    fn model_types(self) -> &'static [&'static str] {
        match self {
            Family::Gpt2 => &["gpt2"],
            Family::GptNeo => &["gpt_neo"],
            Family::Llama => &["llama"],
            Family::Mistral => &["mistral"],
            Family::Gemma3 => &["gemma3_text", "gemma3"],
            Family::Phi3 => &["phi3"],
        }
    }

    /// What its checkpoints call the tensors.
    pub(crate) fn names(self) -> &'static Names {
        match self {
            Family::Gpt2 => &gpt2::NAMES,
            Family::GptNeo => &gpt_neo::NAMES,
            // Mistral's files use Llama's names.
            Family::Llama | Family::Mistral => &llama::NAMES,
            Family::Gemma3 => &gemma3::NAMES,
            Family::Phi3 => &phi3::NAMES,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Gpt2 => "gpt2",
            Family::GptNeo => "gpt_neo",
            Family::Llama => "llama",
            Family::Mistral => "mistral",
            Family::Gemma3 => "gemma3",
            Family::Phi3 => "phi3",
        })
    }
}

/// A config.json, understood.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) family: Family,
    pub(crate) config: DecoderConfig,
    pub(crate) bos_token_id: Option<u32>,
}

/// What a family calls the tensors of the decoder.
#[derive(Debug)]
pub(crate) struct Names {
    /// What may stand before every name but the head's; the first that fits the checkpoint is used.
    pub(crate) prefixes: &'static [&'static str],
    pub(crate) embedding: &'static str,
    pub(crate) positions: &'static str,
    pub(crate) final_norm: &'static str,
    pub(crate) head: &'static str,
    /// What stands before the number of a block.
    pub(crate) block: &'static str,
    pub(crate) attention_norm: &'static str,
    /// Sandwich norms only.
    pub(crate) post_attention_norm: &'static str,
    pub(crate) feed_forward_norm: &'static str,
    /// Sandwich norms only.
    pub(crate) post_feed_forward_norm: &'static str,
    /// Query, key and value: three tensors, or one that holds all.
    pub(crate) qkv: Projection,
    pub(crate) q_norm: &'static str,
    pub(crate) k_norm: &'static str,
    pub(crate) out: Projection,
    /// Up alone, or gate and up: two tensors, or one that holds both.
    pub(crate) up: Projection,
    pub(crate) down: Projection,
    /// Tensors that are in published checkpoints and play no part.
    pub(crate) ignored: &'static [Ignored],
}

impl Names {
    /// The full name of what one block calls `stem`.
    pub(crate) fn in_block(&self, prefix: &str, block: usize, stem: &str) -> String {
        format!("{prefix}{}{block}.{stem}", self.block)
    }
}

/// The tensors that make one linear map, side by side along its outputs.
#[derive(Debug)]
pub(crate) struct Projection {
    /// Names without `.weight` and `.bias`.
    pub(crate) parts: &'static [&'static str],
    pub(crate) stored: Stored,
}

impl Projection {
    /// The stored tensors, each by the name that `name` makes of its stem and with its share of the outputs: one for each
    /// width, or one for all.
    ///
    /// # Panics
    ///
    /// If there are several, and not as many as widths: the decoder is then of another family.
    pub(crate) fn tensors(&self, widths: &[usize], name: impl Fn(&str) -> String) -> Vec<(String, usize)> {
        match self.parts {
            [stem] => vec![(name(stem), widths.iter().sum())],
            stems => {
                assert_eq!(stems.len(), widths.len(), "the decoder is not of this family: {stems:?}");
                stems.iter().zip(widths).map(|(stem, &width)| (name(stem), width)).collect()
            }
        }
    }
}

/// How the matrix of a linear map lies in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// `[in, out]`, as the decoder uses it (GPT-2's `Conv1D`).
    InOut,
    /// `[out, in]`, as PyTorch's `Linear` has it.
    OutIn,
}

/// Tensors that are known and not used.
#[derive(Debug)]
pub(crate) enum Ignored {
    /// Every name that begins so.
    Prefix(&'static str),
    /// Every name that ends so.
    Suffix(&'static str),
}

impl Ignored {
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Ignored::Prefix(prefix) => name.starts_with(prefix),
            Ignored::Suffix(suffix) => name.ends_with(suffix),
        }
    }
}

impl DecoderConfig {
    /// What the config.json of a checkpoint describes, without its weights.
    ///
    /// # Errors
    ///
    /// [`ModelError`] naming the key, for every key that is missing, malformed, unknown, or asks for a computation
    /// this crate does not have.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::DecoderConfig;
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2");
    /// let config = DecoderConfig::read(&folder.join("config.json"))?;
    /// assert_eq!((config.d_model, config.max_len()), (24, Some(48)));
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        Ok(describe(path, &read_text(path)?)?.config)
    }

    /// What the text of a config.json describes: [`DecoderConfig::read`] for one that is in no file.
    ///
    /// # Errors
    ///
    /// As there; the file is called `config.json`.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::DecoderConfig;
    ///
    /// let text = r#"{ "model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 16, "vocab_size": 50 }"#;
    /// assert_eq!(DecoderConfig::parse(text)?.blocks[0].attention.d_head, 4);
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        Ok(describe(Path::new("config.json"), text)?.config)
    }
}

/// Understands the contents of a config.json.
///
/// # Errors
///
/// [`ModelError`] naming the key, for every key that is missing, malformed, unknown, or asks for a computation
/// this crate does not have.
pub(crate) fn describe(path: &Path, text: &str) -> Result<Description, ModelError> {
    let map: Map<String, Value> =
        serde_json::from_str(text).map_err(|source| ModelError::Json { path: path.to_owned(), source })?;
    let mut keys = Keys::new(path, map);
    let known = || {
        let names: Vec<&str> =
            Family::all().iter().flat_map(|family| family.model_types()).copied().collect();
        names.join(", ")
    };
    let model_type = keys
        .optional::<String>("model_type")?
        .ok_or_else(|| keys.missing("model_type", &format!("one of {}", known())))?;
    let family = Family::all()
        .iter()
        .copied()
        .find(|family| family.model_types().contains(&model_type.as_str()))
        .ok_or_else(|| ModelError::UnknownFamily {
            path: path.to_owned(),
            found: model_type.clone(),
            expected: known(),
        })?;
    match family {
        Family::Gpt2 => gpt2::describe(keys),
        Family::GptNeo => gpt_neo::describe(keys),
        Family::Llama => llama::describe(keys),
        Family::Mistral => mistral::describe(keys),
        Family::Gemma3 => gemma3::describe(keys, &model_type),
        Family::Phi3 => phi3::describe(keys),
    }
}

/// Takes the name of an activation.
///
/// # Source
///
/// Hugging Face transformers 5.23, `activations.py`: `gelu_new` and `gelu_pytorch_tanh` are the same formula.
fn activation(keys: &mut Keys, key: &str, default: &str) -> Result<Activation, ModelError> {
    let name = keys.or(key, default.to_owned())?;
    match name.as_str() {
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "gelu" => Ok(Activation::GeluErf),
        "silu" | "swish" => Ok(Activation::Silu),
        "relu" => Ok(Activation::Relu),
        _ => Err(keys.bad(key, &name, "`gelu_new`, `gelu_pytorch_tanh`, `gelu`, `silu` or `relu`")),
    }
}

/// Takes the small number inside a norm.
fn norm_eps(keys: &mut Keys, key: &str, default: f64) -> Result<f64, ModelError> {
    let eps = keys.or(key, default)?;
    if eps.is_finite() && eps > 0.0 { Ok(eps) } else { Err(keys.bad(key, &eps, "a positive number")) }
}

/// Takes the number of heads, key and value heads, and the width of a head, and checks that they fit together.
fn heads(keys: &mut Keys, d_model: usize) -> Result<Heads, ModelError> {
    let n_heads = keys.size("num_attention_heads")?;
    let n_kv_heads = keys.optional_size("num_key_value_heads")?.unwrap_or(n_heads);
    if !n_heads.is_multiple_of(n_kv_heads) {
        return Err(keys.bad(
            "num_key_value_heads",
            &n_kv_heads,
            &format!("a divisor of the {n_heads} heads"),
        ));
    }
    let d_head = match keys.optional_size("head_dim")? {
        Some(d_head) => d_head,
        None => even_split(keys, "hidden_size", d_model, n_heads)?,
    };
    Ok(Heads { n_heads, n_kv_heads, d_head })
}

struct Heads {
    n_heads: usize,
    n_kv_heads: usize,
    d_head: usize,
}

/// Width of a head where the heads share the model's width.
fn even_split(keys: &Keys, key: &str, d_model: usize, n_heads: usize) -> Result<usize, ModelError> {
    if d_model.is_multiple_of(n_heads) {
        Ok(d_model / n_heads)
    } else {
        Err(keys.bad(key, &d_model, &format!("a multiple of the {n_heads} heads")))
    }
}

/// Takes `tie_word_embeddings`.
fn head(keys: &mut Keys, tied_by_default: bool) -> Result<crate::config::Head, ModelError> {
    let tied = keys.or("tie_word_embeddings", tied_by_default)?;
    Ok(if tied { crate::config::Head::Tied } else { crate::config::Head::Untied })
}

/// Takes a flag that adds biases.
fn bias(keys: &mut Keys, key: &str) -> Result<crate::config::Bias, ModelError> {
    let with = keys.or(key, false)?;
    Ok(if with { crate::config::Bias::With } else { crate::config::Bias::Without })
}

/// Takes `sliding_window` of a family in which it holds for every layer.
fn uniform_span(keys: &mut Keys, default: Option<usize>) -> Result<crate::config::Span, ModelError> {
    // Null means full attention; only a missing key takes the default.
    let window = if keys.has("sliding_window") { keys.optional_size("sliding_window")? } else { default };
    Ok(window.map_or(crate::config::Span::Full, crate::config::Span::Window))
}
