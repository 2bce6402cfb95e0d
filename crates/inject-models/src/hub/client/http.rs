//! Requests to the Hub, over ureq: who sees the token, which redirects are followed, how long anything may take.

use std::{io::Read, ops::ControlFlow, time::Duration};

use ureq::{
    Agent, Body,
    config::Config,
    http::{HeaderMap, Response, Uri, header},
};

use super::{
    HttpError, HubOptions, TimeoutPhase,
    exchange::Connections,
    http_error::shown,
    origin::{self, Origin},
    proxy,
};

/// As many redirects as curl's and Python's clients follow, in the order of magnitude.
const MAX_REDIRECTS: usize = 10;
/// Longest head of an answer. The Hub's own take some 4 KiB, with a signed URL and its security policy.
const MAX_HEADER: usize = 64 << 10;
/// Slowest acceptable connection, in bytes a second: slower than any modem, so only a stuck server is below it.
pub(super) const SLOWEST: u64 = 1 << 10;
/// Bytes that are read at once.
const BUFFER: usize = 1 << 16;

/// The connections to one Hub.
pub(super) struct Http {
    connections: Connections,
    /// The only origin that sees the token.
    home: Origin,
    token: Option<String>,
    idle: Duration,
}

/// The question a request asks.
#[derive(Clone, Copy)]
enum Ask<'a> {
    /// Only the headers of this file.
    Head { file: &'a str },
    /// The bytes of a file of `size` bytes, starting with byte `from`.
    Content { from: u64, size: u64 },
}

/// An answer, of any status but a redirect that was followed.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The host that sent the answer.
    pub(super) host: String,
    /// Whether it is the Hub itself, reached without a detour.
    pub(super) is_home: bool,
    body: Body,
}

/// A request without an answer.
pub(super) struct Failure {
    /// The host that failed, or that redirected to nowhere.
    pub(super) host: String,
    pub(super) error: HttpError,
}

impl Http {
    /// `None` if the endpoint is not a URL, which [`HubOptions`] rules out.
    pub(super) fn new(options: &HubOptions) -> Option<Self> {
        let home = Origin::of(&options.endpoint().parse().ok()?)?;
        let idle = options.idle_timeout();
        let connections = Connections::new(config(options));
        Some(Http { connections, home, token: options.token().map(str::to_owned), idle })
    }

    /// Asks for the headers of a file. A redirect to another origin is an answer: its headers
    /// describe the file that it leads to. Others are followed, to the same file of a repository that was renamed.
    ///
    /// # Source
    ///
    /// huggingface/huggingface_hub, `file_download.py` (`get_hf_file_metadata`) and `utils/_http.py`
    /// (`_httpx2_follow_hub_redirects_with_backoff`).
    pub(super) fn head(&self, url: &str, file: &str, waiting: &mut dyn FnMut()) -> Result<Reply, Failure> {
        self.ask(Ask::Head { file }, url, waiting)
    }

    /// Asks for a file of `size` bytes from byte `from` on.
    pub(super) fn content(
        &self,
        url: &str,
        from: u64,
        size: u64,
        waiting: &mut dyn FnMut(),
    ) -> Result<Reply, Failure> {
        self.ask(Ask::Content { from, size }, url, waiting)
    }

    /// Gives `listen` the pieces of a body, and `None` whenever none has come for a while, until the body ends or `listen` breaks.
    pub(super) fn receive(
        &self,
        mut body: impl Read + Send,
        mut listen: impl FnMut(Option<Result<Vec<u8>, HttpError>>) -> ControlFlow<()>,
    ) {
        self.connections.run(
            |sender| {
                loop {
                    let mut piece = vec![0; BUFFER];
                    let piece = match body.read(&mut piece) {
                        Ok(0) => return,
                        Ok(read) => {
                            piece.truncate(read);
                            Ok(piece)
                        }
                        Err(error) => Err(broken_off(error)),
                    };
                    let is_last = piece.is_err();
                    // Nobody listens any more after a break.
                    if sender.send(piece).is_err() || is_last {
                        return;
                    }
                }
            },
            &mut listen,
        );
    }

    /// Follows redirects to an answer. Calls `waiting` now and then until it comes.
    fn ask(&self, ask: Ask<'_>, url: &str, waiting: &mut dyn FnMut()) -> Result<Reply, Failure> {
        let agent = self.connections.agent();
        let mut outcome = None;
        self.connections.run(
            // The receiver is there until this thread ends.
            |sender| drop(sender.send(self.follow(&agent, ask, url))),
            |answer| {
                match answer {
                    Some(answer) => outcome = Some(answer),
                    None => waiting(),
                }
                ControlFlow::Continue(())
            },
        );
        outcome.expect("an exchange sends its outcome before it is over")
    }

    /// Returns the host of the Hub itself, not of its file servers.
    pub(super) fn host(&self) -> String {
        self.home.host().to_owned()
    }

