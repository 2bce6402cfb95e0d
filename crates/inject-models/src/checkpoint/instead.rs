//! Contents of a folder that is not a checkpoint.

mod frameworks;
mod parts;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{GgufContents, read_text};

/// The contents of a folder that is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instead {
    /// An adapter without its model.
    Adapter {
        /// The model that it was made for, if the adapter names it.
        base: Option<String>,
    },
    /// Files in the GGUF format.
    Gguf {
        /// Names of the files within the folder.
        files: Vec<String>,
    },
    /// A GGUF file that is not a model.
    OtherGguf(GgufContents),
    /// A repository of the Hub's cache without one snapshot that stands for all.
    HubCache {
        /// The names of its snapshots.
        snapshots: Vec<String>,
    },
    /// The Hub's cache itself: folders of repositories.
    HubRepositories {
        /// Names of the repositories' folders.
        folders: Vec<String>,
    },
    /// The checkpoints of a training run, each in a folder of its own.
    Checkpoints {
        /// Names of these folders, in the order of their steps.
        folders: Vec<String>,
    },
    /// The parts into which a training divided the model.
    Divided {
        /// Name of a file or folder that gives the kind away.
        name: String,
        /// The way to join them.
        advice: &'static str,
    },
    /// The files of Meta's own releases, or of Mistral's.
    Original {
        /// Name of a file that gives the format away.
        file: String,
    },
    /// Links to files that do not exist, as an interrupted download leaves them in the Hub's cache.
    BrokenLinks {
        /// Names of the links within the folder.
        files: Vec<String>,
    },
    /// Shards without the index that lists their tensors.
    ShardsWithoutIndex {
        /// Name of the missing index.
        index: String,
    },
    /// The shards of a variant, such as `fp16`, with their index.
    Variant {
        /// Name of the index.
        index: String,
        /// The name under which an index is looked for.
        expected: &'static str,
    },
    /// Weights for TensorFlow, Flax, ONNX or OpenVINO.
    OtherFramework {
        /// Path of a file within the folder.
        file: String,
    },
    /// Weights under names that are not looked for.
    OtherNames {
        /// Names of the files within the folder.
        files: Vec<String>,
    },
}

/// Beginnings of the names of indices, and the name that is looked for. That of a variant has its name before the end.
const INDICES: [(&str, &str); 2] = [
    ("model.safetensors.index.", "model.safetensors.index.json"),
    ("pytorch_model.bin.index.", "pytorch_model.bin.index.json"),
];

impl Instead {
    /// Looks into a folder that lacks a config or weights.
    pub(crate) fn look(folder: &Path) -> Option<Self> {
        let names = names(folder);
        let ending = |ends: &[&str]| -> Vec<String> {
            names.iter().filter(|name| ends.iter().any(|end| name.ends_with(end))).cloned().collect()
        };
        let of_adapter = ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"];
        if names.iter().any(|name| of_adapter.contains(&name.as_str())) {
            return Some(Instead::Adapter { base: base_of_adapter(folder) });
        }
        let files = ending(&[".gguf"]);
        if !files.is_empty() {
            return Some(Instead::Gguf { files });
        }
        if let Some(snapshots) = snapshots(folder) {
            return Some(Instead::HubCache { snapshots: filled(&snapshots) });
        }
        // The cache, or the folder that it is in.
        let in_cache = self::names(&folder.join("hub")).into_iter().map(|name| ("hub/", name));
        let in_cache = names.iter().map(|name| ("", name.clone())).chain(in_cache);
        let in_cache = in_cache.filter(|(_, name)| name.starts_with("models--"));
        let folders: Vec<String> = in_cache.map(|(place, name)| format!("{place}{name}")).collect();
        if !folders.is_empty() {
            return Some(Instead::HubRepositories { folders });
        }
        let folders = checkpoints_of_training(folder, &names);
        if !folders.is_empty() {
            return Some(Instead::Checkpoints { folders });
        }
        let original = names.iter().find(|name| *name == "params.json" || name.starts_with("consolidated."));
        if let Some(file) = original {
            return Some(Instead::Original { file: file.clone() });
        }
        let mut files = ending(&[".safetensors", ".bin", ".pt", ".pth", ".pth.tar", ".ckpt"]);
        files.retain(|name| !parts::is_of_training(name) && !frameworks::is_openvino(name, &names));
        let broken = |name: &&String| folder.join(name).is_symlink() && !folder.join(name).exists();
        let config = names.iter().filter(|name| *name == "config.json");
        let links: Vec<String> = config.chain(&files).filter(broken).cloned().collect();
        if !links.is_empty() {
            return Some(Instead::BrokenLinks { files: links });
        }
        for (beginning, expected) in INDICES {
            let is_index =
                |name: &&String| name.starts_with(beginning) && name.ends_with(".json") && *name != expected;
            if let Some(index) = names.iter().find(is_index) {
                return Some(Instead::Variant { index: index.clone(), expected });
            }
        }
        for (shard, kind) in [("model-00001-of-", "safetensors"), ("pytorch_model-00001-of-", "bin")] {
            if files.iter().any(|name| name.starts_with(shard) && name.ends_with(kind)) {
                let stem = shard.trim_end_matches("-00001-of-");
                return Some(Instead::ShardsWithoutIndex { index: format!("{stem}.{kind}.index.json") });
            }
        }
        if files.is_empty() {
            if let Some((name, advice)) = parts::find(folder, &names) {
                return Some(Instead::Divided { name, advice });
            }
            return frameworks::find(folder).map(|file| Instead::OtherFramework { file });
        }
        Some(Instead::OtherNames { files })
    }
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Instead::Adapter { base: Some(base) } => {
                write!(
                    f,
                    "an adapter for `{base}` and no model: give that model, and this folder as its adapter"
                )
            }
            Instead::Adapter { base: None } => f.write_str(
                "an adapter and no model: give the model it was made for, and this folder as its adapter",
            ),
            Instead::Gguf { files } => write!(f, "GGUF files: give the path of one: {}", files.join(", ")),
            Instead::OtherGguf(found) => write!(f, "{found} and no model: {}", found.advice()),
            Instead::HubCache { snapshots } if snapshots.is_empty() => {
                f.write_str("an empty folder of the Hub's cache: download the model again")
            }
            Instead::HubCache { snapshots } => {
                write!(
                    f,
                    "a folder of the Hub's cache: give the path of one of its snapshots: {}",
                    snapshots.join(", ")
                )
            }
            Instead::HubRepositories { folders } => {
                write!(f, "the Hub's cache: give the path of one of its models: {}", folders.join(", "))
            }
            Instead::Checkpoints { folders } => write!(
                f,
                "the checkpoints of a training run: give the path of one of them, such as the last, {}",
                folders.last().map_or("", String::as_str)
            ),
            Instead::Divided { name, advice } => {
                write!(
                    f,
                    "a model in the parts of its training ({name}): {advice}, and put config.json and the tokenizer's files beside the \
                     result"
                )
            }
            Instead::Variant { index, expected } => {
                write!(f, "the shards of a variant: call their index, {index}, {expected}")
            }
            Instead::Original { file } => write!(
                f,
                "{file}, the format of the original release: give the checkpoint in the format of Hugging Face transformers"
            ),
            Instead::BrokenLinks { files } => {
                write!(f, "links to files that do not exist: download the model again: {}", files.join(", "))
            }
            Instead::ShardsWithoutIndex { index } => {
                write!(f, "shards without their index: put {index} of the same checkpoint beside them")
            }
            Instead::OtherFramework { file } => write!(
                f,
                "{file}, weights for another framework: give the checkpoint with weights in safetensors or PyTorch's format"
            ),
            Instead::OtherNames { files } => write!(
                f,
                "weights under other names: call the one to load model.safetensors or pytorch_model.bin: {}",
                files.join(", ")
            ),
        }
    }
}

