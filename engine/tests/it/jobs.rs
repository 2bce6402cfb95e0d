//! Whole jobs: with all executors, without one of them, without any, and with a file missing.

use std::{
    collections::BTreeSet,
    fs,
    num::NonZeroUsize,
    path::PathBuf,
    time::{Duration, Instant},
};

use inject_collisions::{Metric, models::Tap, states::store::Store};
use inject_engine::{EngineError, PairOptions, PieceDescriptor, chain, measure, measure_here};
use inject_studies::corpus::CorpusPiece;
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    cluster::{Client, LIMIT, Service},
    data,
    study::Study,
};

const BANDS: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// 36 tiles and the distribution, at two taps.
const PIECES: usize = 74;

/// The options of the client.
const OPTIONS: PairOptions = PairOptions::new(NonZeroUsize::new(20).unwrap(), Metric::L2, 1 << 30);

/// A store large enough that a job takes seconds, and a folder for the results of the job.
struct Job {
    folder: TempDir,
    store: Store,
}

impl Job {
    fn new() -> Job {
        let folder = tempfile::tempdir().unwrap();
        let store = data::write(&folder.path().join("states"), 12_000, 128);
        Job { folder, store }
    }

    /// Starts the client.
    fn start(&self, scheduler: &Service) -> Client {
        self.start_at(&scheduler.address)
    }

    fn start_at(&self, scheduler: &str) -> Client {
        let out = self.folder.path().join("out");
        let [states, out] = [self.store.dir(), &out].map(|path| path.to_str().unwrap());
        let job = ["collisions", "--tiles", "8", "--closest", "20", "--states", states, "--out", out];
        Client::start(&[&job[..], &["--scheduler", scheduler]].concat())
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("out/corpus.jsonl")
    }

    /// Asserts that the client wrote what one process writes, and left it nothing to do.
    fn assert_finished(&self, client: Client) {
        let output = client.output();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let written = fs::read_to_string(self.journal()).unwrap();
        assert_eq!(written.lines().count(), 1 + PIECES);
        let found = Study::of_journal(&self.journal(), &self.store, BANDS, OPTIONS);
        assert_eq!(found.journal, written);
        assert_eq!(found, Study::alone(&self.store, BANDS, OPTIONS));
    }

    /// Asserts that the client failed and wrote no results.
    fn assert_failed(&self, client: Client, expected: &[&str]) {
        let output = client.output();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{error}");
        assert!(expected.iter().all(|expected| error.contains(expected)), "{error}");
        assert_eq!(fs::read_to_string(self.journal()).unwrap().lines().count(), 1, "the head of the journal");
    }
}

#[test]
fn two_executors_give_the_bytes_of_one_process() {
    let job = Job::new();
    let scheduler = Service::scheduler();
    let executors = [Service::executor(&scheduler), Service::executor(&scheduler)];
    job.assert_finished(job.start(&scheduler));
    let [a, b] = executors.map(|executor| executor.pieces());
    assert!(!a.is_empty() && !b.is_empty(), "{} pieces on one and {} on the other", a.len(), b.len());
    let different: BTreeSet<&String> = a.iter().chain(&b).collect();
    assert_eq!((a.len() + b.len(), different.len()), (PIECES, PIECES), "each piece is measured once");
}

#[test]
fn an_executor_killed_in_mid_run_changes_nothing() {
    let job = Job::new();
    let scheduler = Service::scheduler();
    let (mut killed, left) = (Service::executor(&scheduler), Service::executor(&scheduler));
    let mut client = job.start(&scheduler);
    // Its first piece is finished, and lost with it. Its second one has begun.
    killed.wait_for_pieces(2);
    killed.kill();
    assert!(client.is_running(), "the job was over too soon");
    job.assert_finished(client);
    let (killed, left) = (killed.pieces(), left.pieces());
    assert!(killed.len() < PIECES / 2, "{} pieces on the killed executor", killed.len());
    assert!(killed.iter().all(|piece| left.contains(piece)), "all of {killed:?} are measured again");
    assert_eq!(left.iter().collect::<BTreeSet<_>>().len(), PIECES);
}

