//! The address of a Hub, its limits, and the folder of its cache.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use ureq::http::Uri;

use super::{environment, error::HubError, origin::Origin};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// The longest time to wait for a connection, as in `huggingface_hub`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Three times that of `huggingface_hub`: an attempt that brings nothing is not repeated here.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longer times than this are as good as none.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Endpoint, cache folder, token, offline mode and timeouts; checked when they are set.
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
#[non_exhaustive]
pub struct HubOptions {
    endpoint: String,
    cache_dir: PathBuf,
    token: Option<String>,
    offline: bool,
    connect_timeout: Duration,
    idle_timeout: Duration,
}

impl HubOptions {
    /// Creates options for the public Hub with the given cache folder, no token, online.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        HubOptions {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            cache_dir: cache_dir.into(),
            token: None,
            offline: false,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
        }
    }

    /// Reads the options from the environment, as Python's `huggingface_hub` does.
    ///
    /// - Endpoint: `HF_ENDPOINT`, else `https://huggingface.co`.
    /// - Cache folder: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `$HF_HOME/hub`; `HF_HOME` is
    ///   `$XDG_CACHE_HOME/huggingface` or `~/.cache/huggingface` by default. A leading `~` and `$NAME` are expanded.
    /// - Token: `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH`, else `$HF_HOME/token`.
    /// - Offline: `HF_HUB_OFFLINE`, else `TRANSFORMERS_OFFLINE`; on for `1`, `true`, `yes`, `on` in any case.
    /// - Idle timeout: `HF_HUB_DOWNLOAD_TIMEOUT` in whole seconds, else 30.
    ///
    /// Unlike in Python, a variable that is set but empty counts as not set.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if a variable is not UTF-8, the endpoint is not an http(s) URL, the token cannot be sent in a header, its
    /// file is not an ordinary one of at most 64 KiB, the timeout is not a number of seconds, or nothing says where the cache is.
    ///
    /// # Source
    ///
    /// huggingface/huggingface_hub, `src/huggingface_hub/constants.py` and `utils/_auth.py`.
    pub fn from_env() -> Result<Self, HubError> {
        environment::options(|name| std::env::var_os(name))
    }

    /// Asks another Hub. A trailing `/` is dropped. A plain http URL sends the token unencrypted.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if the text is not an http(s) URL, or has a user name or a query.
    pub fn with_endpoint(mut self, endpoint: &str) -> Result<Self, HubError> {
        let trimmed = endpoint.trim_end_matches('/');
        let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'<' | b'>' | b'\\');
        let is_url = trimmed.parse::<Uri>().is_ok_and(|uri| Origin::of(&uri).is_some());
        if !is_url || !trimmed.bytes().all(is_plain) {
            return Err(setting(
                "HF_ENDPOINT",
                &format!("{:?} is not a URL like {DEFAULT_ENDPOINT}", without_user(endpoint)),
            ));
        }
        self.endpoint = trimmed.to_owned();
        Ok(self)
    }

    /// Sends a token with every request to the endpoint's own scheme, host and port.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if the token is empty or cannot be sent in a header. The error does not show it.
    pub fn with_token(mut self, token: &str) -> Result<Self, HubError> {
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(setting("HF_TOKEN", "empty, or holds spaces or characters other than ASCII"));
        }
        self.token = Some(token.to_owned());
        Ok(self)
    }

    /// Sets whether only the cache may be used. If so, no connection is ever opened.
    pub fn with_offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Sets the longest time to connect to a server, and the longest time without a byte from it (10 s and 30 s by default).
    ///
    /// An answer's head must be complete within the idle time. A body must also bring 1 KiB of content a second over each idle time,
    /// however its bytes arrive. A download that breaks off is continued until an attempt brings nothing, or until five in a row bring
    /// less than that, each for itself or all attempts together. Another process that downloads the same file is waited for until its
    /// download has not grown for ten idle times.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if a time is zero or longer than a day.
    pub fn with_timeouts(mut self, connect: Duration, idle: Duration) -> Result<Self, HubError> {
        if [connect, idle].iter().any(|time| time.is_zero() || *time > MAX_TIMEOUT) {
            return Err(setting("HF_HUB_DOWNLOAD_TIMEOUT", "a timeout is zero or longer than a day"));
        }
        (self.connect_timeout, self.idle_timeout) = (connect, idle);
        Ok(self)
    }

    /// Returns the Hub's address, without a trailing `/`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the folder that holds one `models--owner--name` folder for each repository.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// Returns whether only the cache may be used.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Returns the longest time to connect to a server.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Returns the longest time without a byte from a server.
    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// The longest wait for another process whose download does not grow. It may be comparing the hash of a large file.
    pub(super) fn patience(&self) -> Duration {
        self.idle_timeout.saturating_mul(10)
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
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .finish()
    }
}

/// A URL as an error shows it: a password may stand before the host.
fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        None => url.to_owned(),
        Some((before, after)) => {
            let scheme = before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
            format!("{scheme}..@{after}")
        }
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
        let error = HubOptions::new("/c").with_token("").unwrap_err();
        assert!(matches!(error, HubError::Setting { name: "HF_TOKEN", .. }), "{error:?}");
    }

    #[test]
    fn a_timeout_that_would_fail_or_never_end_is_refused() {
        let second = Duration::from_secs(1);
        for (connect, idle) in [(Duration::ZERO, second), (second, Duration::ZERO), (second, Duration::MAX)] {
            let error = HubOptions::new("/c").with_timeouts(connect, idle).unwrap_err();
            assert!(matches!(error, HubError::Setting { name: "HF_HUB_DOWNLOAD_TIMEOUT", .. }), "{error:?}");
        }
        assert_eq!(HubOptions::new("/c").with_timeouts(second, second).unwrap().idle_timeout(), second);
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused() {
        for text in ["huggingface.co", "ftp://x", "https://", "http:///x", "https://a b", "https://a?b"] {
            let error = HubOptions::new("/c").with_endpoint(text).unwrap_err().to_string();
            assert!(error.starts_with("HF_ENDPOINT") && error.contains(text), "{error}");
        }
    }
    #[test]
    fn a_password_in_the_endpoint_is_not_repeated() {
        for (text, shown) in [
            ("https://u@a", "https://..@a"),
            ("http://user:secret@hub.example/x", "http://..@hub.example/x"),
            ("https://user:secret/@@hub.example", "https://..@hub.example"),
            ("user:secret@hub.example", "\"..@hub.example"),
        ] {
            let error = HubOptions::new("/c").with_endpoint(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
            assert!(error.to_string().contains(shown), "{error}");
        }
    }
}
