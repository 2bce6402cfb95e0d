//! LoRA adapters as PEFT writes them: `adapter_config.json`, and `adapter_model.safetensors` or `adapter_model.bin`.
//!
//! As in PEFT, the settings choose the modules that change, and the tensors of others are ignored. A chosen module without tensors
//! does not change.

mod error;
mod of_model;
mod part;
mod pattern;
mod selection;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

pub use self::error::AdapterError;
use self::{of_model::OfModel, part::Part, selection::Selection, settings::Settings};
use super::{Checkpoint, Gguf, Instead, file_hash, pytorch, read_text, safetensors};
use crate::{error::ModelError, families::Names, note::Note};

/// The names of the file of weights, the first that exists.
const WEIGHT_FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

const SETTINGS: &str = "adapter_config.json";

/// An adapter, whose factors are read when they are needed.
#[derive(Debug)]
pub(crate) struct Adapter {
    folder: PathBuf,
    checkpoint: Checkpoint,
    /// The changes, by the path of the module in the model.
    changes: BTreeMap<String, Change>,
    /// The tensors of the model that the file has, by their names in the model.
    of_model: BTreeMap<String, OfModel>,
    /// Paths of modules that have factors and are not selected.
    unselected: Vec<String>,
    /// Whether the change of a tied embedding is that of the head too.
    ensures_tying: bool,
    /// The folders of other adapters within that of this one.
    others: Vec<String>,
}

/// A change to a module: its scale, and the names of its two factors in the file.
#[derive(Debug)]
struct Change {
    module: Module,
    rank: usize,
    scale: f64,
    factors: [String; 2],
}

/// The kind of a module that an adapter changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Module {
    /// A linear map: factors `lora_A` and `lora_B`.
    Linear,
    /// A table of embeddings: factors `lora_embedding_A` and `lora_embedding_B`.
    Embedding,
}

/// The names of the two factors of modules, if they are there.
type Pairs<'n> = BTreeMap<(&'n str, Module), [Option<&'n String>; 2]>;

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
    /// The names of the two factors, after the path of the module.
    fn factors(self) -> [&'static str; 2] {
        match self {
            Module::Linear => ["lora_A", "lora_B"],
            Module::Embedding => ["lora_embedding_A", "lora_embedding_B"],
        }
    }
}