#[test]
fn a_job_without_executors_ends_in_an_error() {
    let job = Job::new();
    let scheduler = Service::scheduler();
    let mut executors = [Service::executor(&scheduler), Service::executor(&scheduler)];
    let mut client = job.start(&scheduler);
    executors.iter().for_each(|executor| executor.wait_for_pieces(1));
    executors.iter_mut().for_each(Service::kill);
    assert!(client.is_running(), "the job was over too soon");
    job.assert_failed(client, &["error: the job failed: ", "all executors were lost"]);
}

#[test]
fn a_job_without_its_scheduler_ends_in_an_error() {
    let job = Job::new();
    let mut scheduler = Service::scheduler();
    let executor = Service::executor(&scheduler);
    let client = job.start(&scheduler);
    executor.wait_for_pieces(1);
    scheduler.kill();
    job.assert_failed(client, &["error: no scheduler answers at ", "refused"]);
}

#[test]
fn a_client_and_an_executor_give_up_where_there_is_no_scheduler() {
    let job = Job::new();
    // A port that was free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let begun = Instant::now();
    let executor = Client::start(&["executor", "--scheduler", &nobody, "--patience", "2"]);
    let output = executor.output();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let expected = format!("error: no scheduler answers at {nobody} within 2 s: ");
    assert!(error.starts_with(&expected) && error.lines().count() == 1, "{error}");
    assert!(begun.elapsed() >= Duration::from_secs(1), "it did not wait");
    job.assert_failed(job.start_at(&nobody), &["error: no scheduler answers at "]);
}

#[test]
fn an_error_is_printed_once_and_in_words() {
    let job = Job::new();
    let scheduler = Service::scheduler();
    let _executor = Service::executor(&scheduler);
    fs::remove_file(job.store.dir().join("tap-block-1.safetensors")).unwrap();
    let output = job.start(&scheduler).output();
    let error = String::from_utf8_lossy(&output.stderr);
    // The client itself opens the store first.
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("error: cannot open ") && error.contains("tap-block-1.safetensors"), "{error}");
}

#[test]
fn a_missing_file_fails_the_whole_job_by_its_name() {
    let options = PairOptions::new(NonZeroUsize::MIN, Metric::L2, 1 << 28);
    let tiles = CorpusPiece::all(&[Tap::Block(1)], NonZeroUsize::new(2).unwrap());
    let [whole, torn] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    // All pieces of one store, and a tile of another.
    let mut pieces = PieceDescriptor::of_store(&data::write(whole.path(), 300, 16), &tiles, options);
    pieces.extend(PieceDescriptor::of_store(&data::write(torn.path(), 300, 16), &tiles[1..2], options));
    let missing = torn.path().join("tap-block-1.safetensors");
    fs::remove_file(&missing).unwrap();

    let scheduler = Service::scheduler();
    let _executors = [Service::executor(&scheduler), Service::executor(&scheduler)];
    let (host, port) = scheduler.address.split_once(':').unwrap();
    let address = (host, port.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    let job = async { timeout(LIMIT, measure(address, &pieces)).await };
    let error = runtime.block_on(job).expect("the job hangs").unwrap_err();
    assert!(matches!(error, EngineError::OnExecutor { .. }), "{error:?}");
    let words = chain(&error);
    assert!(words.starts_with("the job failed: ") && words.contains(missing.to_str().unwrap()), "{words}");
    assert!(!words.contains(['{', '\\']) && !words.contains("Error("), "{words}");
    // The scheduler and the executors go on.
    pieces.truncate(tiles.len());
    let job = async { timeout(Duration::from_secs(60), measure(address, &pieces)).await };
    let found = runtime.block_on(job).expect("the job hangs").unwrap();
    let json = |parts| serde_json::to_string(&parts).unwrap();
    assert_eq!(json(found), json(measure_here(&pieces).unwrap()));
}
