//! `inject study training`: does training keep states apart? Small decoders trained on generated text, degenerate starts, and
//! weights drawn at random.

mod degenerate;
mod random;
mod report;
mod run;
mod shape;
mod text;

use std::{num::NonZeroUsize, path::Path};

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    Failure, interrupt,
    options::{DeviceOptions, OutputFolder},
    output::{note, say},
    report::Report,
    table::Table,
};
use text::Text;

/// Measure what training, degenerate starts and random weights do to the distances between states
#[derive(Args, Debug)]
#[command(
    long_about = "Measure what training, degenerate starts and random weights do to the distances between states.\n\n\
docs/guide/7-training.md says what is computed and how to read it. The same options give the same figures on the same machine \
and device.",
    after_help = "\
Examples:
  inject study training --parts random --widths 32 --depths 1,2
  inject study training --parts degenerate --seed 7 --out training"
)]
pub(crate) struct Options {
    /// The parts to carry out
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', default_values_t = [Part::Training, Part::Degenerate, Part::Random])]
    parts: Vec<Part>,
    /// The seed of weights, batches and training text; the texts to measure on have the next seeds
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// The width of the decoders that are trained, a multiple of 8
    #[arg(long, value_name = "WIDTH", default_value_t = 64, value_parser = width)]
    width: usize,
    /// The number of their blocks
    #[arg(long, value_name = "COUNT", default_value = "2")]
    layers: NonZeroUsize,
    /// How many steps each training takes
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    steps: usize,
    /// The widths of the decoders that are only drawn, multiples of 8
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "32,64,128", value_parser = width)]
    widths: Vec<usize>,
    /// The numbers of their blocks
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,4")]
    depths: Vec<NonZeroUsize>,
    /// How many parts of a batch are computed at once, each on a thread of its own. The figures depend on it by rounding
    #[arg(long, value_name = "COUNT", default_value = "2")]
    threads: NonZeroUsize,
    /// How many windows of 64 next tokens to train on
    #[arg(long, value_name = "COUNT", default_value = "24", help_heading = "Prompts")]
    windows: NonZeroUsize,
    /// The number of prompts among which the closest pair is searched
    #[arg(long, value_name = "COUNT", default_value = "1000", help_heading = "Prompts")]
    count: NonZeroUsize,
    /// How many prompts to measure margins on at each snapshot; as many others are inverted
    #[arg(long, value_name = "COUNT", default_value = "4", help_heading = "Prompts")]
    probes: NonZeroUsize,
    /// The folder for results
    #[arg(long, value_name = "FOLDER", default_value = "studies/training", help_heading = "Output")]
    out: std::path::PathBuf,
    /// Write the results to standard output as JSON instead of tables
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    device: DeviceOptions,
}

/// One of the three studies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Gradient descent, SGD and Adam, with snapshots
    Training,
    /// Starts with collisions built in
    Degenerate,
    /// Every family at several widths and depths, never trained
    Random,
}

fn width(text: &str) -> Result<usize, String> {
    let width = text.parse().ok().filter(|width: &usize| *width > 0 && width.is_multiple_of(8));
    width.ok_or_else(|| "expected a multiple of 8".to_owned())
}

/// Carries out the parts asked for.
///
/// # Errors
///
/// [`Failure`] if something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let device: Device = options.device.open()?;
    let folder = OutputFolder::open(&options.out)?;
    interrupt::advise("the parts that were finished are in the folder");
    let text = Text::new(options)?;
    let mut lab =
        Lab { options, text, device, folder, report: Report::new("Does training keep states apart?") };
    let chosen = |part: Part| options.parts.contains(&part);
    if chosen(Part::Training) {
        run::carry_out(&mut lab)?;
    }
    if chosen(Part::Degenerate) {
        degenerate::carry_out(&mut lab)?;
    }
    if chosen(Part::Random) {
        random::carry_out(&mut lab)?;
    }
    let summary = lab.folder.summary();
    if options.json {
        note(&summary)
    } else {
        say(&summary)
    }
    Ok(())
}

/// Everything that the parts share.
struct Lab<'a> {
    options: &'a Options,
    text: Text,
    device: Device,
    folder: OutputFolder,
    report: Report,
}

impl Lab<'_> {
    /// Shows a table, unless JSON goes to standard output.
    fn show(&self, table: &Table) {
        if !self.options.json {
            say(&format!("{}\n", table.text()));
        }
    }

    /// Writes the result to `name.json`, and if asked for to standard output; writes the report so far.
    fn keep(&self, name: &str, result: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(result)?;
        self.folder.write(&Path::new(name).with_extension("json").to_string_lossy(), &json)?;
        if self.options.json {
            say(&json);
        }
        self.report.write(&self.folder)
    }
}
