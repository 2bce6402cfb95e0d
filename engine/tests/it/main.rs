//! Jobs on a scheduler and executors that are child processes, compared with one process.

mod cluster;
mod data;
mod jobs;
mod one_process;
mod study;
