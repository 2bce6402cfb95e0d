//! A small Hub on the loopback interface: as much of HTTP as hf-hub asks for.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
};

pub(super) const REPO: &str = "owner/tiny";
pub(super) const COMMIT: &str = "1111111111111111111111111111111111111111";

pub(super) type Folder = BTreeMap<String, Vec<u8>>;

/// How the server treats a request for content (never the one-byte request for the metadata).
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Manner {
    Honest,
    /// Announces everything, sends half, hangs up.
    HangUp,
    /// As `HangUp`, but honest from then on.
    HangUpOnce,
    /// Announces the size in `Content-Range`, and half of it in `Content-Length`.
    Lie,
}

pub(super) struct State {
    pub(super) commits: BTreeMap<String, Folder>,
    pub(super) refs: BTreeMap<String, String>,
    /// Refuse every request with this status.
    pub(super) refusal: Option<u16>,
    pub(super) manner: Manner,
    /// Once this many requests have come, `main` stands for another commit.
    pub(super) move_main: Option<(usize, String)>,
    pub(super) requests: Vec<Request>,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) range: Option<(usize, Option<usize>)>,
}

pub(super) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `files` as the only commit of [`REPO`], whose branch is `main`.
    pub(super) fn start(files: &[(&str, &str)]) -> Server {
        let state = State {
            commits: BTreeMap::from([(COMMIT.to_owned(), folder(files))]),
            refs: BTreeMap::from([("main".to_owned(), COMMIT.to_owned())]),
            refusal: None,
            manner: Manner::Honest,
            move_main: None,
            requests: Vec::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                // A client that hangs up is no failure of the test.
                if let Some(request) = read(&stream) {
                    let _ = answer(&stream, &mut shared.lock().unwrap(), request);
                } else {
                    break;
                }
            }
        });
        Server { address, state, thread: Some(thread) }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn add_commit(&self, commit: &str, files: &[(&str, &str)]) {
        self.state().commits.insert(commit.to_owned(), folder(files));
    }

    /// The requests since the last call.
    pub(super) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }

    /// The files whose content was asked for since the last call, sorted.
    pub(super) fn take_contents(&self) -> Vec<String> {
        let requests = self.take_requests().into_iter();
        let contents = requests.filter(|r| r.range != Some((0, Some(0))) && !r.path.starts_with("/api/"));
        let mut files: Vec<_> = contents.map(|r| r.path.splitn(6, '/').last().unwrap().to_owned()).collect();
        files.sort();
        files
    }
}

impl Drop for Server {
    /// Closes the port: an empty request ends the thread, which owns the listener.
    fn drop(&mut self) {
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn folder(files: &[(&str, &str)]) -> Folder {
    files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

/// The head of a request, or `None` from a client that connects and says nothing.
fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut request = Request { path, authorization: None, range: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.to_owned()),
            "range" => {
                let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
                request.range = Some((first.parse().ok()?, last.parse().ok()));
            }
            _ => {}
        }
    }
    Some(request)
}

fn answer(stream: &TcpStream, state: &mut State, request: Request) -> std::io::Result<()> {
    state.requests.push(request.clone());
    if let Some((count, commit)) = &state.move_main
        && state.requests.len() > *count
    {
        state.refs.insert("main".to_owned(), commit.clone());
    }
    if let Some(status) = state.refusal {
        return refuse(stream, status, "GatedRepo");
    }
    let path = request.path.trim_start_matches('/').trim_start_matches("api/models/");
    let Some(rest) = path.strip_prefix(REPO) else { return refuse(stream, 404, "RepoNotFound") };
    let (kind, rest) = rest[1..].split_once('/').unwrap();
    let (revision, file) = rest.split_once('/').unwrap_or((rest, ""));
    let revision = revision.replace("%2F", "/");
    let commit = state.refs.get(&revision).unwrap_or(&revision);
    let Some(folder) = state.commits.get(commit) else { return refuse(stream, 404, "RevisionNotFound") };
    if kind == "revision" {
        return send(stream, "200 OK", "", b"{}");
    }
    let Some(content) = folder.get(file) else { return refuse(stream, 404, "EntryNotFound") };

    let (first, last) = request.range.expect("hf-hub asks for ranges only");
    if first >= content.len() {
        return refuse(stream, 416, "RangeNotSatisfiable");
    }
    let body = &content[first..last.map_or(content.len(), |last| content.len().min(last + 1))];
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let headers = format!(
        "X-Repo-Commit: {commit}\r\nETag: \"{:016x}\"\r\nContent-Range: bytes {first}-{}/{}\r\n",
        hasher.finish(),
        first + body.len() - 1,
        content.len()
    );
    let half = &body[..body.len() / 2];
    match state.manner {
        _ if last.is_some() => send(stream, "206 Partial Content", &headers, body),
        Manner::Honest => send(stream, "206 Partial Content", &headers, body),
        Manner::Lie => send(stream, "206 Partial Content", &headers, half),
        Manner::HangUp => send_short(stream, &headers, body.len(), half),
        Manner::HangUpOnce => {
            state.manner = Manner::Honest;
            send_short(stream, &headers, body.len(), half)
        }
    }
}

fn refuse(stream: &TcpStream, status: u16, code: &str) -> std::io::Result<()> {
    send(stream, &format!("{status} Refused"), &format!("X-Error-Code: {code}\r\n"), b"no")
}

fn send(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}

fn send_short(mut stream: &TcpStream, headers: &str, announced: usize, body: &[u8]) -> std::io::Result<()> {
    let status = "206 Partial Content";
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {announced}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}
