//! `inject-engine`: the services of a cluster, and the pair search on it.

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use inject_collisions::{Metric, models::Tap};
use inject_engine::{
    Executor, ExecutorOptions, PairOptions, Scheduler, SchedulerOptions, TileDescriptor, chain,
    closest_pairs, closest_pairs_here,
};

/// The closest pairs of a store of hidden states, on a cluster
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Example, on one machine:
  inject-engine scheduler --listen 127.0.0.1:50050 &
  inject-engine executor --scheduler 127.0.0.1:50050 &
  inject-engine executor --scheduler 127.0.0.1:50050 &
  inject-engine closest-pairs --scheduler 127.0.0.1:50050 --states states --tiles 8 > closest.json

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
    ClosestPairs(PairArguments),
}

/// Hand out tiles to executors
#[derive(Args, Debug)]
struct SchedulerArguments {
    /// The address to listen on; the system chooses port 0
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The seconds without a word after which an executor is lost; a busy one says a word every 5 seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(6..))]
    executor_timeout: u64,
}

/// Search tiles
#[derive(Args, Debug)]
struct ExecutorArguments {
    /// The scheduler
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    scheduler: (String, u16),
    /// The address to listen on for those who fetch results; the system chooses port 0
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The name or IP at which others reach this machine [default: that of --listen]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The number of tiles to search at once; one keeps all cores busy
    #[arg(long, value_name = "COUNT", default_value = "1")]
    tiles_at_once: NonZeroUsize,
}

/// Search for the closest pairs of a store, and print them as JSON
#[derive(Args, Debug)]
struct PairArguments {
    /// The scheduler [default: search in this process]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    scheduler: Option<(String, u16)>,
    /// The store
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
}

#[tokio::main]
async fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match run(Program::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Scheduler(SchedulerArguments { listen, executor_timeout }) => {
            let timeout = Duration::from_secs(executor_timeout);
            let options = SchedulerOptions::new(listen).with_executor_timeout(timeout);
            let scheduler = Scheduler::bind(options).await?;
            say(&format!("listening on {}", scheduler.address()));
            Ok(scheduler.serve().await?)
        }
        Command::Executor(ExecutorArguments { scheduler, listen, host, tiles_at_once }) => {
            let begun = |tile: &TileDescriptor| {
                let tile = tile.tile;
                say(&format!("bands {} and {} at {}", tile.first, tile.second, tile.tap));
            };
            let options = ExecutorOptions::new(scheduler, listen)
                .with_host(host)
                .with_tiles_at_once(tiles_at_once)
                .with_begun(Arc::new(begun));
            let executor = Executor::bind(options)?;
            say(&format!("listening on {}", executor.address()));
            Ok(executor.serve().await?)
        }
        Command::ClosestPairs(arguments) => {
            let PairArguments { scheduler, states, taps, tiles, closest, cosine, memory } = arguments;
            let metric = if cosine { Metric::Cosine } else { Metric::L2 };
            let options = PairOptions::new(closest, metric, memory.get().saturating_mul(1 << 20));
            let tiles = TileDescriptor::of_store(&states, &taps, tiles, options)?;
            let found = match scheduler {
                Some((host, port)) => closest_pairs(&format!("http://{host}:{port}"), &tiles).await?,
                None => closest_pairs_here(&tiles)?,
            };
            writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&found)?)?;
            Ok(())
        }
    }
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
