//! The families, each as data: a translation of its config keys into a [`DecoderConfig`], and the names of the
//! decoder's tensors in its checkpoints.

mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod keys;
mod llama;
mod mistral;
mod names;
mod phi3;
mod qwen2;
mod qwen3;
mod rotary;
mod settings;

use std::{fmt, path::Path};

use serde_json::{Map, Value};

use self::keys::Keys;
pub(crate) use self::names::{Ignored, Names, Projection, Stored};
use crate::{checkpoint::read_text, config::DecoderConfig, error::ModelError};

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
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3, the dense models.
    Qwen3,
    /// Gemma 2.
    Gemma2,
    /// GPT-NeoX and Pythia.
    GptNeoX,
}

impl Family {
    /// Returns every family, in the order of the documentation.
    pub fn all() -> &'static [Family] {
        &[
            Family::Gpt2,
            Family::GptNeo,
            Family::Llama,
            Family::Mistral,
            Family::Gemma3,
            Family::Phi3,
            Family::Qwen2,
            Family::Qwen3,
            Family::Gemma2,
            Family::GptNeoX,
        ]
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
            Family::Qwen2 => &["qwen2"],
            Family::Qwen3 => &["qwen3"],
            Family::Gemma2 => &["gemma2"],
            Family::GptNeoX => &["gpt_neox"],
        }
    }

    /// The names of the tensors in its checkpoints.
    pub(crate) fn names(self) -> &'static Names {
        match self {
            Family::Gpt2 => &gpt2::NAMES,
            Family::GptNeo => &gpt_neo::NAMES,
            // Files of Mistral and Qwen2 use Llama's names.
            Family::Llama | Family::Mistral | Family::Qwen2 => &llama::NAMES,
            Family::Gemma3 => &gemma3::NAMES,
            Family::Phi3 => &phi3::NAMES,
            Family::Qwen3 => &qwen3::NAMES,
            Family::Gemma2 => &gemma2::NAMES,
            Family::GptNeoX => &gpt_neox::NAMES,
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
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
            Family::Gemma2 => "gemma2",
            Family::GptNeoX => "gpt_neox",
        })
    }
}

/// The contents of a config.json.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) family: Family,
    pub(crate) config: DecoderConfig,
    pub(crate) bos_token_id: Option<u32>,
}

impl DecoderConfig {
    /// Reads the description of a decoder from the `config.json` of a checkpoint.
    ///
    /// # Errors
    ///
    /// Fails for every key that is missing, malformed or unknown, or asks for a computation that this crate does not have.
    /// The error names the key.
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

    /// Parses the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// Fails as [`DecoderConfig::read`] does. Errors call the file `config.json`.
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

/// Translates the text of a config.json.
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
        Family::Qwen2 => qwen2::describe(keys),
        Family::Qwen3 => qwen3::describe(keys),
        Family::Gemma2 => gemma2::describe(keys),
        Family::GptNeoX => gpt_neox::describe(keys),
    }
}
