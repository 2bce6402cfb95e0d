//! The place that a model came from.

use std::path::{Path, PathBuf};

use crate::{
    checkpoint::{self, HubSnapshot},
    note::Note,
};

/// The place that a model came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The Hub id, or the name of the folder.
    pub id: String,
    /// The commit, if the model came from the Hub.
    pub revision: Option<String>,
    /// The checkpoint folder, or the GGUF file.
    pub folder: PathBuf,
    /// The folder of a LoRA adapter that is merged into the weights.
    pub adapter: Option<PathBuf>,
    /// The place of a tokenizer that is used instead of the model's own, which is then not read.
    pub tokenizer: Option<PathBuf>,
    /// The error of the Hub, on one line, if its cache stood in for it.
    pub from_cache: Option<String>,
}

impl Origin {
    /// Makes the origin of a model in a folder. Its id is the name of the folder.
    ///
    /// A folder of the Hub's cache, such as `models--openai-community--gpt2`, stands for its snapshot of `main`, or for its only
    /// one. The origin is then that of the repository.
    pub fn of_folder(folder: &Path) -> Self {
        if let Some(HubSnapshot { id, commit, folder }) = checkpoint::hub_snapshot(folder) {
            return Origin {
                id,
                revision: Some(commit),
                folder,
                adapter: None,
                tokenizer: None,
                from_cache: None,
            };
        }
        let name = folder
            .canonicalize()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Origin {
            id: name.unwrap_or_else(|| folder.display().to_string()),
            revision: None,
            folder: folder.to_owned(),
            adapter: None,
            tokenizer: None,
            from_cache: None,
        }
    }

    /// Returns what a user should know about the way that the files came.
    pub fn note(&self) -> Option<Note> {
        let reason = self.from_cache.clone()?;
        Some(Note::FromCache { commit: self.revision.clone().unwrap_or_default(), reason })
    }

    /// Returns the same origin with another id.
    pub fn with_id(self, id: &str) -> Self {
        Origin { id: id.to_owned(), ..self }
    }

    /// Returns the origin of the same model, merged with the LoRA adapter in a folder: `adapter_config.json`, and
    /// `adapter_model.safetensors` or `adapter_model.bin`, as PEFT writes them. It may be a folder of the Hub's cache, as for a model.
    /// The id names both.
    pub fn with_adapter(self, folder: &Path) -> Self {
        let adapter = Origin::of_folder(folder);
        Origin { id: format!("{} + {}", self.id, adapter.id), adapter: Some(adapter.folder), ..self }
    }

    /// Returns the origin of the same model with a tokenizer from another place, of those that [`Model::with_tokenizer`](crate::Model::with_tokenizer) takes.
    /// The model's own may then be of a kind that is not read.
    pub fn with_tokenizer(self, place: &Path) -> Self {
        Origin { tokenizer: Some(place.to_owned()), ..self }
    }
}
