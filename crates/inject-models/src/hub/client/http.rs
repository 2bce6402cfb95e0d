//! Requests to the Hub, over ureq: who sees the token, which redirects are followed, how long anything may take.

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    io::{self, Read, Take},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body, BodyReader, Proxy,
    config::Config,
    http::{HeaderMap, Response, Uri, header},
    unversioned::transport::DefaultConnector,
};

use super::{
    http_error::{HttpError, TimeoutPhase, shown},
    names::Names,
    options::HubOptions,
    origin::{self, Origin},
    proxy,
    watch::Watch,
};

/// As many redirects as curl's and Python's clients follow, in the order of magnitude.
const MAX_REDIRECTS: usize = 10;
/// Longest head of an answer. The Hub's own take about 4 KiB, with a signed URL and its security policy.
const MAX_HEADER: usize = 64 << 10;

/// The connections to one Hub.
pub(super) struct Http {
    agent: RefCell<Agent>,
    /// Whether the agent's connections were closed because a server took too long.
    closed: Arc<AtomicBool>,
    /// Whether the agent has had an answer, so that the next request may take a connection that the server is about to close.
    has_answered: Cell<bool>,
    /// The only origin that sees the token.
    home: Origin,
    token: Option<String>,
    idle: Duration,
    /// The longest time for a request and the head of its answer.
    longest: Duration,
}

/// The question a request asks.
#[derive(Clone, Copy)]
enum Ask<'a> {
    /// Only the headers of this file.
    Head { file: &'a str },
    /// The bytes of a file, starting with byte `from`.
    Content { from: u64 },
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
    watch: Watch,
}

/// The body of an answer.
pub(super) struct Content {
    reader: Take<BodyReader<'static>>,
    watch: Watch,
}

/// A request without an answer.
pub(super) struct Failure {
    /// The host that failed, or that redirected to nowhere. Names the proxy, if one led there.
    pub(super) host: String,
    pub(super) error: HttpError,
}

