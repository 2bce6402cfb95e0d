//! Reasons for which an adapter cannot be merged.

use std::error::Error;

use crate::checkpoint::{GgufContents, Instead};

/// A fault of an adapter, or a kind of adapter that is not merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// A setting asks for something other than a plain LoRA.
    #[error("adapter_config.json: `{key}` is {found}, expected {expected}")]
    Setting {
        /// Name of the setting in adapter_config.json.
        key: String,
        /// The value that the file gives.
        found: String,
        /// The accepted values.
        expected: &'static str,
    },
    /// A pattern is not a regular expression, or takes too many steps.
    #[error("adapter_config.json: `{key}` has the pattern `{pattern}`, expected a regular expression")]
    Pattern {
        /// The setting that holds the patterns.
        key: &'static str,
        /// The pattern that cannot be used.
        pattern: String,
        /// The error of the regular expressions.
        source: Box<fancy_regex::Error>,
    },
    /// The regular expressions would take too much memory.
    #[error("adapter_config.json: {asked} is {found}, expected at most {most}")]
    PatternLimit {
        /// What is limited.
        asked: &'static str,
        /// The number that the file gives.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// The settings have several faults.
    #[error("{} faults: {}", faults.len(), faults.join("; "))]
    Several {
        /// The text of each fault, with its cause.
        faults: Vec<String>,
    },
    /// The path is that of a file.
    #[error("it is a file: give the folder that holds adapter_config.json and the weights")]
    File,
    /// The place holds a GGUF file.
    #[error(
        "it is a GGUF file of {}, and adapters are merged as PEFT writes them: give the folder with adapter_config.json and \
         adapter_model.safetensors",
        found.as_ref().map_or_else(|| "a model".to_owned(), ToString::to_string)
    )]
    Gguf {
        /// The contents of the file, if it is not a model.
        found: Option<GgufContents>,
    },
    /// There is nothing at the path.
    #[error("it does not exist: expected a folder with adapter_config.json and the weights")]
    Missing,
    /// The folder holds a model.
    #[error("it holds a model and no adapter: give it as the model, or a folder with adapter_config.json")]
    Model,
    /// The folder holds folders of adapters, as PEFT writes several of one model.
    #[error("it holds adapters in folders of their own: give one of them: {}", folders.join(", "))]
    Folders {
        /// Names of these folders.
        folders: Vec<String>,
    },
    /// The folder is one of the Hub's cache, or of a training run.
    #[error("it holds {0}")]
    Instead(Instead),
    /// There is no file of weights under its usual name.
    #[error("it holds no weights: expected adapter_model.safetensors or adapter_model.bin")]
    NoWeights,
    /// The file of weights is empty.
    #[error("it changes nothing: there is no tensor in its file of weights")]
    Empty,
    /// A tensor is not a LoRA factor: a bias, a magnitude of DoRA, or a whole module.
    #[error(
        "tensor `{tensor}` is not `base_model.model.MODULE.lora_A.weight` or another factor of a LoRA: merge the adapter with \
         PEFT's `merge_and_unload`"
    )]
    UnknownTensor {
        /// Name of the tensor in the adapter's file.
        tensor: String,
    },
    /// The names of tensors have the names of several adapters in them.
    #[error("it holds the tensors of several adapters ({}): save one of them by itself", adapters.join(", "))]
    SeveralAdapters {
        /// Their names. Tensors without one count as another adapter.
        adapters: Vec<String>,
    },
    /// The settings select no module that has factors.
    #[error(
        "adapter_config.json selects none of the modules whose factors it has, such as `{module}`: expected settings \
         (`target_modules` and others) that belong to the tensors"
    )]
    NothingSelected {
        /// Path of a module with factors.
        module: String,
    },
    /// The file has a tensor of the model itself, with other values.
    #[error(
        "tensor `{tensor}` differs from that of the model: give the model that the adapter was trained on, or merge the adapter \
         with PEFT's `merge_and_unload`"
    )]
    OtherModel {
        /// Name of the tensor in the adapter's file.
        tensor: String,
    },
    /// One of the two factors of a module is missing.
    #[error("tensor `{tensor}` is missing, although the other factor exists")]
    Unpaired {
        /// Name of the missing tensor.
        tensor: String,
    },
    /// The adapter belongs to another model.
    #[error("it changes the module `{module}`, which this `{family}` model does not have")]
    UnknownModule {
        /// Path of the module within the model.
        module: String,
        /// The family of the model.
        family: String,
    },
}

impl AdapterError {
    /// Makes one error of the faults of the settings.
    pub(super) fn several(faults: &[AdapterError]) -> Self {
        let text = |fault: &AdapterError| {
            let text = fault.to_string().replace("adapter_config.json: ", "");
            match fault.source() {
                Some(cause) => format!("{text}: {cause}"),
                None => text,
            }
        };
        AdapterError::Several { faults: faults.iter().map(text).collect() }
    }
}
