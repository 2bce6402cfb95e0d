//! A model as the user names it: a folder or a Hub id.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    ModelError, Origin,
    checkpoint::Gguf,
    hub::{HubRepo, RepoIdError},
};

/// A folder, or a repository on the Hub.
///
/// An existing folder always wins. An argument that looks like a path, but is none, is an error. It is not sent to the network.
///
/// # Example
///
/// ```
/// use inject_models::ModelSource;
///
/// assert!(matches!("openai-community/gpt2".parse()?, ModelSource::Hub(repo) if repo.revision() == "main"));
/// assert!("./models/gpt2".parse::<ModelSource>().is_err());
/// # Ok::<(), inject_models::ModelError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelSource {
    /// A checkpoint folder, or a GGUF file.
    Folder(PathBuf),
    /// A repository and its revision.
    Hub(HubRepo),
}

/// The reason for which a text names neither a folder nor a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It can only be a path, and nothing is there.
    #[error("no folder {found:?}: expected a folder with a config.json, or a Hub id `owner/name[@revision]`")]
    NoFolder {
        /// The argument as the user gave it.
        found: String,
    },
    /// It ends as the name of a file does, and nothing is there. With a `@revision` it is the id of a repository of that name.
    #[error(
        "no file {found:?}: a name with this ending is that of a file; `@main` after it makes it a Hub id"
    )]
    NoFile {
        /// The argument, as the user wrote it.
        found: String,
    },
    /// It is a file, and not one in the GGUF format.
    #[error("{found:?} is a file: give the folder of the checkpoint, or a GGUF file")]
    File {
        /// The argument, as the user wrote it.
        found: String,
    },
    /// Neither a folder here nor a Hub id with an owner. Old repositories without one can still be given as a [`HubRepo`].
    #[error(
        "no folder {found:?}: expected a folder with a config.json, or a Hub id with its owner, as \
         `openai-community/gpt2` for `gpt2`"
    )]
    NoOwner {
        /// The argument as the user gave it.
        found: String,
    },
    /// Its first part is a folder here, so it is taken for a path.
    #[error(
        "no folder {found:?}, but {parent:?} is one: to ask the Hub for it, start where there is no such folder"
    )]
    NotInFolder {
        /// The argument as the user gave it.
        found: String,
        /// The text before the first slash, a folder here.
        parent: String,
    },
    /// The argument is neither a folder nor a Hub id.
    #[error("no folder {found:?}, and not a Hub id")]
    NotAnId {
        /// The argument as the user gave it.
        found: String,
        /// The problem with it as an id.
        source: RepoIdError,
    },
}

/// The endings of files of weights, states, tokenizers, settings and prompts. The name of a repository may have a dot, too.
const FILE_ENDINGS: [&str; 20] = [
    "bin",
    "ckpt",
    "csv",
    "gguf",
    "gz",
    "h5",
    "jinja",
    "json",
    "jsonl",
    "model",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "parquet",
    "pt",
    "pth",
    "safetensors",
    "txt",
    "zip",
];

impl ModelSource {
    /// Returns the folder of a checkpoint that needs no fetching.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotFetched`] for a repository: see `ModelSource::fetch`.
    pub fn origin(&self) -> Result<Origin, ModelError> {
        match self {
            ModelSource::Folder(folder) => Ok(Origin::of_folder(folder)),
            ModelSource::Hub(repo) => Err(ModelError::NotFetched { repo: repo.clone() }),
        }
    }

