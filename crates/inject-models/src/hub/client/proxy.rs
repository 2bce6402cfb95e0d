//! The proxy that leads to a server, as the environment names it.
//!
//! A request to an `https` server looks at `https_proxy` and then `all_proxy`, one to an `http` server at `http_proxy` and then
//! `all_proxy`. Each may be in upper case, and the lower case counts first. An empty variable counts as not set. Only the variable
//! that decides has to name a proxy that can be used.
//!
//! # Source
//!
//! python/cpython, `Lib/urllib/request.py`, `getproxies_environment` and `proxy_bypass_environment`, which the HTTP client of
//! `huggingface_hub` follows.

use std::{
    env,
    ffi::{OsStr, OsString},
    net::Ipv6Addr,
};

use ureq::{Proxy, ProxyProtocol, http::Uri};

use super::http_error::HttpError;

const FOR_HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const FOR_HTTP: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const FOR_NONE: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The proxy that a request to a server takes, or `None` if it takes none.
///
/// # Errors
///
/// [`HttpError::Proxy`] if the environment names one that cannot be used.
pub(super) fn to(server: &Uri) -> Result<Option<Proxy>, HttpError> {
    named(server, |name| env::var_os(name))
}

/// The address of a proxy as a message names it, without user and password.
pub(super) fn address(proxy: &Proxy) -> String {
    format!("{}:{}", proxy.host(), proxy.port())
}

fn named(server: &Uri, lookup: impl Fn(&str) -> Option<OsString>) -> Result<Option<Proxy>, HttpError> {
    let first = |names: &[&'static str]| {
        names.iter().find_map(|name| Some((*name, lookup(name).filter(|value| !value.is_empty())?)))
    };
    let is_https = server.scheme_str() == Some("https");
    let Some((variable, value)) = first(if is_https { &FOR_HTTPS } else { &FOR_HTTP }) else {
        return Ok(None);
    };
    let listed = first(&FOR_NONE).map_or(OsString::new(), |(_, listed)| listed);
    if goes_without(server, &listed.to_string_lossy()) {
        return Ok(None);
    }
    usable(&value).map(Some).map_err(|problem| HttpError::Proxy { variable, problem })
}

/// A proxy, or the problem with its name, which may hold a password.
fn usable(value: &OsStr) -> Result<Proxy, &'static str> {
    let text = value.to_str().ok_or("it is not UTF-8")?;
    let malformed = "it is not a URL like http://proxy.example:8080";
    let proxy = Proxy::new(text).map_err(|_| malformed)?;
    match proxy.protocol() {
        // The HTTP library would ask at the scheme's own port.
        ProxyProtocol::Http | ProxyProtocol::Https if has_malformed_port(&proxy) => Err(malformed),
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
        _ => Err("it is a SOCKS proxy, expected one of http or https"),
    }
}

fn has_malformed_port(proxy: &Proxy) -> bool {
    let place = proxy.uri().authority().map_or("", |authority| authority.as_str());
    let place = place.rsplit('@').next().unwrap_or_default();
    let port = place.strip_prefix(proxy.host()).and_then(|rest| rest.strip_prefix(':'));
    port.is_some_and(|port| port.parse::<u16>().is_err())
}

