//! Jobs on a scheduler and executors that are child processes, compared with one process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod data;
mod jobs;
mod one_process;
mod study;