    /// Makes the files present on this machine. For a folder there is nothing to do; for a repository this is the one
    /// step that may use the network, as `options` allow.
    ///
    /// # Errors
    ///
    /// [`ModelError::Hub`] when the files cannot be had.
    #[cfg(feature = "hub")]
    pub fn fetch(
        &self,
        options: &crate::hub::HubOptions,
        progress: &mut dyn FnMut(crate::Progress<'_>),
    ) -> Result<Origin, ModelError> {
        let ModelSource::Hub(repo) = self else { return self.origin() };
        Ok(origin_of(repo, crate::hub::fetch(repo, options, progress)?))
    }

    /// Makes the files of the tokenizer present on this machine, as [`ModelSource::fetch`] does those of the model.
    ///
    /// # Errors
    ///
    /// [`ModelError::Hub`] when the files cannot be had.
    #[cfg(feature = "hub")]
    pub fn fetch_tokenizer(
        &self,
        options: &crate::hub::HubOptions,
        progress: &mut dyn FnMut(crate::Progress<'_>),
    ) -> Result<Origin, ModelError> {
        let ModelSource::Hub(repo) = self else { return self.origin() };
        Ok(origin_of(repo, crate::hub::fetch_tokenizer(repo, options, progress)?))
    }
}

#[cfg(feature = "hub")]
fn origin_of(repo: &HubRepo, snapshot: crate::hub::Snapshot) -> Origin {
    Origin {
        id: repo.id().to_owned(),
        revision: Some(snapshot.commit),
        folder: snapshot.folder,
        adapter: None,
        tokenizer: None,
        from_cache: snapshot.from_cache,
    }
}

impl FromStr for ModelSource {
    type Err = ModelError;

    /// # Errors
    ///
    /// [`ModelError::Source`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let folder = PathBuf::from(text);
        if folder.is_dir() || Gguf::find(&folder).is_some() {
            return Ok(ModelSource::Folder(folder));
        }
        Ok(repository(text).map(ModelSource::Hub)?)
    }
}

fn repository(text: &str) -> Result<HubRepo, SourceError> {
    let found = || text.to_owned();
    if Path::new(text).is_file() {
        return Err(SourceError::File { found: found() });
    }
    let drive = text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && text[1..].starts_with(':');
    if drive || text.starts_with(['.', '/', '~']) || text.ends_with('/') || text.contains('\\') {
        return Err(SourceError::NoFolder { found: found() });
    }
    let ending = Path::new(text).extension().unwrap_or_default();
    if FILE_ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
        return Err(SourceError::NoFile { found: found() });
    }
    let id = text.split('@').next().unwrap_or_default();
    let Some((parent, _)) = id.split_once('/') else { return Err(SourceError::NoOwner { found: found() }) };
    if Path::new(parent).is_dir() {
        return Err(SourceError::NotInFolder { found: found(), parent: parent.to_owned() });
    }
    text.parse().map_err(|source| SourceError::NotAnId { found: found(), source })
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelSource::Folder(folder) => write!(f, "{}", folder.display()),
            ModelSource::Hub(repo) => write!(f, "{repo}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> SourceError {
        match text.parse::<ModelSource>() {
            Err(ModelError::Source(error)) => error,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_missing_path_is_never_taken_for_a_hub_id() {
        for text in
            ["./no/such", "/no/such", "~/no", "no/such/", "no\\such", "C:/no", "c:\\no", "...", "../no"]
        {
            assert!(matches!(refusal(text), SourceError::NoFolder { .. }), "{text}");
        }
    }

    #[test]
    fn a_name_without_an_owner_is_never_taken_for_a_hub_id() {
        for text in ["gpt2", "gpt2@main", "gpt2@refs/pr/1", "", "mdoel"] {
            let error = refusal(text);
            assert!(matches!(error, SourceError::NoOwner { .. }), "{text}");
            assert!(error.to_string().contains("openai-community/gpt2"), "{error}");
        }
    }

    #[test]
    fn a_misspelt_folder_in_a_folder_is_never_taken_for_a_hub_id() {
        // Tests run in the package's folder.
        let error = refusal("src/modles");
        assert!(matches!(&error, SourceError::NotInFolder { parent, .. } if parent == "src"), "{error}");
    }

    #[test]
    fn a_misspelt_file_is_never_taken_for_a_hub_id() {
        for ending in FILE_ENDINGS {
            for text in [
                format!("owner/name.{ending}"),
                format!("owner/name.{}", ending.to_uppercase()),
                format!("name.{ending}"),
                format!("owner/a.b.{ending}"),
                format!("owner/name@v1.{ending}"),
            ] {
                assert!(matches!(refusal(&text), SourceError::NoFile { .. }), "{text}");
            }
        }
    }

    #[test]
    fn a_repository_may_have_a_dot_and_with_a_revision_any_ending() {
        for text in ["Qwen/Qwen2.5-0.5B", "owner/name.v1", "owner/gguf", "owner/name.gguf@main"] {
            assert!(matches!(text.parse(), Ok(ModelSource::Hub(_))), "{text}");
        }
    }

    #[test]
    fn a_file_of_a_checkpoint_is_not_the_checkpoint() {
        for text in ["src/source.rs", "./Cargo.toml", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
            let error = refusal(text);
            assert!(matches!(error, SourceError::File { .. }), "{text}");
            assert!(error.to_string().contains("give the folder of the checkpoint"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_id_is_the_cause() {
        let error = refusal("own er/name");
        assert!(matches!(&error, SourceError::NotAnId { .. }), "{error}");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("only letters"));
    }

    #[test]
    fn an_owner_and_a_name_are_a_hub_id() {
        let source: ModelSource = "owner/name@v1".parse().unwrap();
        assert!(matches!(&source, ModelSource::Hub(repo) if repo.id() == "owner/name"), "{source}");
        let error = source.origin().unwrap_err();
        assert!(
            matches!(error, ModelError::NotFetched { .. }) && error.to_string().contains("`hub`"),
            "{error}"
        );
    }

    #[test]
    fn an_existing_folder_wins() {
        assert!(matches!(env!("CARGO_MANIFEST_DIR").parse(), Ok(ModelSource::Folder(_))));
        assert!(matches!("src".parse(), Ok(ModelSource::Folder(_))));
    }
}
