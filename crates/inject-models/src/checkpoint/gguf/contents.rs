//! Contents of GGUF files that are not models.

use std::fmt;

use super::{cursor, head::Head, value::Value};

/// The contents of a GGUF file that is not a model of language.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GgufContents {
    /// A LoRA adapter.
    Lora,
    /// An adapter of another kind.
    Adapter {
        /// The kind that the file names.
        kind: String,
    },
    /// The part of a multimodal model that turns images or sounds into embeddings.
    Projector,
    /// The importance of weights, for quantisation.
    ImportanceMatrix,
    /// Directions that are added to states.
    ControlVector,
}

impl GgufContents {
    /// Recognises a file that does not hold a model.
    ///
    /// # Source
    ///
    /// github.com/ggml-org/llama.cpp: `gguf-py/gguf/constants.py` (`GGUFType`, `Keys.Adapter`), `convert_lora_to_gguf.py`,
    /// `tools/imatrix/imatrix.cpp` and `tools/cvector-generator/cvector-generator.cpp`.
    pub(super) fn other_than_a_model(bytes: &[u8], head: &Head) -> Option<Self> {
        let text = |key: &str| match head.metadata.get(key) {
            Some(Value::Text(place)) => cursor::text(bytes, place),
            _ => "",
        };
        let mut tensors = head.tensors.keys();
        match (text("general.type"), text("general.architecture")) {
            ("adapter", _) => Some(match text("adapter.type") {
                "lora" | "" => GgufContents::Lora,
                kind => GgufContents::Adapter { kind: kind.to_owned() },
            }),
            ("mmproj", _) | (_, "clip") => Some(GgufContents::Projector),
            ("imatrix", _) => Some(GgufContents::ImportanceMatrix),
            (_, "controlvector") => Some(GgufContents::ControlVector),
            _ if tensors.any(|name| name.ends_with(".lora_a")) => Some(GgufContents::Lora),
            _ => None,
        }
    }

    /// The thing to do if the file is named in the place of a model.
    pub(in crate::checkpoint) fn advice(&self) -> &'static str {
        match self {
            GgufContents::Lora | GgufContents::Adapter { .. } => {
                "give its model, and the adapter as PEFT writes it (`--adapter DIR`)"
            }
            GgufContents::Projector => "give the GGUF file of the language model that it belongs to",
            GgufContents::ImportanceMatrix | GgufContents::ControlVector => "give the GGUF file of the model",
        }
    }
}

impl fmt::Display for GgufContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GgufContents::Lora => f.write_str("a LoRA adapter"),
            GgufContents::Adapter { kind } => write!(f, "an adapter of the kind {kind:?}"),
            GgufContents::Projector => f.write_str("a projector of images or sounds (mmproj)"),
            GgufContents::ImportanceMatrix => f.write_str("an importance matrix (imatrix)"),
            GgufContents::ControlVector => f.write_str("a control vector"),
        }
    }
}
