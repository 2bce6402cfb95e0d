//! Trains the small model that ships with the project, on text that the project itself writes.
//!
//! Stories and Python modules come without end from a generator, so no token is seen twice and there is nothing to
//! overfit. A byte-level BPE vocabulary is learned from the first of them, then a GPT-2 of about a million parameters, and
//! the result is written as an ordinary checkpoint folder: config.json, model.safetensors in F16, tokenizer.json. What was
//! written is then loaded again and measured on text of another seed.
//!
//! ```text
//! cargo run --release --example train_tiny
//! ```
//!
//! The same options give the same text, the same vocabulary and, on the same machine and device, the same weights.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

mod measure;
mod shape;
mod text;
mod training;

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use inject_examples::{Failure, finish};
use inject_sipit::models::{DecoderConfig, Family, Model, Origin, Precision, WeightDtype};
use inject_testing::DeviceKind;

use crate::{
    measure::{continuation, held_out_losses},
    shape::config_json,
    text::{Text, learn_vocabulary},
    training::train,
};

/// Trains the small bundled model on generated stories and code.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Folder to write the checkpoint to
    #[arg(long, value_name = "DIR", default_value = "examples/model")]
    out: PathBuf,
    /// Number of optimiser steps
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    /// Windows of 256 tokens in one step
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Seed of the text and of the first weights; the text to measure on has the next one
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of blocks
    #[arg(long, default_value_t = 5)]
    layers: usize,
    /// Width of the residual stream, a multiple of the heads
    #[arg(long, default_value_t = 128)]
    width: usize,
    /// Number of attention heads
    #[arg(long, default_value_t = 4)]
    heads: usize,
    /// Learning rate after the warm-up
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// Parts of a batch to compute at once, each on a thread of its own; the weights depend on it, by rounding
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Where to compute: flex, ndarray, cuda or wgpu, as far as compiled in
    #[arg(long, default_value_t = DeviceKind::Flex)]
    device: DeviceKind,
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let Options { steps, batch, seed, layers, width, heads, threads, .. } = *options;
    if [steps, batch, layers, width, heads, threads].contains(&0) {
        let message = "--steps, --batch, --layers, --width, --heads and --threads must be at least 1";
        return Err(Failure::new(message));
    }
    if !width.is_multiple_of(heads) {
        return Err(Failure::new(format!("--width {width} is not a multiple of the {heads} heads")));
    }
    let device = options.device.open()?;
    fs::create_dir_all(&options.out)?;
    let begin = Instant::now();

    let tokenizer = learn_vocabulary(seed)?;
    let tokenizer_path = options.out.join("tokenizer.json");
    tokenizer.save(tokenizer_path, true).map_err(|error| Failure::new(error.to_string()))?;
    println!("{} tokens in the vocabulary", tokenizer.get_vocab_size(true));

    let config_path = options.out.join("config.json");
    fs::write(&config_path, config_json(options)? + "\n")?;
    let config = DecoderConfig::read(&config_path)?;
    let decoder = train(options, &config, Text::new(seed, tokenizer.clone()), device.clone())?;
    decoder.save_weights(Family::Gpt2, WeightDtype::F16, &options.out.join("model.safetensors"))?;
    let minutes = begin.elapsed().as_secs_f64() / 60.0;

    // From here on only what was written counts.
    let model = Model::load(Origin::of_folder(&options.out), Precision::F32, &device)?;
    let losses = held_out_losses(&model.decoder, seed + 1, &tokenizer)?;
    println!("{} parameters; held-out loss {losses}; {minutes:.1} minutes", config.n_parameters());
    fs::write(
        options.out.join("README.md"),
        readme(options, &format!("{} parameters; held-out loss {losses}", config.n_parameters())),
    )?;
    for prompt in ["One morning", "def count"] {
        println!("---\n{}", continuation(&model, prompt, 160)?);
    }
    Ok(())
}

/// What is in the folder, in five lines.
fn readme(options: &Options, figures: &str) -> String {
    let Options { out: _, steps, batch, seed, layers, width, heads, learning_rate, threads, device } =
        options;
    format!(
        "A small GPT-2 trained on the stories and the Python-like code that this project's own generator writes.\n\
         Made by `cargo run --release --example train_tiny -- --steps {steps} --batch {batch} --seed {seed} \
         --layers {layers} --width {width} --heads {heads} --learning-rate {learning_rate} --threads {threads} \
         --device {device}`.\n\
         Seed {seed} for text, vocabulary and first weights; {} for the held-out text.\n\
         {figures}; weights in F16.\n\
         Licence: as the repository, MIT OR Apache-2.0.\n",
        seed + 1,
    )
}
