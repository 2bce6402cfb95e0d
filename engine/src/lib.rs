//! The pair search on a cluster: pieces of a study as tasks of [Apache DataFusion Ballista](https://datafusion.apache.org/ballista/).
//!
//! The study [`corpus`](inject_studies::corpus()) of a store in tiles is a list of independent pieces. Here they are the rows of a
//! table with one partition for each. The query over it is
//!
//! ```text
//! SELECT merge_parts(measure_piece(piece)) FROM pieces
//! ```
//!
//! The function `measure_piece` measures one piece on the executor, from the store on shared storage, and returns kilobytes of JSON.
//! It is volatile, so no optimiser computes it elsewhere or earlier. The aggregate `merge_parts` is the union of sets, so the answer
//! is the same wherever a piece was measured, how often, and in which order. Ballista hands out the tasks, and repeats those of an
//! executor that is lost. The client writes the results into the journal of the study, with the code of the study.
//!
//! - [`PieceDescriptor`] is a row of the table.
//! - [`measure`] submits the query, and [`measure_here`] computes the same in this process, without the engine.
//! - [`fill_journal`] writes what either returns into the journal of the study.
//! - [`Scheduler`] and [`Executor`] are the two services. Both know the functions.

mod descriptor;
mod error;
mod executor;
mod functions;
mod job;
mod part;
mod reach;
mod scheduler;
mod stores;
mod study;
mod words;

pub use self::{
    descriptor::{PairOptions, PieceDescriptor},
    error::{EngineError, PieceError, chain, name},
    executor::{Executor, ExecutorOptions},
    functions::Begun,
    job::{measure, measure_here},
    scheduler::{Scheduler, SchedulerOptions},
    study::fill_journal,
};
