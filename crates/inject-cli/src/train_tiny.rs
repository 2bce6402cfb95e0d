//! `inject train-tiny`: trains the small model in the program, on text that the project itself writes.
//!
//! Stories and Python modules come without end from a generator, so no token is seen twice and there is nothing to overfit. A
//! byte-level BPE vocabulary is learned from the first of them, then a GPT-2 of about a million parameters. The result is an
//! ordinary checkpoint folder: config.json, model.safetensors in F16, tokenizer.json. What was written is then loaded again and
//! measured on text of another seed.

mod measure;
mod shape;
mod text;
mod training;

use std::{io::Write, num::NonZeroUsize, path::PathBuf, time::Instant};

use clap::Args;
use inject_sipit::{
    burn::tensor::Device,
    models::{DecoderConfig, Family, FloatFormat, Model, Origin},
};

use crate::{
    number::{count, seconds},
    options::{DeviceOptions, OutputFolder},
    outcome::{Failure, Outcome},
    output::say,
    unfinished::write_together,
};
use measure::{continuation, held_out_losses};
use shape::config_json;
use text::{Text, learn_vocabulary};
use training::train;

/// Train a small model on generated stories and code
#[derive(Args, Debug)]
#[command(
    long_about = "Train a small model on generated stories and code, as the one in the program was made.\n\n\
The same options give the same text, the same vocabulary and, on the same machine and device, the same weights.",
    after_help = "\
Examples:
  inject train-tiny --steps 200 --out tiny
  inject invert --model tiny"
)]
pub(crate) struct Options {
    /// The folder for the checkpoint: new, empty, or left by a killed run of this command
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The number of steps that the optimiser takes
    #[arg(long, value_name = "COUNT", default_value = "3000")]
    steps: NonZeroUsize,
    /// The number of windows of 256 tokens in one step
    #[arg(long, value_name = "COUNT", default_value = "4")]
    batch: NonZeroUsize,
    /// The seed of the text and of the first weights; the text to measure on has the next one
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// The number of blocks
    #[arg(long, value_name = "COUNT", default_value = "5")]
    layers: NonZeroUsize,
    /// The width of the residual stream, a multiple of the heads
    #[arg(long, value_name = "WIDTH", default_value = "128")]
    width: NonZeroUsize,
    /// The number of attention heads of each block
    #[arg(long, value_name = "COUNT", default_value = "4")]
    heads: NonZeroUsize,
    /// The learning rate after the warm-up
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, default_value_t = 3e-3)]
    learning_rate: f64,
    /// The number of parts of a batch that are computed at once, each on a thread of its own. The weights depend on it by rounding
    #[arg(long, value_name = "COUNT", default_value = "2")]
    threads: NonZeroUsize,
    #[command(flatten)]
    device: DeviceOptions,
}

/// Trains the model, writes it, and measures what was written.
///
/// # Errors
///
/// [`Failure`] if the options do not fit together, or something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    let Options { width, heads, learning_rate, .. } = *options;
    if !width.get().is_multiple_of(heads.get()) {
        return Err(Failure::usage(format!("--width {width} is not a multiple of --heads {heads}")));
    }
    if !(learning_rate.is_finite() && learning_rate > 0.0) {
        return Err(Failure::usage(format!(
            "--learning-rate {learning_rate}: expected a finite number above 0"
        )));
    }
    let device = options.device.open()?;
    let folder = OutputFolder::open(&options.out)?;
    let files = ["tokenizer.json", "config.json", "model.safetensors", "README.md"];
    let model = write_together(
        &folder,
        &files,
        |name| files.contains(&name),
        |readme| make(options, &device, &folder, readme),
    )?;
    folder.record("README.md");
    for prompt in ["One morning", "def count"] {
        say(&format!("---\n{}", continuation(&model, prompt, 160)?));
    }
    say("---");
    say(&folder.summary());
    Ok(Outcome::Complete)
}

/// Trains the model, writes its files into the folder, and describes them. Returns what was written, loaded again.
fn make(
    options: &Options,
    device: &Device,
    folder: &OutputFolder,
    description: &mut impl Write,
) -> Result<Model, Failure> {
    let seed = options.seed;
    let begin = Instant::now();

    let tokenizer = learn_vocabulary(seed)?;
    let vocabulary = tokenizer.to_string(true).map_err(|error| Failure::new(error.to_string()))?;
    folder.write("tokenizer.json", vocabulary)?;
    say(&format!("{} tokens in the vocabulary", count(tokenizer.get_vocab_size(true))));

    folder.write("config.json", config_json(options)? + "\n")?;
    let config = DecoderConfig::read(&folder.path().join("config.json"))?;
    let decoder = train(options, &config, Text::new(seed, tokenizer.clone()), device.clone())?;
    decoder.save_weights(Family::Gpt2, FloatFormat::F16, &folder.path().join("model.safetensors"))?;
    folder.record("model.safetensors");
    let took = seconds(begin.elapsed().as_secs_f64());

    // From here on only what was written counts.
    let model = Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, device)?;
    let losses = held_out_losses(&model.decoder, seed + 1, &tokenizer)?;
    let figures = format!("{} parameters; held-out loss {losses}", count(config.n_parameters()));
    say(&format!("{figures}; took {took}"));
    let path = folder.path().join("README.md");
    description.write_all(readme(options, &figures).as_bytes()).map_err(Failure::io("write", &path))?;
    Ok(model)
}

/// The description of the folder, in five lines.
fn readme(options: &Options, figures: &str) -> String {
    let Options { out: _, steps, batch, seed, layers, width, heads, learning_rate, threads, device } =
        options;
    let device = device.device;
    format!(
        "A small GPT-2 trained on the stories and the Python-like code that this project's own generator writes.\n\
         Made by `inject train-tiny --steps {steps} --batch {batch} --seed {seed} --layers {layers} --width {width} \
         --heads {heads} --learning-rate {learning_rate} --threads {threads} --device {device} --out FOLDER`.\n\
         Seed {seed} for text, vocabulary and first weights; {} for the held-out text.\n\
         {figures}; weights in F16.\n\
         Licence: as the repository, MIT OR Apache-2.0.\n",
        seed + 1,
    )
}
