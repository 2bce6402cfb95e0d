//! `inject random-model`: a checkpoint of random weights at the shape of a published model.

mod folder;

use std::{fmt, path::PathBuf, str::FromStr, time::Instant};

use clap::Args;
use inject_sipit::models::{FloatFormat, PublishedShape, RandomCheckpoint, random_checkpoint::UnknownShape};

use crate::{
    interrupt, number,
    options::{FileFormat, OutputFolder},
    outcome::{Failure, Outcome},
    output::say,
    progress::Meter,
    text_file,
};

/// The longest config.json, in bytes.
const LONGEST_CONFIG: u64 = 4 << 20;

/// Write a checkpoint of random weights at the shape of a published model
#[derive(Args, Debug)]
#[command(
    long_about = "Write a checkpoint of random weights at the shape of a published model, to measure time and memory without a download.\n\n\
The weights are drawn as they are before the training of the model's family. The same seed gives the same bytes on any number of threads. \
The checkpoint has no tokenizer: prompts are given as token ids.",
    after_help = "\
Examples:
  inject random-model --like gpt2 --out gpt2-random
  inject extract --model gpt2-random --ids 11,22,33 --taps block-6 --positions all --out states
  inject invert --model gpt2-random --ids 11,22,33 --tap block-6
  inject depth --model gpt2-random --prompt-ids ids.txt

inject sizes lists the shapes."
)]
pub(crate) struct Options {
    /// The shape: one of those that `inject sizes` lists, or the path of a text model's config.json
    #[arg(long, value_name = "NAME")]
    like: Shape,
    /// The seed of the weights
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// The number format of the weights: bf16, f16 or f32
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true, default_value_t = FileFormat::Bf16)]
    format: FileFormat,
    /// The folder for the checkpoint: new, empty, or left by a killed run of this command
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// The shape of a model, as the user names it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Published(PublishedShape),
    /// The path of a config.json.
    File(PathBuf),
}

impl Shape {
    fn checkpoint(&self, format: FloatFormat, seed: u64) -> Result<RandomCheckpoint, Failure> {
        match self {
            Shape::Published(shape) => Ok(RandomCheckpoint::like(*shape, format, seed)?),
            Shape::File(path) => {
                let text = text_file::read(path, LONGEST_CONFIG)?;
                let named =
                    |failure: Failure| failure.rephrased(&[("config.json", &path.display().to_string())]);
                RandomCheckpoint::of_config(&text, format, seed).map_err(|error| named(error.into()))
            }
        }
    }
}

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(text: &str) -> Result<Self, UnknownShape> {
        text.parse().map(Shape::Published).or_else(|unknown| {
            let is_path = text.ends_with(".json") || text.contains(['/', '\\']);
            if is_path { Ok(Shape::File(text.into())) } else { Err(unknown) }
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Published(shape) => shape.fmt(f),
            Shape::File(path) => path.display().fmt(f),
        }
    }
}

/// Writes the checkpoint.
///
/// # Errors
///
/// [`Failure`] if the options do not fit together, or the folder holds something else or cannot be written to.
pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    let Options { like, seed, format, out } = options;
    let format = FloatFormat::from(*format);
    let checkpoint = like.checkpoint(format, *seed)?;
    let folder = OutputFolder::open(out)?;
    let begin = Instant::now();
    interrupt::advise("the unfinished checkpoint was removed");
    let mut meter = Meter::new();
    folder::write(&checkpoint, &folder, &mut |progress| meter.show(progress))?;
    drop(meter);
    say(&format!(
        "{like} with random weights: {} parameters, {} in {format}, seed {seed}; took {}",
        number::count(checkpoint.config().n_parameters()),
        number::bytes(checkpoint.bytes()),
        number::seconds(begin.elapsed().as_secs_f64())
    ));
    say("there is no tokenizer: give prompts as token ids, with --ids or --prompt-ids");
    say(&folder.summary());
    Ok(Outcome::Complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_a_name_or_a_path() {
        assert_eq!("gpt2".parse(), Ok(Shape::Published(PublishedShape::Gpt2)));
        assert_eq!("config.json".parse(), Ok(Shape::File("config.json".into())));
        let unknown = "gpt3".parse::<Shape>().unwrap_err().to_string();
        assert!(unknown.contains("gpt3"), "{unknown}");
    }
}
