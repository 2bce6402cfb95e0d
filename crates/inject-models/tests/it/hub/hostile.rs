//! A Hub that is honest but for some of its answers: it cannot write, leak, hang or mislead.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    time::Duration,
};

use inject_models::hub::{HubError, HubOptions, Snapshot};
use tempfile::TempDir;

use crate::malformed::chain;

use super::{
    INDEX, fetch_text,
    parts::{Expected, Scene, all},
    server::{COMMIT, Place, REPO, Server},
};

pub(super) const CONFIG: &str = "{\"model_type\": \"gpt2\"}";
const FILES: &[(&str, &str)] = &[
    ("config.json", CONFIG),
    ("model.safetensors.index.json", INDEX),
    ("one.safetensors", "the first shard"),
    ("sub/two.safetensors", "the second shard"),
    ("tokenizer.json", "{\"model\": {}}"),
];
/// A later commit, which changes a small file and a shard.
const LATER: &str = "3333333333333333333333333333333333333333";
const LATER_FILES: &[(&str, &str)] = &[
    FILES[0],
    FILES[1],
    FILES[2],
    ("sub/two.safetensors", "the second shard, trained longer"),
    ("tokenizer.json", "{\"model\": {\"vocab\": {}}}"),
];
/// The time that the client waits for a byte from a server that is late on purpose, and from others. The second is far longer than
/// an honest answer takes on a busy machine.
const IDLE: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(60);
/// A longer fetch from a server that is late on purpose hangs. If every answer is late, and every download is resumed five times,
/// it takes 13 * 5 times [`IDLE`], about 16 s. The rest is for a busy machine. A fetch from any other server has no reason to wait,
/// so one that takes [`PATIENCE`] waited for something that did not come.
const LONGEST: Duration = super::wire::STUCK.saturating_sub(Duration::from_secs(60));
/// Some paths, and what a message repeats of an answer.
const LONGEST_TEXT: usize = 2000;
/// More than a server gets rid of before it notices that nobody listens: buffers of the operating system.
const MOST_SENT: u64 = 64 << 20;

/// What the cache holds when the hostile answers come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Empty,
    /// [`FILES`], all right. The branch has moved to [`LATER`] since.
    GoodCommit,
}

impl Start {
    /// Answers of an honest fetch. From nothing: two for each small file, one for the missing one, three for each shard. After a good
    /// commit: one for each file, one more for the small one that changed, two more for the shard.
    fn answers(self) -> usize {
        match self {
            Start::Empty => 13,
            Start::GoodCommit => 9,
        }
    }

    /// Brings the cache there.
    fn begin(self, server: &Server, options: &HubOptions) {
        if self == Start::GoodCommit {
            fetch_text(REPO, options).unwrap();
            server.add_commit(LATER, LATER_FILES);
            server.state().refs.insert("main".to_owned(), LATER.to_owned());
            server.take_requests();
        }
    }
}

/// The answers that are hostile. The others are honest.
#[derive(Clone, Copy, Debug)]
enum When {
    Only(usize),
    From(usize),
}

impl When {
    /// Each single answer of an honest fetch; all; all but the first; all but the first two.
    fn all(answers: usize) -> Vec<When> {
        (0..answers).map(When::Only).chain((0..3).map(When::From)).collect()
    }

    fn includes(self, number: usize) -> bool {
        match self {
            When::Only(one) => number == one,
            When::From(first) => number >= first,
        }
    }
}

/// A server that nothing may reach with a token.
struct Spy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Spy {
    fn start() -> Spy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heads);
        // The thread ends with the process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                shared.lock().unwrap().push(head.join("\n"));
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nspy");
            }
        });
        Spy { address, heads }
    }

    /// The head of a request with a token.
    fn secret(&self) -> Option<String> {
        let heads = self.heads.lock().unwrap();
        let secret = heads.iter().find(|head| {
            let head = head.to_ascii_lowercase();
            head.contains("authorization") || head.contains("hf_secret")
        });
        secret.cloned()
    }
}

/// A folder that holds the cache, and beside it files that must stay as they are.
struct Sandbox {
    folder: TempDir,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Sandbox {
    fn new() -> Self {
        // In memory where that is easy: the cases make a hundred thousand files.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        for file in ["canary", "home/canary", "home/cache-beside/canary"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "untouched").unwrap();
        }
        let mut sandbox = Sandbox { folder, before: BTreeMap::new() };
        sandbox.before = sandbox.outside();
        sandbox
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("home/cache")
    }

    fn canary(&self) -> PathBuf {
        self.folder.path().join("canary")
    }

    /// Every file outside the cache with its content, and every folder.
    fn outside(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        walk(self.folder.path(), &mut |path, content| {
            if !path.starts_with(self.cache()) {
                found.insert(path.to_owned(), content);
            }
        });
        found
    }

    fn largest_in_cache(&self) -> usize {
        let mut largest = 0;
        walk(&self.cache(), &mut |_, content| largest = largest.max(content.len()));
        largest
    }
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path, Vec<u8>)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let kind = fs::symlink_metadata(&path).unwrap();
        visit(&path, if kind.is_file() { fs::read(&path).unwrap() } else { Vec::new() });
        if kind.is_dir() {
            walk(&path, visit);
        }
    }
}