impl Adapter {
    /// Opens the adapter in a folder and checks that it has nothing but LoRA factors in pairs and tensors of the model.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Adapter { folder: folder.to_owned(), source };
        let path = folder.join(SETTINGS);
        if let Some(found) = other_contents(folder).filter(|_| !path.is_file()) {
            return Err(failed(found));
        }
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
        Adapter::new(folder, &settings, checkpoint).map_err(failed)
    }

    fn new(folder: &Path, settings: &Settings, checkpoint: Checkpoint) -> Result<Self, AdapterError> {
        let pairs = pairs(&checkpoint)?;
        let of_model = of_model::of_model(&checkpoint, &settings.selection, &pairs)?;
        let (mut changes, mut unselected) = (BTreeMap::new(), Vec::new());
        for (&(path, module), factors) in &pairs {
            let factors = complete(module, *factors)?;
            if !settings.selection.has(path, module)? {
                unselected.push(path.to_owned());
                continue;
            }
            let (rank, scale) = (settings.rank(path)?, settings.scale(path)?);
            changes.insert(path.to_owned(), Change { module, rank, scale, factors });
        }
        match unselected.first() {
            Some(module) if changes.is_empty() => {
                Err(AdapterError::NothingSelected { module: module.clone() })
            }
            _ => {
                let (folder, ensures_tying) = (folder.to_owned(), settings.ensures_tying);
                let others = folders_of_adapters(&folder);
                Ok(Adapter { folder, checkpoint, changes, of_model, unselected, ensures_tying, others })
            }
        }
    }

    /// The modules that change, by their path in the model.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (&str, Module)> {
        self.changes.iter().map(|(path, change)| (path.as_str(), change.module))
    }

    /// The modules that are the embedding or the head. Where the model ties the two, each changes by itself, as PEFT computes with an adapter.
    /// There are none if the change of one is that of both (`ensure_weight_tying`).
    pub(crate) fn changes_apart(&self, names: &Names) -> Vec<String> {
        let is_apart = |&(path, module): &(&str, Module)| {
            let weight = format!("{path}.weight");
            !self.ensures_tying
                && match module {
                    Module::Embedding => names.is_embedding(&weight),
                    Module::Linear => names.is_head(&weight),
                }
        };
        self.modules().filter(is_apart).map(|(path, _)| path.to_owned()).collect()
    }

    /// Notes the modules with factors that do not change, and the adapters that are not used.
    pub(crate) fn notes(&self, names: &Names) -> impl Iterator<Item = Note> {
        // PEFT writes the factors of a tied embedding under the name of the head too.
        let is_tied = |path: &str| self.ensures_tying && names.is_head(&format!("{path}.weight"));
        let modules: Vec<String> = self.unselected.iter().filter(|path| !is_tied(path)).cloned().collect();
        let unselected = (!modules.is_empty()).then_some(Note::UnselectedModules { modules });
        let folders = self.others.clone();
        let others = (!folders.is_empty()).then_some(Note::OtherAdapters { folders });
        unselected.into_iter().chain(others)
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
        let Change { rank, scale, factors: [a, b], .. } = &self.changes[module];
        Ok(Factors {
            rank: *rank,
            scale: *scale,
            a: self.matrix(a, [*rank, d_in])?,
            b: self.matrix(b, [d_out, *rank])?,
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
    for name in [Some(SETTINGS), weights].into_iter().flatten() {
        lines += &format!("{name}:{}\n", file_hash(&folder.join(name))?);
    }
    Ok(hex::encode(Sha256::digest(lines.as_bytes())))
}

/// Finds the factors, and checks that all tensors are known and of one adapter.
fn pairs(checkpoint: &Checkpoint) -> Result<Pairs<'_>, AdapterError> {
    let (mut pairs, mut adapters) = (Pairs::new(), BTreeSet::new());
    for tensor in checkpoint.tensors.keys() {
        let unknown = || AdapterError::UnknownTensor { tensor: tensor.clone() };
        match Part::of(tensor).ok_or_else(unknown)? {
            Part::Factor { path, module, factor, adapter } => {
                adapters.insert(adapter);
                pairs.entry((path, module)).or_default()[factor] = Some(tensor);
            }
            Part::Saved { adapter, .. } => {
                adapters.insert(Some(adapter));
            }
            Part::Original | Part::OfModel { .. } => {}
        }
    }
    match (checkpoint.tensors.len(), adapters.len()) {
        (0, _) => Err(AdapterError::Empty),
        (_, 0 | 1) => Ok(pairs),
        _ => {
            let name = |name: Option<&str>| name.unwrap_or("one without a name").to_owned();
            Err(AdapterError::SeveralAdapters { adapters: adapters.into_iter().map(name).collect() })
        }
    }
}

/// The names of both factors.
fn complete(module: Module, factors: [Option<&String>; 2]) -> Result<[String; 2], AdapterError> {
    let other = |found: &str, [name, other]: [&str; 2]| {
        let (path, end) = found.rsplit_once(name).unwrap_or((found, ""));
        Err(AdapterError::Unpaired { tensor: format!("{path}{other}{end}") })
    };
    let [a, b] = module.factors();
    match factors {
        [Some(first), Some(second)] => Ok([first.clone(), second.clone()]),
        [Some(first), None] => other(first, [a, b]),
        [None, second] => other(second.map_or("", String::as_str), [b, a]),
    }
}

/// The contents of a place without `adapter_config.json`, if they are known.
fn other_contents(place: &Path) -> Option<AdapterError> {
    if let Some(path) = Gguf::find(place) {
        let found = match Gguf::open(path) {
            Err(ModelError::Instead { found: Instead::OtherGguf(found), .. }) => Some(found),
            _ => None,
        };
        return Some(AdapterError::Gguf { found });
    }
    if place.is_file() {
        return Some(AdapterError::File);
    }
    if let Some(
        found @ (Instead::HubCache { .. } | Instead::HubRepositories { .. } | Instead::Checkpoints { .. }),
    ) = Instead::look(place)
    {
        return Some(AdapterError::Instead(found));
    }
    let folders = folders_of_adapters(place);
    match folders.is_empty() {
        false => Some(AdapterError::Folders { folders }),
        true if !place.exists() => Some(AdapterError::Missing),
        true => place.join("config.json").is_file().then_some(AdapterError::Model),
    }
}

/// The folders within a folder that hold adapters, as PEFT writes all adapters of a model but `default`.
fn folders_of_adapters(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let adapters = entries.filter(|entry| entry.path().join(SETTINGS).is_file());
    let mut folders: Vec<String> =
        adapters.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    folders.sort();
    folders
}
