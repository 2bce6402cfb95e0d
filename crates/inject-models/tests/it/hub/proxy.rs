//! Servers outside this machine: who gets the token, and how long a connection may take.
//!
//! The servers have names that no name server knows. A proxy leads to them. Clients take its address from the environment, so each
//! is a process of its own.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use inject_models::hub::HubOptions;
use tempfile::TempDir;

use super::{
    SINGLE, fetch_text,
    server::{Place, REPO, Server},
};

/// The endpoint and the cache of a client. Without them the client's test returns at once.
const ENDPOINT: &str = "INJECT_MODELS_TEST_HUB_ENDPOINT";
const CACHE: &str = "INJECT_MODELS_TEST_HUB_CACHE";
/// The client's idle time in seconds, if it is not [`IDLE_TIMEOUT`].
const IDLE: &str = "INJECT_MODELS_TEST_HUB_IDLE";

/// The file beside the cache to which a client writes its outcome.
const OUTCOME: &str = "outcome";
const FETCHED: &str = "fetched";

const TOKEN: &str = "hf_secret";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: Duration = Duration::from_secs(100);

/// The time after which a silent proxy closes the connection. A client that waits for so long has another error than a timeout.
const SILENCE: Duration = Duration::from_secs(60);

/// The variables that name a proxy, or hosts without one.
const PROXIES: [&str; 8] = [
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// A proxy for `hub.test` and `store.test`, which are the two servers of a Hub. To a client of `silent.test` it says nothing, and
/// to one of `slow.test` a byte now and then.
struct Proxy {
    address: SocketAddr,
    asked: Asked,
}

/// The servers that a proxy was asked for, and the first bytes that each was sent.
type Asked = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

impl Proxy {
    fn start(server: &Server) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), asked: Asked::default() };
        let [hub, store] = [Place::Hub, Place::Store].map(|place| server.address(place));
        let asked = Arc::clone(&proxy.asked);
        // The thread ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let asked = Arc::clone(&asked);
                // A client that hangs up is not a failure of the test.
                thread::spawn(move || drop(tunnel(&client, hub, store, &asked)));
            }
        });
        proxy
    }

    /// The servers that were asked for, each once and sorted.
    fn targets(&self) -> Vec<String> {
        let mut targets: Vec<_> =
            self.asked.lock().unwrap().iter().map(|(target, _)| target.clone()).collect();
        targets.sort();
        targets.dedup();
        targets
    }
}

