//! How to reach a Hub, and where its files are kept.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{HubError, environment};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Endpoint, cache folder, token and offline mode; checked when they are set.
///
/// # Example
///
/// ```
/// use inject_models::hub::HubOptions;
///
/// let options = HubOptions::new("/data/hub").with_endpoint("https://hub.example/")?;
/// assert_eq!(options.endpoint(), "https://hub.example");
/// assert!(!options.is_offline());
/// # Ok::<(), inject_models::hub::HubError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct HubOptions {
    endpoint: String,
    cache_dir: PathBuf,
    token: Option<String>,
    offline: bool,
}

impl HubOptions {
    /// The public Hub with the given cache folder, no token, online.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        let endpoint = DEFAULT_ENDPOINT.to_owned();
        HubOptions { endpoint, cache_dir: cache_dir.into(), token: None, offline: false }
    }

    /// The options that the environment asks for, as Python's `huggingface_hub` reads it.
    ///
    /// - Endpoint: `HF_ENDPOINT`, else `https://huggingface.co`.
    /// - Cache folder: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `$HF_HOME/hub`; `HF_HOME` is
    ///   `$XDG_CACHE_HOME/huggingface` or `~/.cache/huggingface` by default. A leading `~` and `$NAME` are expanded.
    /// - Token: `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH`, else `$HF_HOME/token`.
    /// - Offline: `HF_HUB_OFFLINE`, else `TRANSFORMERS_OFFLINE`; on for `1`, `true`, `yes`, `on` in any case.
    ///
    /// Unlike in Python, a variable that is set but empty counts as not set.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if the endpoint is no http(s) URL, the token could not be sent in a header, its file
    /// cannot be read, or nothing says where the cache is.
    ///
    /// # Source
    ///
    /// huggingface/huggingface_hub, `src/huggingface_hub/constants.py` and `utils/_auth.py`.
    pub fn from_env() -> Result<Self, HubError> {
        environment::options(|name| std::env::var(name).ok())
    }

    /// Asks another Hub. A trailing `/` is dropped.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if the text is no http(s) URL, or has a query.
    pub fn with_endpoint(mut self, endpoint: &str) -> Result<Self, HubError> {
        let trimmed = endpoint.trim_end_matches('/');
        let host = trimmed.strip_prefix("https://").or_else(|| trimmed.strip_prefix("http://"));
        let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'<' | b'>' | b'\\');
        match host {
            Some(host) if !host.is_empty() && !host.starts_with('/') && host.bytes().all(is_plain) => {
                self.endpoint = trimmed.to_owned();
                Ok(self)
            }
            _ => Err(setting("HF_ENDPOINT", &format!("{endpoint:?} is not a URL like {DEFAULT_ENDPOINT}"))),
        }
    }

    /// Sends a token with every request.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if the token is empty or cannot stand in a header. The error does not show it.
    pub fn with_token(mut self, token: &str) -> Result<Self, HubError> {
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(setting("HF_TOKEN", "empty, or holds spaces or characters other than ASCII"));
        }
        self.token = Some(token.to_owned());
        Ok(self)
    }

    /// Whether only the cache may be used; then no connection is ever opened.
    pub fn with_offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// The Hub's address, without a trailing `/`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder that holds one `models--owner--name` folder for each repository.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// Whether only the cache may be used.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

/// Says whether there is a token, never which.
impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("endpoint", &self.endpoint)
            .field("cache_dir", &self.cache_dir)
            .field("token", &self.token.as_ref().map(|_| ".."))
            .field("offline", &self.offline)
            .finish()
    }
}

pub(super) fn setting(name: &'static str, problem: &str) -> HubError {
    HubError::Setting { name, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_never_shown() {
        let options = HubOptions::new("/c").with_token("hf_secret").unwrap();
        assert!(!format!("{options:?}").contains("secret"));
        let error = HubOptions::new("/c").with_token("hf_secret with space").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused() {
        for text in ["huggingface.co", "ftp://x", "https://", "http:///x", "https://a b", "https://a?b"] {
            let error = HubOptions::new("/c").with_endpoint(text).unwrap_err().to_string();
            assert!(error.starts_with("HF_ENDPOINT") && error.contains(text), "{error}");
        }
    }
}
