//! What a user names when asked for a model.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::{ModelError, Origin};

/// A folder, or a repository on the Hub.
///
/// An existing folder always wins, and never touches the network; anything else must have the form of a Hub id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// A checkpoint folder.
    Folder(PathBuf),
    /// A repository and its revision.
    #[cfg(feature = "hub")]
    Hub(crate::hub::HubRepo),
}

impl ModelSource {
    /// Makes the files present on this machine. For a folder there is nothing to do; for a repository this is the one
    /// step that may use the network, as `options` allow.
    ///
    /// # Errors
    ///
    /// [`ModelError::Hub`] when the files cannot be had.
    #[cfg(feature = "hub")]
    pub fn resolve(
        &self,
        options: &crate::hub::HubOptions,
        progress: &mut dyn FnMut(crate::hub::Progress<'_>),
    ) -> Result<Origin, ModelError> {
        match self {
            ModelSource::Folder(folder) => Ok(Origin::of_folder(folder)),
            ModelSource::Hub(repo) => {
                let snapshot = crate::hub::fetch(repo, options, progress)?;
                Ok(Origin {
                    id: repo.id().to_owned(),
                    revision: Some(snapshot.commit),
                    folder: snapshot.folder,
                })
            }
        }
    }

    /// Where the files are.
    ///
    /// # Errors
    ///
    /// None today; the signature is that of the version with the Hub compiled in.
    #[cfg(not(feature = "hub"))]
    pub fn resolve(&self) -> Result<Origin, ModelError> {
        let ModelSource::Folder(folder) = self;
        Ok(Origin::of_folder(folder))
    }
}

impl FromStr for ModelSource {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let folder = PathBuf::from(text);
        if folder.is_dir() {
            return Ok(ModelSource::Folder(folder));
        }
        let no_model = || ModelError::NoModel { found: text.to_owned() };
        // What can only be a path must not become a request to the network.
        let looks_like_path = text.starts_with(['.', '/', '~', '\\']) || text.ends_with('/');
        if looks_like_path {
            return Err(no_model());
        }
        #[cfg(feature = "hub")]
        {
            text.parse().map(ModelSource::Hub).map_err(|_| no_model())
        }
        #[cfg(not(feature = "hub"))]
        {
            Err(no_model())
        }
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelSource::Folder(folder) => write!(f, "{}", folder.display()),
            #[cfg(feature = "hub")]
            ModelSource::Hub(repo) => write!(f, "{repo}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_path_is_never_taken_for_a_hub_id() {
        for text in ["./no/such", "/no/such", "~/no", "no/such/"] {
            assert!(matches!(text.parse::<ModelSource>(), Err(ModelError::NoModel { .. })), "{text}");
        }
    }

    #[test]
    fn an_existing_folder_wins() {
        assert!(matches!(env!("CARGO_MANIFEST_DIR").parse(), Ok(ModelSource::Folder(_))));
    }
}
