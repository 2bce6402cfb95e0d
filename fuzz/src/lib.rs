//! The readers under fuzz. The tests of each crate give the same functions the files of `seeds/`.

#[cfg(feature = "cli")]
#[path = "../readers/cli.rs"]
pub mod cli;
#[path = "../readers/models.rs"]
pub mod models;
#[path = "../readers/sipit.rs"]
pub mod sipit;
#[path = "../readers/states.rs"]
pub mod states;
#[path = "../readers/studies.rs"]
pub mod studies;

/// Replaces the panic hook of libFuzzer, which ends the process at any panic, a contained one too. An uncaught panic still
/// reaches libFuzzer and ends the process there.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|_| ()));
}
