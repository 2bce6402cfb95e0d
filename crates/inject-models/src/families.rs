//! The families, each as data: a translation of its config keys into a [`DecoderConfig`], and the names of the
//! decoder's tensors in its checkpoints.

mod announced;
mod first_weights;
mod gated;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod json;
mod keys;
#[cfg(test)]
mod known_keys;
mod llama;
mod mistral;
mod names;
mod olmo2;
mod phi3;
#[cfg(test)]
mod published;
mod qwen2;
mod qwen3;
mod recognise;
mod rotary;
mod settings;
mod smollm3;
mod without_influence;

use std::{fmt, path::Path};

use serde_json::{Map, Value};

use self::keys::Keys;
pub(crate) use self::{
    first_weights::{FirstWeights, settings_in},
    names::{Ignored, Names, Projection, Stored},
};
use crate::{
    checkpoint::{read_text, unread_method},
    config::DecoderConfig,
    error::{ConfigProblem, ModelError},
    note::Note,
};

/// A family of models: the decoders that share config keys and tensor names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// GPT-2 and its distillations.
    Gpt2,
    /// GPT-Neo, and the TinyStories models.
    GptNeo,
    /// Llama 3.1 and 3.2 and their relatives, SmolLM2 among them.
    Llama,
    /// Mistral 7B and its relatives without experts.
    Mistral,
    /// Gemma 3, text only or the text part of a multimodal checkpoint.
    Gemma3,
    /// Phi-3 and Phi-4-mini, which fuse projections.
    Phi3,
    /// Qwen2 and Qwen2.5, the dense models.
    Qwen2,
    /// Qwen3, without experts.
    Qwen3,
    /// Gemma 2, with soft-capped scores.
    Gemma2,
    /// GPT-NeoX, and the Pythia models.
    GptNeoX,
    /// SmolLM3, with layers without rotary positions.
    SmolLm3,
    /// OLMo 2, with norms after the branches.
    Olmo2,
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
            Family::SmolLm3,
            Family::Olmo2,
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
            Family::SmolLm3 => &["smollm3"],
            Family::Olmo2 => &["olmo2"],
        }
    }

    /// The names of the tensors in its checkpoints.
    pub(crate) fn names(self) -> &'static Names {
        match self {
            Family::Gpt2 => &gpt2::NAMES,
            Family::GptNeo => &gpt_neo::NAMES,
            // Files of Mistral, Qwen2 and SmolLM3 use Llama's names.
            Family::Llama | Family::Mistral | Family::Qwen2 | Family::SmolLm3 => &llama::NAMES,
            Family::Gemma3 => &gemma3::NAMES,
            Family::Phi3 => &phi3::NAMES,
            Family::Qwen3 => &qwen3::NAMES,
            Family::Gemma2 => &gemma2::NAMES,
            Family::GptNeoX => &gpt_neox::NAMES,
            Family::Olmo2 => &olmo2::NAMES,
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
            Family::SmolLm3 => "smollm3",
            Family::Olmo2 => "olmo2",
        })
    }
}

/// The contents of a config.json.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) family: Family,
    pub(crate) config: DecoderConfig,
    /// As the file has it, which may be no token.
    bos_token_id: Option<i64>,
}

impl Description {
    /// Returns the BOS token. An id that is no token of the model counts as none, and is noted.
    fn bos_token(&self, notes: &mut Vec<Note>) -> Option<u32> {
        let (found, vocab_size) = (self.bos_token_id?, self.config.vocab_size);
        let token = u32::try_from(found).ok().filter(|&id| (id as usize) < vocab_size);
        if token.is_none() {
            notes.push(Note::BosOutside { found, vocab_size });
        }
        token
    }
}

/// A description, and what its file says beside it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) description: Description,
    pub(crate) bos_token_id: Option<u32>,
    /// The `quantization_config`, if there is one.
    pub(crate) quantisation: Option<Map<String, Value>>,
    pub(crate) notes: Vec<Note>,
}

