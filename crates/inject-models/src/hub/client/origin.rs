//! The destination of a URL: the origin that decides who may see the token, and the target of a redirect.

use std::net::IpAddr;

use ureq::http::Uri;

use super::http_error::{HttpError, shown};

/// Scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// `None` if the URL is not an absolute http(s) URL, or holds a user name.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().to_ascii_lowercase();
        if authority.as_str().contains('@') || host.is_empty() {
            return None;
        }
        // A port that is not a number is an error, and not the scheme's own port.
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => {
                if https {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().ok()?,
        };
        Some(Origin { https, host, port })
    }

    /// Whether the host is this machine, named so that no name server is asked.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

/// The URL that a `Location` header names, seen from the URL that was asked.
///
/// # Errors
///
/// [`HttpError::Location`] if it is not an http(s) URL, holds a user name, or cannot be parsed, [`HttpError::Downgrade`] if it gives
/// up encryption.
///
/// # Source
///
/// RFC 3986, section 5.2, without the removal of dot segments: they stay as they are.
pub(super) fn target(base: &Uri, location: &str) -> Result<(Uri, Origin), HttpError> {
    let unusable = || HttpError::Location { found: shown(location) };
    let location = location.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().ok_or_else(unusable)?;
    let authority = base.authority().ok_or_else(unusable)?;
    let has_scheme = location.split(['/', '?']).next().is_some_and(|first| first.contains(':'));
    let absolute = match location {
        "" => return Err(unusable()),
        _ if has_scheme => location.to_owned(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        _ if location.starts_with('?') => format!("{scheme}://{authority}{}{location}", base.path()),
        _ => {
            let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{folder}/{location}")
        }
    };
    let uri: Uri = absolute.parse().map_err(|_| unusable())?;
    let origin = Origin::of(&uri).ok_or_else(unusable)?;
    match scheme == "https" && !origin.https {
        true => Err(HttpError::Downgrade { host: origin.host }),
        false => Ok((uri, origin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Option<Origin> {
        Origin::of(&url.parse().ok()?)
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let home = origin("https://Hub.example/a/b?c").unwrap();
        assert_eq!(origin("https://hub.example:443/other"), Some(home.clone()));
        for other in ["http://hub.example", "https://hub.example:444", "https://sub.hub.example"] {
            assert_ne!(origin(other).unwrap(), home, "{other}");
        }
        for none in ["/path", "ftp://hub.example", "https://user@hub.example", "https://hub.example:x/"] {
            assert_eq!(origin(none), None, "{none}");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for url in ["http://127.0.0.1:80", "http://127.9.9.9", "http://localhost", "http://[::1]:8080/"] {
            assert!(origin(url).unwrap().is_loopback(), "{url}");
        }
        for url in ["http://localhost.example", "http://128.0.0.1", "http://127.0.0.1.example"] {
            assert!(!origin(url).unwrap().is_loopback(), "{url}");
        }
    }

    #[test]
    fn a_location_is_seen_from_the_url_that_was_asked() {
        let base: Uri = "http://hub.example:8080/owner/name/resolve/main/x.json?a=b".parse().unwrap();
        let to = |location: &str| target(&base, location).map(|(uri, _)| uri.to_string());
        for (location, expected) in [
            ("https://cdn.example/x?y=1", "https://cdn.example/x?y=1"),
            ("//cdn.example/x", "http://cdn.example/x"),
            ("/new/name", "http://hub.example:8080/new/name"),
            ("y.json", "http://hub.example:8080/owner/name/resolve/main/y.json"),
            ("?z", "http://hub.example:8080/owner/name/resolve/main/x.json?z"),
            ("/new#part", "http://hub.example:8080/new"),
            ("/at?u=http://x", "http://hub.example:8080/at?u=http://x"),
        ] {
            assert_eq!(to(location).unwrap(), expected, "{location}");
        }
        for location in [
            "",
            "#x",
            "ftp://x/y",
            "file:///etc/passwd",
            "http://u:p@hub.example/",
            "http://",
            "a b",
            "javascript:x",
        ] {
            assert!(matches!(to(location), Err(HttpError::Location { .. })), "{location}");
        }
    }

    #[test]
    fn encryption_is_not_given_up() {
        let base: Uri = "https://hub.example/x".parse().unwrap();
        for location in ["http://hub.example/x", "http://127.0.0.1/x", "HTTP://cdn.example:443/x"] {
            assert!(matches!(target(&base, location), Err(HttpError::Downgrade { .. })), "{location}");
        }
        for location in ["https://cdn.example/x", "//cdn.example/x", "/x"] {
            assert!(target(&base, location).unwrap().1.https, "{location}");
        }
    }
}