/// Returns the snapshot that a folder of the Hub's cache stands for: that of `main`, or the only one with files.
pub(crate) fn hub_snapshot(folder: &Path) -> Option<HubSnapshot> {
    let name = folder.canonicalize().ok()?.file_name()?.to_string_lossy().into_owned();
    let id = name.strip_prefix("models--")?.replace("--", "/");
    let snapshots = folder.join("snapshots");
    let main = read_text(&folder.join("refs/main")).ok();
    let named = main.map(|commit| commit.trim().to_owned());
    // A commit is a name, never a path.
    let named =
        named.filter(|commit| commit.chars().all(|c| c.is_ascii_alphanumeric()) && !commit.is_empty());
    let commit = match named.filter(|commit| snapshots.join(commit).is_dir()) {
        Some(commit) => commit,
        None => match filled(&snapshots).as_slice() {
            [only] => only.clone(),
            _ => return None,
        },
    };
    Some(HubSnapshot { id, folder: snapshots.join(&commit), commit })
}

/// Returns the folder of snapshots that a folder of the Hub's cache has or is.
fn snapshots(folder: &Path) -> Option<PathBuf> {
    let within = folder.join("snapshots");
    if within.is_dir() {
        return Some(within);
    }
    let path = folder.canonicalize().ok()?;
    let of_repository = path.parent()?.file_name()?.to_string_lossy().starts_with("models--");
    (path.ends_with("snapshots") && of_repository).then_some(path)
}

/// A snapshot in the Hub's cache.
#[derive(Clone, Debug)]
pub(crate) struct HubSnapshot {
    pub(crate) id: String,
    pub(crate) commit: String,
    pub(crate) folder: PathBuf,
}

/// Returns the folders that the `Trainer` of transformers writes in a folder, in the order of their steps.
fn checkpoints_of_training(folder: &Path, names: &[String]) -> Vec<String> {
    let step = |name: &String| name.strip_prefix("checkpoint-")?.parse::<u64>().ok();
    let has_one = |name: &String| {
        let place = folder.join(name);
        ["config.json", "adapter_config.json"].iter().any(|file| place.join(file).is_file())
    };
    let mut found: Vec<(u64, String)> = names
        .iter()
        .filter(|name| has_one(name))
        .filter_map(|name| Some((step(name)?, name.clone())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

/// Returns the names of the folders in a folder that are not empty, in order.
fn filled(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| !names(&folder.join(name)).is_empty()).collect()
}

/// Returns the names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns the model that an adapter was made for.
pub(crate) fn base_of_adapter(folder: &Path) -> Option<String> {
    let text = read_text(&folder.join("adapter_config.json")).ok()?;
    let config: Value = serde_json::from_str(&text).ok()?;
    config.get("base_model_name_or_path")?.as_str().map(str::to_owned)
}
