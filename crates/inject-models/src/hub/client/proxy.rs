//! A proxy that the environment names and that cannot be used.
//!
//! The HTTP library passes over such a proxy, and would connect directly to servers that the user wants reached through it.

use std::{env, ffi::OsStr};

use ureq::{Proxy, ProxyProtocol, http::Uri};

use super::HttpError;

/// The variables, in the order in which the HTTP library looks at them.
const VARIABLES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// Fails if the first variable that names a proxy names none that can be used, and the server is not to be reached without one.
pub(super) fn check(server: &Uri) -> Result<(), HttpError> {
    let named = VARIABLES.iter().find_map(|name| Some((*name, env::var_os(name).filter(|v| !v.is_empty())?)));
    match named.and_then(|(variable, value)| Some((variable, problem(&value)?))) {
        Some((variable, problem)) if !goes_without(server) => Err(HttpError::Proxy { variable, problem }),
        _ => Ok(()),
    }
}

/// The problem with the name of a proxy, which may hold a password.
fn problem(value: &OsStr) -> Option<&'static str> {
    let Some(text) = value.to_str() else { return Some("it is not UTF-8") };
    match Proxy::new(text).map(|proxy| proxy.protocol()) {
        Ok(ProxyProtocol::Http | ProxyProtocol::Https) => None,
        Ok(_) => Some("it is a SOCKS proxy, expected one of http or https"),
        Err(_) => Some("it is not a URL like http://proxy.example:8080"),
    }
}

/// Whether `NO_PROXY` lists a server. The library's own answer needs a proxy.
fn goes_without(server: &Uri) -> bool {
    let listed = ["NO_PROXY", "no_proxy"].iter().find_map(|name| env::var(name).ok()).unwrap_or_default();
    let proxy =
        listed.split(',').fold(Proxy::builder(ProxyProtocol::Http), |proxy, entry| proxy.no_proxy(entry));
    proxy.build().is_ok_and(|proxy| proxy.is_no_proxy(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_would_be_passed_over_is_a_problem() {
        for text in ["http://proxy.example:8080", "https://user:password@proxy.example", "proxy.example:3128"]
        {
            assert_eq!(problem(text.as_ref()), None, "{text}");
        }
        for text in
            ["socks5://proxy.example", "socks4://proxy.example:1080", "ftp://proxy.example", "http://", "a b"]
        {
            assert!(problem(text.as_ref()).is_some(), "{text}");
        }
    }
}
