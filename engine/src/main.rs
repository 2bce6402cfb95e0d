//! `inject-engine`: the services of a cluster, and the pair search on it.

use std::{
    error::Error,
    fs,
    io::{self, Write},
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use inject_collisions::{Metric, models::Tap, states::store::Store};
use inject_engine::{
    EngineError, Executor, ExecutorOptions, PairOptions, PieceDescriptor, Scheduler, SchedulerOptions, chain,
    fill_journal, measure, measure_here, name,
};
use tokio::runtime::Runtime;

/// The closest pairs of a store of hidden states, on a cluster
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Example, on one machine:
  inject-engine scheduler --listen 127.0.0.1:50050 &
  inject-engine executor --scheduler 127.0.0.1:50050 &
  inject-engine executor --scheduler 127.0.0.1:50050 &
  inject-engine collisions --scheduler 127.0.0.1:50050 --states states --tiles 8 --out found
  inject study collisions --minima-only --states states --tiles 8 --out found

All executors read the store at the same path, from shared storage. None of this is encrypted or authenticated:
keep the addresses inside a trusted network."
)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Scheduler(SchedulerArguments),
    Executor(ExecutorArguments),
    Collisions(CollisionArguments),
}

/// Hand out the pieces of studies to executors
#[derive(Args, Debug)]
struct SchedulerArguments {
    /// The address to listen on; the system chooses port 0
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The seconds without a word after which an executor is lost; a busy one says a word every 5 seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(6..))]
    executor_timeout: u64,
}

/// Measure pieces of studies that a scheduler hands out
#[derive(Args, Debug)]
struct ExecutorArguments {
    /// The scheduler to ask for pieces
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    scheduler: (String, u16),
    /// The address to listen on for those who fetch results; the system chooses port 0
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The name or IP at which others reach this machine [default: that of --listen]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The number of pieces to measure at once; one keeps all cores busy
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pieces_at_once: NonZeroUsize,
    /// The seconds to wait for the scheduler at the beginning
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    patience: u64,
}

/// Measure the pieces of `inject study collisions --minima-only --tiles`, and write its journal
#[derive(Args, Debug)]
struct CollisionArguments {
    /// The scheduler [default: measure in this process]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    scheduler: Option<(String, u16)>,
    /// The store of states to search, as `inject extract` or the study writes it
    #[arg(long, value_name = "FOLDER")]
    states: PathBuf,
    /// The taps, separated by commas [default: all of the store]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    taps: Vec<Tap>,
    /// The number of bands of rows: 8 bands make 36 tiles a tap
    #[arg(long, value_name = "BANDS")]
    tiles: NonZeroUsize,
    /// The number of closest pairs to list for each tap
    #[arg(long, value_name = "COUNT", default_value = "10")]
    closest: NonZeroUsize,
    /// Measure the cosine distance instead of L2
    #[arg(long)]
    cosine: bool,
    /// Megabytes that the search of a tile may take
    #[arg(long, value_name = "MB", default_value = "1024")]
    memory: NonZeroUsize,
    /// The folder for results. Pieces that a journal there has are not measured again; those of a job that does not end are
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let command = Program::parse().command;
    // The error of a job is returned as well, in words.
    let filter = if matches!(command, Command::Collisions(_)) { "off" } else { "warn" };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter)).init();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    match command {
        Command::Scheduler(arguments) => runtime.block_on(schedule(arguments)),
        Command::Executor(arguments) => runtime.block_on(execute(arguments)),
        Command::Collisions(arguments) => collisions(arguments, &runtime),
    }
}

async fn schedule(arguments: SchedulerArguments) -> Result<(), Box<dyn Error>> {
    let SchedulerArguments { listen, executor_timeout } = arguments;
    let timeout = Duration::from_secs(executor_timeout);
    let scheduler = Scheduler::bind(SchedulerOptions::new(listen).with_executor_timeout(timeout)).await?;
    say(&format!("listening on {}", scheduler.address()));
    Ok(scheduler.serve().await?)
}

async fn execute(arguments: ExecutorArguments) -> Result<(), Box<dyn Error>> {
    let ExecutorArguments { scheduler, listen, host, pieces_at_once, patience } = arguments;
    let options = ExecutorOptions::new(scheduler, listen)
        .with_host(host)
        .with_pieces_at_once(pieces_at_once)
        .with_patience(Duration::from_secs(patience))
        .with_begun(Arc::new(|piece: &PieceDescriptor| say(&name(piece.piece))));
    let executor = Executor::bind(options)?;
    say(&format!("listening on {}", executor.address()));
    Ok(executor.serve().await?)
}

fn collisions(arguments: CollisionArguments, runtime: &Runtime) -> Result<(), Box<dyn Error>> {
    let CollisionArguments { scheduler, states, mut taps, tiles, closest, cosine, memory, out } = arguments;
    let metric = if cosine { Metric::Cosine } else { Metric::L2 };
    let options = PairOptions::new(closest, metric, memory.get().saturating_mul(1 << 20));
    let store = Store::open_unverified(&states)?;
    if taps.is_empty() {
        taps.clone_from(&store.manifest().spec.taps);
    }
    taps.sort();
    taps.dedup();
    fs::create_dir_all(&out).map_err(|source| EngineError::Folder { path: out.clone(), source })?;
    let journal = out.join("corpus.jsonl");
    let found = fill_journal(&journal, &store, &taps, tiles, options, |pieces| match &scheduler {
        Some((host, port)) => {
            let count = pieces.len();
            let _ =
                writeln!(io::stderr(), "{count} pieces go to {host}:{port}, where they wait for executors");
            runtime.block_on(measure((host.as_str(), *port), pieces))
        }
        None => measure_here(pieces),
    })?;
    say(&format!("{} pieces are in {}", found.units, journal.display()));
    Ok(())
}

/// Reports a line. It is not an error if nobody reads it.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parsed.ok_or_else(|| "expected a host and a port, such as 10.0.0.1:50050".to_owned())
}
