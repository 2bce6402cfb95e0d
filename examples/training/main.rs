//! Does training keep states apart? Small decoders trained on generated text, degenerate starts, and weights drawn at random.
//!
//! ```text
//! cargo run --release --example training -- --out DIR
//! cargo run --release --example training -- --parts degenerate,random --seed 7
//! ```
//!
//! docs/training.md says what is computed and how to read it. The same options give the same figures, on the same machine and
//! device.

mod degenerate;
mod random;
mod report;
mod run;
mod shape;
mod text;

use std::{fs, num::NonZeroUsize, path::PathBuf, process::ExitCode};

use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use inject_examples::{Failure, finish, say};
use inject_testing::DeviceKind;
use serde::Serialize;

use text::Text;

/// Measures what training, degenerate starts and random weights do to the distances between states.
#[derive(Parser, Debug)]
#[command(version)]
pub(crate) struct Options {
    /// What to do
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Training, Part::Degenerate, Part::Random])]
    parts: Vec<Part>,
    /// Optimiser steps of each training
    #[arg(long, default_value_t = 200)]
    steps: usize,
    /// Seed of weights, batches and training text; the texts to measure on have the next ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Width of the decoders that are trained, a multiple of 8
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Their blocks
    #[arg(long, default_value_t = 2)]
    layers: usize,
    /// Windows of 64 next tokens to train on
    #[arg(long, default_value_t = 24)]
    windows: usize,
    /// Prompts among which the closest pair is searched
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Prompts whose margins are measured at each snapshot, and as many others that are inverted
    #[arg(long, default_value_t = 4)]
    probes: usize,
    /// Widths of the decoders that are only drawn, multiples of 8
    #[arg(long, value_delimiter = ',', default_value = "32,64,128")]
    widths: Vec<usize>,
    /// Their numbers of blocks
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    depths: Vec<usize>,
    /// Parts of a batch to compute at once, each on a thread of its own; the figures depend on it by rounding
    #[arg(long, default_value_t = NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN))]
    threads: NonZeroUsize,
    /// The folder for tables, JSON and plots
    #[arg(long, value_name = "DIR", default_value = "target/studies/training")]
    out: PathBuf,
    /// Where to compute: flex, ndarray, cuda or wgpu, as far as compiled in
    #[arg(long, default_value_t = DeviceKind::Flex)]
    device: DeviceKind,
    /// Write the results to standard output as JSON, in place of the tables
    #[arg(long)]
    json: bool,
}

/// One of the three studies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Gradient descent, SGD and Adam, with snapshots
    Training,
    /// Starts with collisions built in
    Degenerate,
    /// Every family at several widths and depths, never trained
    Random,
}

#[allow(dead_code, reason = "the tests take the program in without its entry")]
fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let widths = options.widths.iter().chain([&options.width]);
    if let Some(width) = widths.into_iter().find(|width| **width == 0 || !width.is_multiple_of(8)) {
        return Err(Failure::new(format!("a width of {width}, expected a multiple of 8")));
    }
    if options.layers == 0 || options.depths.contains(&0) {
        return Err(Failure::new("a decoder of no blocks, expected at least 1"));
    }
    if options.probes == 0 {
        return Err(Failure::new("--probes must be at least 1"));
    }
    let device: Device = options.device.open()?;
    fs::create_dir_all(&options.out)?;
    let text = Text::new(options, &device)?;
    for part in &options.parts {
        match part {
            Part::Training => run::carry_out(options, &text, &device)?,
            Part::Degenerate => degenerate::carry_out(options, &text, &device)?,
            Part::Random => random::carry_out(options, &text, &device)?,
        }
    }
    Ok(())
}

impl Options {
    /// A line of a table.
    fn tell(&self, line: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { say(line) }
    }

    /// The result, in `name.json` and where it is asked for on standard output.
    fn keep(&self, name: &str, result: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(result)?;
        fs::write(self.out.join(name).with_extension("json"), &json)?;
        if self.json { say(&json) } else { Ok(()) }
    }
}