/// Leads a client to the server that it asks for by `CONNECT`.
fn tunnel(mut client: &TcpStream, hub: SocketAddr, store: SocketAddr, asked: &Asked) -> io::Result<()> {
    // The client says no more than this before it has an answer.
    let lines = BufReader::new(client).lines().map_while(Result::ok);
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let target = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    if target.starts_with("silent.test:") {
        client.set_read_timeout(Some(SILENCE))?;
        return client.read(&mut [0]).map(drop);
    }
    if target.starts_with("slow.test:") {
        client.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
        for _ in 0..SILENCE.as_millis() / 100 {
            thread::sleep(Duration::from_millis(100));
            client.write_all(b"y")?;
        }
        return Ok(());
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let mut first = vec![0; 1 << 12];
    let read = client.read(&mut first)?;
    first.truncate(read);
    asked.lock().unwrap().push((target.to_owned(), first.clone()));
    let mut server = match target {
        "hub.test:80" => TcpStream::connect(hub)?,
        "store.test:80" | "hub.test:8080" => TcpStream::connect(store)?,
        _ => return Ok(()),
    };
    server.write_all(&first)?;
    let (mut rest, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut rest, &mut to));
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

#[test]
fn client_of_a_proxy() {
    let (Some(cache), Ok(endpoint)) = (env::var_os(CACHE).map(PathBuf::from), env::var(ENDPOINT)) else {
        return;
    };
    let options = HubOptions::new(&cache).with_endpoint(&endpoint).unwrap().with_token(TOKEN).unwrap();
    let idle = env::var(IDLE).map_or(IDLE_TIMEOUT, |idle| Duration::from_secs(idle.parse().unwrap()));
    let options = options.with_timeouts(CONNECT_TIMEOUT, idle).unwrap();
    let outcome = match fetch_text(REPO, &options) {
        Ok(_) => FETCHED.to_owned(),
        Err(error) => format!("{error:?}"),
    };
    fs::write(cache.with_file_name(OUTCOME), outcome).unwrap();
}

/// The outcome of a client whose user names this endpoint: [`FETCHED`] or the error.
fn fetch_by(proxy: &Proxy, endpoint: &str) -> String {
    fetch_with(&[("ALL_PROXY", &format!("http://{}", proxy.address))], endpoint)
}

/// Does the same with these variables.
fn fetch_with(variables: &[(&str, &str)], endpoint: &str) -> String {
    let folder = TempDir::new().unwrap();
    let name = format!("{}::client_of_a_proxy", module_path!().split_once("::").unwrap().1);
    let mut client = Command::new(env::current_exe().unwrap());
    for name in PROXIES {
        client.env_remove(name);
    }
    client.envs(variables.iter().copied());
    client.env(ENDPOINT, endpoint).env(CACHE, folder.path().join("cache"));
    client.args(["--exact", &name]).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(client.status().unwrap().success());
    fs::read_to_string(folder.path().join(OUTCOME)).unwrap()
}

#[test]
fn a_plain_http_server_gets_the_token_only_if_it_is_the_endpoint() {
    let server = Server::start(SINGLE);
    let [hub, store] = [Place::Hub, Place::Store].map(|place| format!("http://{}", server.address(place)));
    for (endpoint, large_files, targets) in [
        (hub.as_str(), "http://store.test", ["store.test:80"].as_slice()),
        ("http://hub.test", "http://store.test", &["hub.test:80", "store.test:80"]),
        ("http://hub.test", "http://hub.test:8080", &["hub.test:80", "hub.test:8080"]),
        // No server on this machine is asked by way of a proxy.
        ("http://hub.test", &store, &["hub.test:80"]),
        (&hub, &store, &[]),
    ] {
        server.state().store = large_files.to_owned();
        let proxy = Proxy::start(&server);
        assert_eq!(fetch_by(&proxy, endpoint), FETCHED, "{endpoint} with {large_files}");
        assert_eq!(proxy.targets(), targets);
        let (at_home, elsewhere): (Vec<_>, Vec<_>) =
            server.take_requests().into_iter().partition(|request| request.place == Place::Hub);
        assert!(!at_home.is_empty() && !elsewhere.is_empty());
        let bearer = format!("Bearer {TOKEN}");
        assert!(at_home.iter().all(|request| request.authorization.as_ref() == Some(&bearer)), "{at_home:?}");
        assert!(elsewhere.iter().all(|request| request.authorization.is_none()), "{elsewhere:?}");
    }
}

#[test]
fn an_https_endpoint_is_sent_nothing_in_plain_text() {
    let server = Server::start(SINGLE);
    let proxy = Proxy::start(&server);
    assert_ne!(fetch_by(&proxy, "https://hub.test"), FETCHED);
    assert_eq!(proxy.targets(), ["hub.test:443"]);
    assert!(server.take_requests().is_empty());
    // The content type of a handshake, RFC 8446, section 5.1.
    let asked = proxy.asked.lock().unwrap();
    assert!(asked.iter().all(|(_, first)| first.first() == Some(&22)), "{asked:?}");
}

#[test]
fn a_connection_that_is_never_made_is_timed_out() {
    let proxy = Proxy::start(&Server::start(SINGLE));
    let outcome = fetch_by(&proxy, "http://silent.test");
    assert!(outcome.contains("Timeout(Connecting)"), "{outcome}");
}

#[test]
fn a_proxy_that_says_a_byte_now_and_then_is_timed_out() {
    let proxy = Proxy::start(&Server::start(SINGLE));
    let address = format!("http://{}", proxy.address);
    let outcome = fetch_with(&[("ALL_PROXY", &address), (IDLE, "1")], "http://slow.test");
    assert!(outcome.contains("Timeout("), "{outcome}");
}

#[test]
fn a_proxy_that_cannot_be_used_is_not_passed_over() {
    let server = Server::start(SINGLE);
    for (variable, value, endpoint) in [
        ("ALL_PROXY", "socks5://user:secret@127.0.0.1:9", "http://hub.test"),
        ("HTTPS_PROXY", "socks4://127.0.0.1:9", "https://hub.test"),
        ("http_proxy", "gopher://user:secret@127.0.0.1:9", "http://hub.test"),
        ("all_proxy", "http://", "https://hub.test"),
    ] {
        let outcome = fetch_with(&[(variable, value)], endpoint);
        assert!(outcome.contains(&format!("Proxy {{ variable: \"{variable}\"")), "{outcome}");
        assert!(!outcome.contains("secret"), "{outcome}");
        // Servers that are asked without a proxy.
        let outcome = fetch_with(&[(variable, value), ("NO_PROXY", "other , hub.test ")], endpoint);
        assert!(outcome != FETCHED && !outcome.contains("roxy"), "{outcome}");
        assert_eq!(fetch_with(&[(variable, value)], &server.endpoint()), FETCHED);
    }
}

#[test]
fn a_proxy_that_cannot_be_used_does_not_matter_beside_the_one_that_is_used() {
    let server = Server::start(SINGLE);
    server.state().store = "http://store.test".to_owned();
    let proxy = Proxy::start(&server);
    let address = format!("http://{}", proxy.address);
    for unusable in ["all_proxy", "ALL_PROXY", "https_proxy", "HTTP_PROXY"] {
        let variables = [(unusable, "socks5://127.0.0.1:9"), ("http_proxy", &address)];
        assert_eq!(fetch_with(&variables, "http://hub.test"), FETCHED, "{unusable}");
    }
    assert_eq!(proxy.targets(), ["hub.test:80", "store.test:80"]);
}

#[test]
fn a_proxy_that_is_not_there_or_refuses_is_named_with_the_server_and_without_its_password() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let refuses = refusing.local_addr().unwrap();
    // The thread ends with the process.
    thread::spawn(move || {
        for mut client in refusing.incoming().map_while(Result::ok) {
            // The whole request. Its rest would meet a closed connection.
            let lines = BufReader::new(&client).lines().map_while(Result::ok);
            let _ = lines.take_while(|line| !line.is_empty()).count();
            let _ = client.write_all(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n");
        }
    });
    // Another test may have opened the closed port since, which then fails in its own way.
    for (address, cause) in [(closed, "source: "), (refuses, "407")] {
        let outcome =
            fetch_with(&[("ALL_PROXY", &format!("http://user:secret@{address}"))], "http://hub.test");
        let host = format!("host: \"the proxy {address} on the way to hub.test\"");
        assert!(outcome.contains(&host) && outcome.contains(cause), "{outcome}");
        assert!(!outcome.contains("secret"), "{outcome}");
    }
}