    /// The longest time without a byte.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    fn follow(&self, agent: &Agent, ask: Ask<'_>, url: &str) -> Result<Reply, Failure> {
        let fail = |host: &str, error| Failure { host: host.to_owned(), error };
        let mut host = self.host();
        let unusable = || HttpError::Location { found: shown(url) };
        let mut uri: Uri = url.parse().map_err(|_| fail(&host, unusable()))?;
        let mut origin = Origin::of(&uri).ok_or_else(|| fail(&host, unusable()))?;
        // A redirect of a foreign server is followed without the token, even if it leads home again.
        let mut at_home = true;
        for _ in 0..=MAX_REDIRECTS {
            at_home &= origin == self.home;
            host = origin.host().to_owned();
            // A proxy is for the world outside.
            if !origin.is_loopback() {
                proxy::check(&uri).map_err(|error| fail(&host, error))?;
            }
            let response = self
                .request(agent, ask, &uri, &origin, at_home)
                .map_err(|error| fail(&host, HttpError::of(error, TimeoutPhase::Waiting, MAX_HEADER)))?;
            let reply = Reply::of(response, host.clone(), at_home);
            if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(reply);
            }
            let (next, next_origin) = reply.location(&uri).map_err(|error| fail(&host, error))?;
            if let Ask::Head { file } = ask {
                if next_origin != origin {
                    return Ok(reply);
                }
                // Otherwise the answer would be about another file.
                if !next.path().ends_with(&format!("/{file}")) {
                    return Err(fail(&host, HttpError::OtherFile { found: shown(next.path()) }));
                }
            }
            (uri, origin) = (next, next_origin);
        }
        Err(fail(&host, HttpError::TooManyRedirects { limit: MAX_REDIRECTS }))
    }

    /// One request. It carries the token if it is `at_home`.
    fn request(
        &self,
        agent: &Agent,
        ask: Ask<'_>,
        uri: &Uri,
        origin: &Origin,
        at_home: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = match ask {
            Ask::Head { .. } => agent.head(uri),
            Ask::Content { .. } => agent.get(uri),
        };
        if let Some(token) = self.token.as_ref().filter(|_| at_home) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Ask::Content { from: from @ 1.., .. } = ask {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let mut config = request.config();
        if let Ask::Content { from, size } = ask {
            let slowest = Duration::from_secs(size.saturating_sub(from) / SLOWEST);
            config = config.timeout_recv_body(Some(self.idle.saturating_add(slowest)));
        }
        if origin.is_loopback() {
            config = config.proxy(None);
        }
        config.build().call()
    }
}

impl Reply {
    fn of(response: Response<Body>, host: String, is_home: bool) -> Self {
        let (parts, body) = response.into_parts();
        Reply { status: parts.status.as_u16(), headers: parts.headers, host, is_home, body }
    }

    /// The value of a header that occurs at most once.
    ///
    /// # Errors
    ///
    /// [`HttpError::Header`] if it is repeated, or holds anything but visible ASCII and spaces.
    pub(super) fn header(&self, name: &'static str) -> Result<Option<&str>, HttpError> {
        let mut values = self.headers.get_all(name).iter();
        let malformed = |found: &[u8], expected| {
            let found = format!("\"{}\"", shown(&String::from_utf8_lossy(found)));
            HttpError::Header { name, found, expected }
        };
        let Some(value) = values.next() else { return Ok(None) };
        if let Some(second) = values.next() {
            return Err(malformed(second.as_bytes(), "one value only"));
        }
        value.to_str().map(Some).map_err(|_| malformed(value.as_bytes(), "visible ASCII"))
    }

    /// The place that a redirect names.
    fn location(&self, base: &Uri) -> Result<(Uri, Origin), HttpError> {
        match self.header("location")? {
            Some(location) => origin::target(base, location),
            None => Err(HttpError::NoLocation { status: self.status }),
        }
    }

    /// The body, of at most `limit` bytes.
    pub(super) fn into_body(self, limit: u64) -> impl Read + Send {
        self.body.into_reader().take(limit)
    }
}

/// How to connect, and how long each phase of an exchange may take.
fn config(options: &HubOptions) -> Config {
    let (connect, idle) = (options.connect_timeout(), options.idle_timeout());
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_response_header_size(MAX_HEADER)
        .user_agent(concat!("inject/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_resolve(Some(connect))
        .timeout_connect(Some(connect))
        .timeout_send_request(Some(idle))
        .timeout_recv_response(Some(idle))
        .timeout_per_read(Some(idle))
        .build()
}

/// The meaning of an error while a body is read.
fn broken_off(error: std::io::Error) -> HttpError {
    HttpError::of(error.into(), TimeoutPhase::Receiving, MAX_HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_of_an_exchange_is_limited() {
        let [connect, idle] = [3, 7].map(Duration::from_secs);
        let options = HubOptions::new("/c").with_timeouts(connect, idle).unwrap();
        let config = config(&options);
        let timeouts = config.timeouts();
        assert_eq!([timeouts.resolve, timeouts.connect], [Some(connect); 2]);
        assert_eq!([timeouts.send_request, timeouts.recv_response], [Some(idle); 2]);
        assert_eq!(config.timeout_per_read(), Some(idle));
    }

    #[test]
    fn a_timeout_of_the_name_server_or_of_the_connection_is_one_while_connecting() {
        use ureq::Timeout::{Connect, RecvResponse, Resolve};
        let of = |timeout| HttpError::of(ureq::Error::Timeout(timeout), TimeoutPhase::Waiting, MAX_HEADER);
        for (timeout, phase) in [
            (Resolve, TimeoutPhase::Connecting),
            (Connect, TimeoutPhase::Connecting),
            (RecvResponse, TimeoutPhase::Waiting),
        ] {
            assert!(matches!(of(timeout), HttpError::Timeout(found) if found == phase), "{timeout:?}");
        }
    }
}