/// Whether a list such as `localhost, .example.com, 10.0.0.1:8080` has a server. A name stands for the names below it, too.
fn goes_without(server: &Uri, listed: &str) -> bool {
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("https") { 443 } else { 80 });
    // The HTTP library knows the patterns, and answers for a proxy only.
    let mut proxy = Proxy::builder(ProxyProtocol::Http);
    for entry in listed.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        if entry.parse::<Ipv6Addr>().is_ok() {
            proxy = proxy.no_proxy(&format!("[{entry}]"));
            continue;
        }
        let name = entry.strip_suffix(&format!(":{port}")).unwrap_or(entry);
        proxy = proxy.no_proxy(name).no_proxy(name.trim_start_matches('.'));
        if !name.starts_with(['.', '*']) {
            proxy = proxy.no_proxy(&format!(".{name}"));
        }
    }
    proxy.build().is_ok_and(|proxy| proxy.is_no_proxy(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address of the proxy to a server in an environment, or the variable that is at fault.
    fn to(server: &str, variables: &[(&str, &str)]) -> Result<Option<String>, &'static str> {
        let lookup =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        match named(&server.parse().unwrap(), lookup) {
            Ok(proxy) => Ok(proxy.as_ref().map(address)),
            Err(HttpError::Proxy { variable, .. }) => Err(variable),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_scheme_of_the_server_decides_which_variable_counts() {
        let all = [
            ("all_proxy", "http://all:1"),
            ("https_proxy", "http://for-https:2"),
            ("http_proxy", "http://for-http:3"),
        ];
        assert_eq!(to("https://hub.test", &all), Ok(Some("for-https:2".into())));
        assert_eq!(to("http://hub.test", &all), Ok(Some("for-http:3".into())));
        assert_eq!(to("https://hub.test", &all[..1]), Ok(Some("all:1".into())));
        assert_eq!(to("https://hub.test", &all[2..]), Ok(None));
        assert_eq!(to("https://hub.test", &[]), Ok(None));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_counts_only_where_it_would_be_used() {
        let bad = ("all_proxy", "socks5://127.0.0.1:9");
        let beside = [bad, ("https_proxy", "http://good:1")];
        assert_eq!(to("https://hub.test", &beside), Ok(Some("good:1".into())));
        assert_eq!(to("http://hub.test", &beside), Err("all_proxy"));
        assert_eq!(to("https://hub.test", &[bad, ("https_proxy", "")]), Err("all_proxy"));
        assert_eq!(to("https://hub.test", &[("HTTPS_PROXY", "socks5://x")]), Err("HTTPS_PROXY"));
        let cases = [("https_proxy", "http://lower:1"), ("HTTPS_PROXY", "ftp://upper")];
        assert_eq!(to("https://hub.test", &cases), Ok(Some("lower:1".into())));
    }

    #[test]
    fn a_listed_server_is_reached_without_a_proxy() {
        let listed = |server: &str, list: &str| {
            to(server, &[("all_proxy", "http://p:1"), ("no_proxy", list)]).unwrap().is_none()
        };
        for list in [
            "hub.test",
            "other.test, hub.test",
            " hub.test ,",
            "\thub.test\t",
            "HUB.TEST",
            "test",
            ".test",
            "*.test",
            ".hub.test",
            "hub.test:80",
            "*",
            "other, *",
        ] {
            assert!(listed("http://hub.test/x", list), "{list:?}");
        }
        for list in ["", " ", ",", "ub.test", "hub", "hub.test:8080", "sub.hub.test", "hub.test.example", "."]
        {
            assert!(!listed("http://hub.test/x", list), "{list:?}");
        }
        assert!(listed("https://sub.hub.test:8443", "hub.test:8443"));
        assert!(!listed("https://nohub.test", "hub.test"));
        assert!(listed("http://[2001:db8::1]:80/x", "2001:db8::1"));
        assert!(listed("http://10.0.0.1/x", "10.0.0.1"));
    }

    #[test]
    fn a_list_without_a_proxy_changes_nothing() {
        assert_eq!(to("http://hub.test", &[("no_proxy", "hub.test")]), Ok(None));
        // The lower case counts first.
        let both = [("all_proxy", "http://p:1"), ("no_proxy", "other"), ("NO_PROXY", "hub.test")];
        assert_eq!(to("http://hub.test", &both), Ok(Some("p:1".into())));
    }

    #[test]
    fn a_proxy_that_would_be_passed_over_is_a_problem() {
        for text in [
            "http://proxy.example:8080",
            "https://user:password@proxy.example",
            "proxy.example:3128",
            "http://[::1]:80",
        ] {
            assert!(usable(text.as_ref()).is_ok(), "{text}");
        }
        for text in ["socks5://proxy.example", "socks4://proxy.example:1080"] {
            assert!(usable(text.as_ref()).unwrap_err().contains("a SOCKS proxy"), "{text}");
        }
        for text in [
            "ftp://proxy.example",
            "http://",
            "a b",
            "http://user:password@proxy.example:99999",
            "http://proxy.example:x",
            "proxy.example:",
        ] {
            assert!(usable(text.as_ref()).unwrap_err().contains("not a URL"), "{text}");
        }
        let proxy = usable("http://user:secret@proxy.example:3128".as_ref()).unwrap();
        assert_eq!(address(&proxy), "proxy.example:3128");
    }
}
