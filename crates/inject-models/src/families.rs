//! The families, each as data: a translation of its config keys into a [`DecoderConfig`](crate::DecoderConfig), and the names of the
//! decoder's tensors in its checkpoints.

mod announced;
mod description;
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

use std::fmt;

use self::keys::Keys;
pub(crate) use self::{
    description::{Described, Description, describe, describe_in_part},
    first_weights::{FirstWeights, settings_in},
    names::{Ignored, Names, Projection, Stored},
};

crate::listed! {
    /// A family of models: the decoders that share config keys and tensor names.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
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
        #[serde(rename = "gpt_neox")]
        GptNeoX,
        /// SmolLM3, with layers without rotary positions.
        #[serde(rename = "smollm3")]
        SmolLm3,
        /// OLMo 2, with norms after the branches.
        Olmo2,
    }

    /// Every family, in the order of the documentation.
    const ALL;
}

impl Family {
    /// Returns every family, in the order of the documentation.
    pub fn all() -> &'static [Family] {
        Self::ALL
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

/// The family of a `model_type`, if it is known.
pub(crate) fn family_of(model_type: &str) -> Option<Family> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_one_name_in_text_and_in_json() {
        for family in Family::all() {
            let json = serde_json::to_value(family).unwrap();
            assert_eq!(json, family.to_string());
            assert_eq!(serde_json::from_value::<Family>(json).unwrap(), *family);
        }
    }
}
