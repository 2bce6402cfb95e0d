//! LoRA adapters as PEFT writes them: `adapter_config.json`, and `adapter_model.safetensors` or `adapter_model.bin`.
//!
//! The tensors of the file say which modules change; the settings say by how much. PEFT chooses modules by settings instead
//! (`target_modules`, `layers_to_transform` and others), but a chosen module without tensors does not change there either.

mod error;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

pub use self::error::AdapterError;
use self::settings::Settings;
use super::{Checkpoint, file_hash, pytorch, read_text, safetensors};
use crate::error::ModelError;

/// The names of the file of weights, the first that exists.
const WEIGHT_FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// The part of a tensor's name before the path of its module.
const ROOT: &str = "base_model.model.";

/// The ends of the names of whole matrices, of modules with factors and without.
const WHOLE: [&str; 2] = [".base_layer.weight", ".weight"];

/// An adapter, whose factors are read when they are needed.
#[derive(Debug)]
pub(crate) struct Adapter {
    folder: PathBuf,
    settings: Settings,
    checkpoint: Checkpoint,
    /// The modules that change, by their path in the model.
    modules: BTreeMap<String, Module>,
    /// The tensors that replace a matrix of the model, by the path of its module.
    replaced: BTreeMap<String, String>,
}

/// The kind of a module that an adapter changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// A linear map: factors `lora_A` and `lora_B`.
    Linear,
    /// A table of embeddings: factors `lora_embedding_A` and `lora_embedding_B`.
    Embedding,
}

/// The two factors of a change: `scale * b a`, of shape `[d_out, d_in]`.
#[derive(Debug)]
pub(crate) struct Factors {
    pub(crate) rank: usize,
    pub(crate) scale: f64,
    /// The first factor. Shape `[rank, d_in]`.
    pub(crate) a: Vec<f32>,
    /// The second factor. Shape `[d_out, rank]`.
    pub(crate) b: Vec<f32>,
}

impl Module {
    /// The ends of the names of the two factors.
    fn factors(self) -> [&'static str; 2] {
        match self {
            Module::Linear => [".lora_A.weight", ".lora_B.weight"],
            Module::Embedding => [".lora_embedding_A", ".lora_embedding_B"],
        }
    }
}

impl Adapter {
    /// Opens the adapter in a folder and checks that it has nothing but LoRA factors in pairs and whole matrices.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Adapter { folder: folder.to_owned(), source };
        if folder.is_file() {
            return Err(failed(AdapterError::File));
        }
        let path = folder.join("adapter_config.json");
        let file =
            serde_json::from_str(&read_text(&path)?).map_err(|source| ModelError::Json { path, source })?;
        let settings = Settings::new(file).map_err(failed)?;
        let [single, pickled] = WEIGHT_FILES.map(|name| folder.join(name));
        let checkpoint = if single.is_file() {
            safetensors::open_single(single)?
        } else if pickled.is_file() {
            pytorch::open(pickled)?
        } else {
            return Err(failed(AdapterError::NoWeights));
        };
        let (modules, replaced) = modules(checkpoint.tensors.keys()).map_err(failed)?;
        Ok(Adapter { folder: folder.to_owned(), settings, checkpoint, modules, replaced })
    }

    /// The tensors that take the place of a matrix of the model, by the path of its module.
    ///
    /// PEFT writes the matrices of embedding and head beside the factors if one of the two changes, or if there are new tokens.
    pub(crate) fn replaced(&self) -> &BTreeMap<String, String> {
        &self.replaced
    }

    /// The modules that change, by their path in the model.
    pub(crate) fn modules(&self) -> &BTreeMap<String, Module> {
        &self.modules
    }

    /// Reads the factors of the change to a map from `d_in` to `d_out` numbers. The table of embeddings is one from ids.
    ///
    /// # Errors
    ///
    /// Fails if their shapes are others, or if a value is not finite.
    ///
    /// # Panics
    ///
    /// Panics if the adapter does not change the module.
    pub(crate) fn factors(&self, module: &str, d_in: usize, d_out: usize) -> Result<Factors, ModelError> {
        let rank = self.settings.rank(module);
        let [a, b] = self.modules[module].factors().map(|end| format!("{ROOT}{module}{end}"));
        Ok(Factors {
            rank,
            scale: self.settings.scale(module),
            a: self.matrix(&a, [rank, d_in])?,
            b: self.matrix(&b, [d_out, rank])?,
        })
    }

    /// Returns an error that names the folder of this adapter.
    pub(crate) fn error(&self, source: AdapterError) -> ModelError {
        ModelError::Adapter { folder: self.folder.clone(), source }
    }

    /// Reads a tensor of this shape.
    ///
    /// # Errors
    ///
    /// Fails if its shape is another, or if a value is not finite.
    pub(crate) fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Vec<f32>, ModelError> {
        self.checkpoint.check(name, &shape)?;
        let mut values = Vec::with_capacity(shape[0] * shape[1]);
        self.checkpoint.stream(name, shape[1], |_, piece| values.extend_from_slice(piece))?;
        Ok(values)
    }
}

/// Computes the SHA-256 of a model with an adapter: of the model's own checksum and a line `name:checksum` for each file of the
/// adapter.
pub(crate) fn hash_with_adapter(model: &str, folder: &Path) -> Result<String, ModelError> {
    let mut lines = format!("{model}\n");
    let weights = WEIGHT_FILES.into_iter().find(|name| folder.join(name).is_file());
    for name in [Some("adapter_config.json"), weights].into_iter().flatten() {
        lines += &format!("{name}:{}\n", file_hash(&folder.join(name))?);
    }
    Ok(hex::encode(Sha256::digest(lines.as_bytes())))
}

/// Finds the modules whose factors these tensors are, and the tensors that are whole matrices.
fn modules<'a>(
    names: impl Iterator<Item = &'a String> + Clone,
) -> Result<(BTreeMap<String, Module>, BTreeMap<String, String>), AdapterError> {
    let (mut modules, mut replaced) = (BTreeMap::new(), BTreeMap::new());
    for tensor in names.clone() {
        let path = tensor.strip_prefix(ROOT).unwrap_or_default();
        let kinds = [Module::Linear, Module::Embedding].into_iter();
        let ends = kinds.flat_map(|kind| kind.factors().map(|end| (kind, end)));
        let found = ends.filter_map(|(kind, end)| Some((kind, path.strip_suffix(end)?))).next();
        let whole = WHOLE.iter().find_map(|end| path.strip_suffix(end));
        match (found, whole) {
            (Some((kind, module)), _) => {
                modules.insert(module.to_owned(), kind);
            }
            (None, Some(module)) => {
                replaced.insert(module.to_owned(), tensor.clone());
            }
            (None, None) => return Err(AdapterError::UnknownTensor { tensor: tensor.clone() }),
        }
    }
    let expected =
        modules.iter().flat_map(|(module, kind)| kind.factors().map(|end| format!("{ROOT}{module}{end}")));
    let present: BTreeSet<&String> = names.collect();
    match expected.into_iter().find(|name| !present.contains(name)) {
        Some(tensor) => Err(AdapterError::Unpaired { tensor }),
        None if present.is_empty() => Err(AdapterError::Empty),
        None => Ok((modules, replaced)),
    }
}
