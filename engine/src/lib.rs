//! The pair search on a cluster: tiles as tasks of [Apache DataFusion Ballista](https://datafusion.apache.org/ballista/).
//!
//! The closest pairs of a store are those of the tiles of its triangle of pairs, merged in any order. Here the tiles are the rows
//! of a table with one partition for each. The query over it is
//!
//! ```text
//! SELECT tap, merge_pairs(closest_pairs(tile)) FROM tiles GROUP BY tap
//! ```
//!
//! The function `closest_pairs` searches one tile on the executor, from the store on shared storage, and returns kilobytes of JSON.
//! It is volatile, so no optimiser computes it elsewhere or earlier. The aggregate `merge_pairs` is
//! [`ClosestPairs::merge`](inject_collisions::ClosestPairs::merge), so the answer has the same bytes wherever a tile was searched,
//! how often, and in which order. Ballista hands out the tasks, and repeats those of an executor that is lost.
//!
//! - [`TileDescriptor`] is a row of the table, and searches its tile.
//! - [`closest_pairs`] submits the query, and [`closest_pairs_here`] computes the same in this process, without the engine.
//! - [`Scheduler`] and [`Executor`] are the two services. Both know the functions.

mod descriptor;
mod error;
mod executor;
mod functions;
mod job;
mod scheduler;
mod stores;

pub use self::{
    descriptor::{PairOptions, TileDescriptor},
    error::{EngineError, TileError, chain},
    executor::{Executor, ExecutorOptions},
    functions::Begun,
    job::{TapPairs, closest_pairs, closest_pairs_here},
    scheduler::{Scheduler, SchedulerOptions},
};
