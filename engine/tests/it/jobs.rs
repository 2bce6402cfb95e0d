//! Whole jobs: with all executors, without one of them, without any, and with a file missing.

use std::{collections::BTreeSet, num::NonZeroUsize, path::Path, time::Duration};

use inject_collisions::{Metric, models::Tap};
use inject_engine::{EngineError, PairOptions, TileDescriptor, chain, closest_pairs};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    cluster::{Client, LIMIT, Service},
    data,
};

/// Tiles of 8 bands at two taps.
const TILES: usize = 72;

/// Runs the client on a scheduler, or alone.
fn client(states: &Path, scheduler: Option<&Service>) -> Client {
    let mut arguments =
        vec!["closest-pairs", "--tiles", "8", "--closest", "20", "--states", states.to_str().unwrap()];
    if let Some(scheduler) = scheduler {
        arguments.extend(["--scheduler", &scheduler.address]);
    }
    Client::start(&arguments)
}

/// The output of one process.
fn alone(states: &Path) -> String {
    finished(client(states, None))
}

fn finished(client: Client) -> String {
    let output = client.output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A store large enough that a job takes seconds.
fn states() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    data::write(folder.path(), 12_000, 128);
    folder
}

#[test]
fn two_executors_give_the_bytes_of_one_process() {
    let states = states();
    let scheduler = Service::scheduler();
    let executors = [Service::executor(&scheduler), Service::executor(&scheduler)];
    let found = finished(client(states.path(), Some(&scheduler)));
    assert_eq!(found, alone(states.path()));
    let [a, b] = executors.map(|executor| executor.tiles());
    assert!(!a.is_empty() && !b.is_empty(), "{} tiles on one and {} on the other", a.len(), b.len());
    let different: BTreeSet<&String> = a.iter().chain(&b).collect();
    assert_eq!((a.len() + b.len(), different.len()), (TILES, TILES), "each tile is searched once");
}

#[test]
fn an_executor_killed_in_mid_run_changes_nothing() {
    let states = states();
    let scheduler = Service::scheduler();
    let (mut killed, left) = (Service::executor(&scheduler), Service::executor(&scheduler));
    let mut job = client(states.path(), Some(&scheduler));
    // Its first tile is finished, and lost with it. Its second one has begun.
    killed.wait_for_tiles(2);
    killed.kill();
    assert!(job.is_running(), "the job was over too soon");
    assert_eq!(finished(job), alone(states.path()));
    let (killed, left) = (killed.tiles(), left.tiles());
    assert!(killed.len() < TILES / 2, "{} tiles on the killed executor", killed.len());
    assert!(killed.iter().all(|tile| left.contains(tile)), "all tiles of {killed:?} are searched again");
    assert_eq!(left.iter().collect::<BTreeSet<_>>().len(), TILES);
}

#[test]
fn a_job_without_executors_ends_in_an_error() {
    let states = states();
    let scheduler = Service::scheduler();
    let mut executors = [Service::executor(&scheduler), Service::executor(&scheduler)];
    let mut job = client(states.path(), Some(&scheduler));
    executors.iter().for_each(|executor| executor.wait_for_tiles(1));
    executors.iter_mut().for_each(Service::kill);
    assert!(job.is_running(), "the job was over too soon");
    let output = job.output();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{error}");
    assert!(
        error.contains("error: the job failed: ") && error.contains("all executors were lost"),
        "{error}"
    );
}

#[test]
fn a_job_without_its_scheduler_ends_in_an_error() {
    let states = states();
    let mut scheduler = Service::scheduler();
    let executor = Service::executor(&scheduler);
    let job = client(states.path(), Some(&scheduler));
    executor.wait_for_tiles(1);
    scheduler.kill();
    let output = job.output();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{error}");
    assert!(error.contains("error: the job failed: "), "{error}");
}

#[test]
fn a_missing_file_fails_the_whole_job_by_its_name() {
    let options = PairOptions::new(NonZeroUsize::MIN, Metric::L2, 1 << 28);
    let bands = NonZeroUsize::new(2).unwrap();
    let [whole, torn] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut tiles = Vec::new();
    for folder in [&whole, &torn] {
        data::write(folder.path(), 300, 16);
        tiles.extend(TileDescriptor::of_store(folder.path(), &[Tap::Block(1)], bands, options).unwrap());
    }
    // Three tiles of one store, and one of the other.
    tiles.truncate(4);
    let missing = torn.path().join("tap-block-1.safetensors");
    std::fs::remove_file(&missing).unwrap();

    let scheduler = Service::scheduler();
    let _executors = [Service::executor(&scheduler), Service::executor(&scheduler)];
    let address = format!("http://{}", scheduler.address);
    let runtime = Runtime::new().unwrap();
    let job = async { timeout(LIMIT, closest_pairs(&address, &tiles)).await };
    let error = runtime.block_on(job).expect("the job hangs").unwrap_err();
    assert!(matches!(error, EngineError::Job(_)), "{error:?}");
    assert!(chain(&error).contains(missing.to_str().unwrap()), "{}", chain(&error));
    // The scheduler and the executors go on.
    tiles.truncate(3);
    let job = async { timeout(Duration::from_secs(60), closest_pairs(&address, &tiles)).await };
    let found = runtime.block_on(job).expect("the job hangs").unwrap();
    assert_eq!(found, inject_engine::closest_pairs_here(&tiles).unwrap());
}