impl DecoderConfig {
    /// Reads the description of a decoder from the `config.json` of a checkpoint.
    ///
    /// # Errors
    ///
    /// Fails for keys that are missing or malformed or ask for a computation that this crate does not have. The error names
    /// them all. Keys that neither this crate nor Hugging Face transformers reads are ignored.
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
        Ok(describe(path, &read_text(path)?)?.description.config)
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
        Ok(describe(Path::new("config.json"), text)?.description.config)
    }
}

/// Translates the text of a config.json.
///
/// # Errors
///
/// Fails with all problems of the file. They include a quantisation that is not read. By itself that is not an error here, because
/// the description of the model does not depend on it.
pub(crate) fn describe(path: &Path, text: &str) -> Result<Described, ModelError> {
    let mut keys = Keys::new(json::parse(path, text)?);
    let findings = keys.findings();
    let (model_type, mut notes) = model_type(&mut keys);
    let family = model_type.and_then(|model_type| {
        let family = family_of(&model_type);
        if family.is_none() {
            keys.unknown_family(&model_type, known_types());
        }
        Some((family?, model_type))
    });
    keys.alias("compression_config", "quantization_config");
    let quantisation = keys.optional::<Map<String, Value>>("quantization_config");
    keys.own_code(family.as_ref().map(|(family, _)| *family));
    let description = family.map(|(family, model_type)| {
        // transformers reads the weights from the file that this key names.
        keys.only("transformers_weights", "model.safetensors");
        describe_family(family, &model_type, keys)
    });
    let mut problems = findings.problems();
    if let (Some(description), []) = (description, problems.as_slice()) {
        let keys = findings.unread();
        if !keys.is_empty() {
            notes.push(Note::UnreadKeys { keys });
        }
        let bos_token_id = description.bos_token(&mut notes);
        return Ok(Described { description, bos_token_id, quantisation, notes });
    }
    if let Some(method) = quantisation.as_ref().and_then(unread_method) {
        let (key, method) = ("quantization_config".to_owned(), method.to_string());
        problems.push(ConfigProblem::Quantised { key, method });
    }
    Err(ModelError::Config { path: path.to_owned(), problems })
}

/// Takes `model_type`, or finds it from the other keys, which is noted.
fn model_type(keys: &mut Keys) -> (Option<String>, Vec<Note>) {
    // transformers writes an empty one for a config without a class.
    if let Some(model_type) = keys.optional::<String>("model_type").filter(|found| !found.is_empty()) {
        return (Some(model_type), Vec::new());
    }
    match keys.guess_model_type() {
        Some((model_type, evidence)) => {
            (Some(model_type.to_owned()), vec![Note::FamilyGuessed { model_type, evidence }])
        }
        None => {
            let types = known_types();
            let expected = format!("one of {types}: add a line such as \"model_type\": \"llama\"");
            keys.missing("model_type", &expected);
            (None, Vec::new())
        }
    }
}

fn family_of(model_type: &str) -> Option<Family> {
    Family::all().iter().copied().find(|family| family.model_types().contains(&model_type))
}

fn describe_family(family: Family, model_type: &str, keys: Keys) -> Description {
    match family {
        Family::Gpt2 => gpt2::describe(keys),
        Family::GptNeo => gpt_neo::describe(keys),
        Family::Llama => llama::describe(keys),
        Family::Mistral => mistral::describe(keys),
        Family::Gemma3 => gemma3::describe(keys, model_type),
        Family::Phi3 => phi3::describe(keys),
        Family::Qwen2 => qwen2::describe(keys),
        Family::Qwen3 => qwen3::describe(keys),
        Family::Gemma2 => gemma2::describe(keys),
        Family::GptNeoX => gpt_neox::describe(keys),
        Family::SmolLm3 => smollm3::describe(keys),
        Family::Olmo2 => olmo2::describe(keys),
    }
}

/// The values of `model_type` that are known.
fn known_types() -> String {
    let names: Vec<&str> = Family::all().iter().flat_map(|family| family.model_types()).copied().collect();
    names.join(", ")
}
