//! The proxy that the environment names.

use std::env;

use ureq::{Proxy, ProxyProtocol, http::Uri};

use super::HttpError;

/// The variables that name a proxy. The first that does counts.
const VARIABLES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// Fails if the environment names a proxy that the HTTP library would pass over: it would connect directly, which the user did not
/// ask for.
pub(super) fn check(uri: &Uri) -> Result<(), HttpError> {
    match Proxy::try_from_env() {
        Some(proxy) if is_supported(proxy.protocol()) || proxy.is_no_proxy(uri) => Ok(()),
        Some(_) => Err(named()),
        None if VARIABLES.iter().any(|name| is_set(name)) => Err(named()),
        None => Ok(()),
    }
}

fn is_supported(protocol: ProxyProtocol) -> bool {
    matches!(protocol, ProxyProtocol::Http | ProxyProtocol::Https)
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The error about the variable, whose value may hold a password.
fn named() -> HttpError {
    HttpError::Proxy { variable: VARIABLES.into_iter().find(|name| is_set(name)).unwrap_or(VARIABLES[0]) }
}
