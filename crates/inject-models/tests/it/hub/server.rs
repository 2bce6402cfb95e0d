//! A small Hub on the loopback interface, with a second server for its large files, as the real one has.
//!
//! It is honest. A test may put a function between the honest answer and the client, and so play any part.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub(super) use super::wire::{Answer, Body, Place, Reply, Request};
use super::wire::{read, send, send_body};

pub(super) const REPO: &str = "owner/tiny";
pub(super) const COMMIT: &str = "1111111111111111111111111111111111111111";

pub(super) type Folder = BTreeMap<String, Vec<u8>>;
/// Turns the honest answer with the given number, from 0, into another one.
pub(super) type Spoil = Arc<dyn Fn(usize, &Request, Reply) -> Answer + Send + Sync>;

pub(super) struct State {
    pub(super) commits: BTreeMap<String, Folder>,
    pub(super) refs: BTreeMap<String, String>,
    /// Once this many requests have come, `main` stands for another commit.
    pub(super) move_main: Option<(usize, String)>,
    pub(super) requests: Vec<Request>,
    spoil: Option<Spoil>,
    answered: usize,
    /// The address to which the Hub redirects for large files.
    pub(super) store: String,
}

pub(super) struct Server {
    hub: SocketAddr,
    store: SocketAddr,
    state: Arc<Mutex<State>>,
    sent: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves `files` as the only commit of [`REPO`], whose branch is `main`.
    pub(super) fn start(files: &[(&str, &str)]) -> Server {
        let listeners =
            [Place::Hub, Place::Store].map(|place| (place, TcpListener::bind("127.0.0.1:0").unwrap()));
        let [hub, store] = [0, 1].map(|n: usize| listeners[n].1.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            commits: BTreeMap::from([(COMMIT.to_owned(), folder(files))]),
            refs: BTreeMap::from([("main".to_owned(), COMMIT.to_owned())]),
            move_main: None,
            requests: Vec::new(),
            spoil: None,
            answered: 0,
            store: format!("http://{store}"),
        }));
        let (sent, stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let threads = listeners.map(|(place, listener)| {
            let (state, sent, stopped) = (Arc::clone(&state), Arc::clone(&sent), Arc::clone(&stopped));
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stopped.load(Ordering::SeqCst) {
                        break;
                    }
                    let (state, sent) = (Arc::clone(&state), Arc::clone(&sent));
                    std::thread::spawn(move || serve(&stream, place, &state, &sent));
                }
            })
        });
        Server { hub, store, state, sent, stopped, threads: threads.into() }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.hub)
    }

    pub(super) fn address(&self, place: Place) -> SocketAddr {
        match place {
            Place::Hub => self.hub,
            Place::Store => self.store,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn add_commit(&self, commit: &str, files: &[(&str, &str)]) {
        self.state().commits.insert(commit.to_owned(), folder(files));
    }

    /// From now on, answers pass through `spoil`, which counts them from 0.
    pub(super) fn play(&self, spoil: impl Fn(usize, &Request, Reply) -> Answer + Send + Sync + 'static) {
        let mut state = self.state();
        state.spoil = Some(Arc::new(spoil));
        state.answered = 0;
    }

    pub(super) fn be_honest(&self) {
        self.state().spoil = None;
    }

    /// Answers every request with this status.
    pub(super) fn refuse(&self, status: u16, code: &'static str) {
        self.play(move |_, _, _| Answer::Reply(refusal(status, code)));
    }

    /// The requests since the last call.
    pub(super) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }

    /// The files whose content was asked for since the last call, sorted.
    pub(super) fn take_contents(&self) -> Vec<String> {
        let requests = self.take_requests().into_iter();
        let contents = requests.filter(|request| request.method == "GET" && request.place == Place::Hub);
        let mut files: Vec<_> = contents.map(|r| r.path.splitn(6, '/').last().unwrap().to_owned()).collect();
        files.sort();
        files
    }

    /// Bytes that both servers have sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    /// Closes both ports: an empty connection wakes the threads that own the listeners.
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        for address in [self.hub, self.store] {
            let _ = TcpStream::connect(address);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn folder(files: &[(&str, &str)]) -> Folder {
    files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn serve(stream: &TcpStream, place: Place, state: &Mutex<State>, sent: &AtomicU64) {
    let Some(request) = read(stream, place) else { return };
    let answer = answer(&mut state.lock().unwrap(), &request);
    // A client that hangs up is not a failure of the test.
    let _ = match answer {
        // To a HEAD an honest body is only announced; a part may send one all the same.
        Answer::Reply(Reply { body: Body::Bytes(bytes), headers, status }) if request.method == "HEAD" => {
            send(stream, &Reply { body: Body::Bytes(bytes), headers, status }.head(), sent)
        }
        Answer::Reply(reply) => {
            send(stream, &reply.head(), sent).and_then(|()| send_body(stream, &reply.body, sent))
        }
        Answer::Last(reply) => {
            let reply = reply.set("Connection", "keep-alive");
            let body = if request.method == "HEAD" { Vec::new() } else { reply.bytes() };
            let outcome = send(stream, &reply.head(), sent).and_then(|()| send(stream, &body, sent));
            state.lock().unwrap().requests.extend(read(stream, place));
            outcome
        }
        Answer::Raw(body) => send_body(stream, &body, sent),
    };
}

fn answer(state: &mut State, request: &Request) -> Answer {
    state.requests.push(request.clone());
    if let Some((count, commit)) = &state.move_main
        && state.requests.len() > *count
    {
        state.refs.insert("main".to_owned(), commit.clone());
    }
    let number = state.answered;
    state.answered += 1;
    let honest = honest(state, request);
    match &state.spoil {
        Some(spoil) => spoil(number, request, honest),
        None => Answer::Reply(honest),
    }
}

fn honest(state: &State, request: &Request) -> Reply {
    if let Some(hash) = request.path.strip_prefix("/stored/") {
        let content =
            state.commits.values().flat_map(BTreeMap::values).find(|content| sha256(content) == hash);
        return content.map_or_else(|| refusal(404, ""), |content| ranged(Reply::new(200), content, request));
    }
    let Some(rest) = request.path.strip_prefix(&format!("/{REPO}/resolve/")) else {
        return refusal(404, "RepoNotFound");
    };
    let (revision, file) = rest.split_once('/').unwrap_or((rest, ""));
    let revision = revision.replace("%2F", "/");
    let commit = state.refs.get(&revision).unwrap_or(&revision);
    let Some(folder) = state.commits.get(commit) else { return refusal(404, "RevisionNotFound") };
    let Some(content) = folder.get(file) else {
        return refusal(404, "EntryNotFound").with("X-Repo-Commit", commit);
    };
    let reply = Reply::new(200).with("X-Repo-Commit", commit).with("X-Content-Type-Options", "nosniff");
    if is_large(file) {
        let hash = sha256(content);
        let reply = Reply { status: 302, ..reply };
        return reply
            .with("X-Linked-Etag", &format!("\"{hash}\""))
            .with("X-Linked-Size", &content.len().to_string())
            .with("Location", &format!("{}/stored/{hash}", state.store))
            .with_body(b"Found. Redirecting".to_vec());
    }
    ranged(reply.with("ETag", &format!("\"{}\"", git_blob(content))), content, request)
}

/// Whether the Hub keeps a file in its store for large files.
fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors") || file.ends_with(".bin")
}

fn ranged(reply: Reply, content: &[u8], request: &Request) -> Reply {
    match request.range {
        None => reply.with_body(content.to_vec()),
        Some(first) if first >= content.len() => refusal(416, ""),
        Some(first) => {
            let range = format!("bytes {first}-{}/{}", content.len() - 1, content.len());
            Reply { status: 206, ..reply }.with("Content-Range", &range).with_body(content[first..].to_vec())
        }
    }
}

pub(super) fn refusal(status: u16, code: &str) -> Reply {
    let reply = Reply::new(status).with_body(b"no".to_vec());
    if code.is_empty() { reply } else { reply.with("X-Error-Code", code) }
}

pub(super) fn git_blob(content: &[u8]) -> String {
    let mut hash = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    hash.update(content);
    hex::encode(hash.finalize())
}

pub(super) fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}
