//! The weights with which the training of a family begins.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Family, json};
use crate::{config::DecoderConfig, error::ModelError, format::FloatFormat};

/// The standard deviations of the normal distributions from which a family draws its first weights. Biases begin at zero, and
/// norms as the identity.
///
/// # Source
///
/// Hugging Face transformers 5.24, `modeling_utils.py` and `modeling_gpt2.py` (`_init_weights`). There the embedding of a
/// padding token is zero. Here it is drawn like the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FirstWeights {
    /// Of embeddings, positions, the head, and matrices that read the residual stream.
    pub(crate) std: f64,
    /// Of matrices that write to the residual stream.
    pub(crate) residual_std: f64,
}

impl FirstWeights {
    /// Reads `initializer_range` from the settings of a `config.json`.
    pub(crate) fn of(
        path: &Path,
        settings: &Map<String, Value>,
        family: Family,
        config: &DecoderConfig,
    ) -> Result<Self, ModelError> {
        let key = "initializer_range";
        let std = match settings.get(key) {
            None | Some(Value::Null) => 0.02,
            Some(value) => value
                .as_f64()
                .filter(|std| *std > 0.0)
                .ok_or_else(|| ModelError::bad_key(path, key, &value.to_string(), "a positive number"))?,
        };
        let residual_std = match family {
            Family::Gpt2 => std / (2.0 * config.n_layers() as f64).sqrt(),
            Family::GptNeo
            | Family::Llama
            | Family::Mistral
            | Family::Gemma3
            | Family::Phi3
            | Family::Qwen2
            | Family::Qwen3
            | Family::Gemma2
            | Family::GptNeoX
            | Family::SmolLm3
            | Family::Olmo2 => std,
        };
        Ok(FirstWeights { std, residual_std })
    }
}

/// Parses a `config.json` for weights that are stored in `format`.
pub(crate) fn settings_in(
    path: &Path,
    text: &str,
    format: FloatFormat,
) -> Result<Map<String, Value>, ModelError> {
    let mut settings = json::parse(path, text)?;
    // These keys describe the weights of another checkpoint.
    for key in ["torch_dtype", "quantization_config", "compression_config"] {
        settings.remove(key);
    }
    let dtype = match format {
        FloatFormat::F64 => "float64",
        FloatFormat::F32 => "float32",
        FloatFormat::F16 => "float16",
        FloatFormat::Bf16 => "bfloat16",
    };
    settings.insert("dtype".to_owned(), dtype.into());
    Ok(settings)
}