/// Whether a snapshot holds nothing but right files; with `whole`, all of them.
fn is_right(snapshot: &Snapshot, whole: bool) -> bool {
    let files = super::files_in(&snapshot.folder);
    let right = if snapshot.commit == LATER { LATER_FILES } else { FILES };
    let needed = right.iter().filter(|(name, _)| whole || *name != "tokenizer.json");
    files.iter().all(|(name, text)| right.contains(&(name, text)))
        && needed.into_iter().all(|(name, _)| files.contains_key(*name))
}

/// The outcome of a fetch. Fails if the fetch takes longer, whose thread is then left alone, or panics.
fn fetch_within(
    longest: Duration,
    options: HubOptions,
) -> Result<Result<Snapshot, HubError>, RecvTimeoutError> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        // Nobody listens any more to a fetch that is late.
        let _ = send.send(fetch_text(REPO, &options));
    });
    receive.recv_timeout(longest)
}

/// Plays the part with this number at that time, and says what went wrong.
fn case(number: usize, start: Start, when: When) -> Result<(), String> {
    let (server, spy, sandbox) = (Server::start(FILES), Spy::start(), Sandbox::new());
    let canary = sandbox.canary();
    let scene = Scene { spy: &spy.address, canary: &canary };
    let part = all(&scene).swap_remove(number);
    let fail = |problem: &str| Err(format!("{} at {when:?} of {start:?}: {problem}", part.name));

    let patient = HubOptions::new(sandbox.cache()).with_endpoint(&server.endpoint()).unwrap();
    let patient = patient.with_token("hf_secret").unwrap();
    start.begin(&server, &patient);
    let (idle, longest) =
        if part.expected == Expected::Late { (IDLE, LONGEST) } else { (PATIENCE, PATIENCE) };
    let hasty = patient.clone().with_timeouts(PATIENCE, idle).unwrap();
    let play = part.play;
    server.play(move |number, request, reply| match when.includes(number) {
        true => play(request, reply),
        false => super::server::Answer::Reply(reply),
    });
    let outcome = match fetch_within(longest, hasty) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => return fail(&format!("did not end within {longest:?}")),
        Err(RecvTimeoutError::Disconnected) => return fail("panicked"),
    };
    match &outcome {
        Ok(snapshot) if !is_right(snapshot, false) => return fail("gave wrong files"),
        Err(error) if chain(error).chars().any(char::is_control) => {
            return fail("printed control characters");
        }
        Err(error) if chain(error).len() > LONGEST_TEXT => return fail("printed a long text"),
        _ => {}
    }
    // A good commit in the cache stands in for a Hub that gives no usable answer.
    if start == Start::Empty && matches!(when, When::From(0)) && !part.expected.is_met(&outcome) {
        return fail(&format!("unexpectedly {:?}", outcome.map_err(|error| chain(&error))));
    }
    if sandbox.outside() != sandbox.before {
        return fail("wrote outside the cache");
    }
    if sandbox.largest_in_cache() > 4096 {
        return fail("kept more than was announced");
    }
    if server.sent() > MOST_SENT {
        return fail(&format!("took {} bytes", server.sent()));
    }
    let requests = server.take_requests();
    let leak = requests.iter().find(|r| r.place == Place::Store && r.authorization.is_some());
    let seen = spy.secret();
    if leak.is_some() || seen.is_some() {
        let servers = [server.address(Place::Hub), server.address(Place::Store)];
        return fail(&format!("leaked the token: {leak:?}, {seen:?}; servers {servers:?}, {}", spy.address));
    }

    server.be_honest();
    let (offline, good) = (patient.clone().with_offline(true), format!("{REPO}@{COMMIT}"));
    let good = (start == Start::GoodCommit).then_some((good.as_str(), &offline));
    let later = [(REPO, &patient), (REPO, &offline)];
    for (repo, options) in good.into_iter().chain(later).chain(good) {
        match fetch_text(repo, options) {
            Ok(snapshot) if is_right(&snapshot, true) => {}
            Ok(_) => return fail(&format!("spoilt a later fetch of {repo}")),
            Err(error) => return fail(&format!("spoilt a later fetch of {repo}: {}", chain(&error))),
        }
    }
    if sandbox.outside() != sandbox.before {
        return fail("made an honest fetch write outside the cache");
    }
    Ok(())
}

#[test]
fn a_hostile_hub_cannot_write_leak_hang_or_mislead() {
    let count = all(&Scene { spy: "127.0.0.1:1", canary: Path::new("/canary") }).len();
    let starts = [Start::Empty, Start::GoodCommit].into_iter();
    let times =
        starts.flat_map(|start| When::all(start.answers()).into_iter().map(move |when| (start, when)));
    let cases: Vec<_> =
        (0..count).flat_map(|part| times.clone().map(move |(start, when)| (part, start, when))).collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    // Most of the time is spent waiting.
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some(&(part, start, when)) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Err(problem) = case(part, start, when) {
                        failures.lock().unwrap().push(problem);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
    eprintln!("{count} parts, {} cases", cases.len());
}

#[test]
fn an_honest_fetch_takes_the_answers_that_the_cases_count_with() {
    for start in [Start::Empty, Start::GoodCommit] {
        let (server, sandbox) = (Server::start(FILES), Sandbox::new());
        let options = HubOptions::new(sandbox.cache()).with_endpoint(&server.endpoint()).unwrap();
        start.begin(&server, &options);
        assert!(is_right(&fetch_text(REPO, &options).unwrap(), true));
        assert_eq!(server.take_requests().len(), start.answers());
    }
}