impl Http {
    /// `None` if the endpoint is not a URL, which [`HubOptions`] rules out.
    pub(super) fn new(options: &HubOptions) -> Option<Self> {
        let home = Origin::of(&options.endpoint().parse().ok()?)?;
        let idle = options.idle_timeout();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_response_header_size(MAX_HEADER)
            .user_agent(concat!("inject/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            // Each request says which one it takes.
            .proxy(None)
            .timeout_resolve(Some(options.connect_timeout()))
            .timeout_connect(Some(options.connect_timeout()))
            .timeout_send_request(Some(idle))
            .timeout_recv_response(Some(idle))
            .timeout_per_read(Some(idle))
            .build();
        let longest = 2 * (options.connect_timeout() + idle);
        let token = options.token().map(str::to_owned);
        let agent = RefCell::new(with_config(config));
        let has_answered = Cell::new(false);
        Some(Http { agent, closed: Arc::default(), has_answered, home, token, idle, longest })
    }

    /// Asks for the headers of a file. A redirect to another origin is an answer: its headers
    /// describe the file that it leads to. Others are followed, to the same file of a repository that was renamed.
    ///
    /// # Source
    ///
    /// huggingface/huggingface_hub, `file_download.py` (`get_hf_file_metadata`) and `utils/_http.py`
    /// (`_httpx2_follow_hub_redirects_with_backoff`).
    pub(super) fn head(&self, url: &str, file: &str) -> Result<Reply, Failure> {
        self.follow(Ask::Head { file }, url)
    }

    /// Asks for a file from byte `from` on.
    pub(super) fn content(&self, url: &str, from: u64) -> Result<Reply, Failure> {
        self.follow(Ask::Content { from }, url)
    }

    /// Returns the host of the Hub itself, not of its file servers.
    pub(super) fn host(&self) -> String {
        self.home.host().to_owned()
    }

    /// The longest time without a byte.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    fn follow(&self, ask: Ask<'_>, url: &str) -> Result<Reply, Failure> {
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
            let proxy = match origin.is_loopback() {
                true => None,
                false => proxy::to(&uri).map_err(|error| fail(&host, error))?,
            };
            let asked = match &proxy {
                Some(proxy) => format!("the proxy {} on the way to {host}", proxy::address(proxy)),
                None => host.clone(),
            };
            let (response, watch) =
                self.exchange(ask, &uri, proxy, at_home).map_err(|error| fail(&asked, error))?;
            let reply = Reply::of(response, host.clone(), at_home, watch);
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

    /// One request and the head of its answer.
    ///
    /// A server may close an idle connection at the moment at which it is asked again. So a request that fails on a connection that may
    /// be an old one is sent once more, over a new one. It asks for the same, however often it is sent.
    ///
    /// # Source
    ///
    /// RFC 9110, section 9.2.2.
    fn exchange(
        &self,
        ask: Ask<'_>,
        uri: &Uri,
        proxy: Option<Proxy>,
        at_home: bool,
    ) -> Result<(Response<Body>, Watch), HttpError> {
        loop {
            let agent = self.agent();
            let until = Instant::now() + self.longest;
            let watch =
                Watch::begin(agent.clone(), until, Arc::clone(&self.closed)).map_err(HttpError::NoThread)?;
            match self.request(&agent, ask, uri, proxy.clone(), at_home) {
                Ok(response) => {
                    self.has_answered.set(true);
                    return Ok((response, watch));
                }
                Err(_) if watch.is_over() => return Err(HttpError::Timeout(TimeoutPhase::Waiting)),
                Err(error) => match HttpError::of(error, TimeoutPhase::Waiting, MAX_HEADER) {
                    HttpError::Connection(_) if self.has_answered.get() => self.renew(),
                    error => return Err(error),
                },
            }
        }
    }

    /// The connections, or new ones if a server took too long.
    fn agent(&self) -> Agent {
        if self.closed.swap(false, Ordering::SeqCst) {
            self.renew();
        }
        self.agent.borrow().clone()
    }

    /// Leaves all connections for new ones.
    fn renew(&self) {
        self.agent.replace_with(|agent| with_config(agent.config().clone()));
        self.has_answered.set(false);
    }

    /// One request. It carries the token if it is `at_home`.
    fn request(
        &self,
        agent: &Agent,
        ask: Ask<'_>,
        uri: &Uri,
        proxy: Option<Proxy>,
        at_home: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = match ask {
            Ask::Head { .. } => agent.head(uri),
            Ask::Content { .. } => agent.get(uri),
        };
        if let Some(token) = self.token.as_ref().filter(|_| at_home) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Ask::Content { from: from @ 1.. } = ask {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        request.config().proxy(proxy).build().call()
    }
}

impl Reply {
    fn of(response: Response<Body>, host: String, is_home: bool, watch: Watch) -> Self {
        let (parts, body) = response.into_parts();
        Reply { status: parts.status.as_u16(), headers: parts.headers, host, is_home, body, watch }
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
    pub(super) fn into_content(self, limit: u64) -> Content {
        Content { reader: self.body.into_reader().take(limit), watch: self.watch }
    }
}

impl Content {
    /// Reads some bytes, or none at the end. Returns `Ok(None)` if none arrived before `until`.
    pub(super) fn read(&mut self, buffer: &mut [u8], until: Instant) -> Result<Option<usize>, HttpError> {
        self.watch.allow_until(until);
        match self.reader.read(buffer) {
            Ok(read @ 1..) => Ok(Some(read)),
            // A connection that was closed here may look like the end of the body.
            _ if self.watch.is_over() => Ok(None),
            Ok(_) => Ok(Some(0)),
            Err(error) => Err(broken_off(error)),
        }
    }
}

fn with_config(config: Config) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), Names)
}

/// The meaning of an error while a body is read.
fn broken_off(error: io::Error) -> HttpError {
    HttpError::of(error.into(), TimeoutPhase::Receiving, MAX_HEADER)
}
