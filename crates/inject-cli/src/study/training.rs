//! `inject study training`: does training keep states apart? Small decoders trained on generated text, degenerate starts, and
//! weights drawn at random.

mod degenerate;
mod random;
mod report;
mod run;
mod shape;
mod text;

use std::num::NonZeroUsize;

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use inject_sipit::models::Instructions;
use inject_studies::{StudyName, fingerprint, journal::Description};
use serde_json::{Value, json};

pub(crate) use self::{degenerate::Starts, random::Drawn, run::Trainings};
use crate::{
    options::{DeviceOptions, StudyOptions, study::Study},
    outcome::Failure,
    report::Report,
    table::Table,
};
use text::Text;

/// Measure how training, degenerate starts and random weights change the distances between states
#[derive(Args, Debug)]
#[command(
    long_about = "Measure how training, degenerate starts and random weights change the distances between states.\n\n\
docs/guide/7-training.md says what is computed and how to read it. The same options give the same figures on the same machine \
and device.",
    after_help = "\
Examples:
  inject study training --parts random --widths 32 --depths 1,2
  inject study training --parts degenerate --seed 7 --out training

To continue a stopped run, give the same command again."
)]
pub(crate) struct Options {
    /// The parts to run
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_value = "training,degenerate,random"
    )]
    parts: Vec<Part>,
    /// The seed of weights, batches and training text; the texts to measure on have the next seeds
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// The width of the decoders that are trained, a multiple of 8
    #[arg(long, value_name = "WIDTH", default_value_t = 64, value_parser = width)]
    width: usize,
    /// The number of blocks of the decoders that are trained
    #[arg(long, value_name = "COUNT", default_value = "2")]
    layers: NonZeroUsize,
    /// The number of steps of each training
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    steps: usize,
    /// The widths of the decoders that are only drawn, multiples of 8
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "32,64,128", value_parser = width)]
    widths: Vec<usize>,
    /// The numbers of blocks of the decoders that are only drawn
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,4")]
    depths: Vec<NonZeroUsize>,
    /// The number of parts of a batch that are computed at once, each on a thread of its own. The figures depend on it by rounding
    #[arg(long, value_name = "COUNT", default_value = "2")]
    threads: NonZeroUsize,
    /// The number of windows of 64 next tokens to train on
    #[arg(long, value_name = "COUNT", default_value = "24", help_heading = "Prompts")]
    windows: NonZeroUsize,
    /// The number of prompts among which the closest pair is searched
    #[arg(long, value_name = "COUNT", default_value = "1000", help_heading = "Prompts")]
    count: NonZeroUsize,
    /// The number of prompts to measure margins on at each snapshot; as many others are inverted
    #[arg(long, value_name = "COUNT", default_value = "4", help_heading = "Prompts")]
    probes: NonZeroUsize,
    #[command(flatten)]
    study: StudyOptions,
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

/// Runs the requested parts.
///
/// # Errors
///
/// [`Failure`] if something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let names: Vec<StudyName> = options.parts.iter().map(|part| part.name()).collect();
    let study = options.study.begin("training", &names)?;
    let device: Device = options.device.open()?;
    let text = Text::new(options)?;
    let mut lab =
        Lab { options, text, device, study, report: Report::new("Does training keep states apart?") };
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
    lab.study.finish();
    Ok(())
}

impl Part {
    fn name(self) -> StudyName {
        match self {
            Part::Training => StudyName::Training,
            Part::Degenerate => StudyName::Degenerate,
            Part::Random => StudyName::RandomWeights,
        }
    }
}

/// Everything that the parts share.
struct Lab<'a> {
    options: &'a Options,
    text: Text,
    device: Device,
    study: Study,
    report: Report,
}

impl Lab<'_> {
    /// Shows a table, unless JSON goes to standard output.
    fn show(&self, table: &Table) {
        self.study.show(&format!("{}\n", table.text()));
    }

    /// Writes the report so far.
    fn report(&self) -> Result<(), Failure> {
        self.study.write(&self.report)
    }

    /// The description of a part for its journal: the text, the size of the decoders, and everything else that its results depend
    /// on.
    fn describe(&self, part: Part, more: Value) -> Result<Description, Failure> {
        let text = &self.text;
        let texts = [&text.windows, &text.held_out, &text.prompts, &text.margin_prompts, &text.inverted];
        Ok(Description::new(
            part.name(),
            json!({ "about": serde_json::to_value(&text.about)?, "texts": texts.map(|texts| fingerprint(texts)),
                "d_model": self.options.width, "n_layers": self.options.layers, "more": more,
                // With the number of threads all that rounding depends on: weights are drawn in the format of the computation.
                "instructions": Instructions::on(&self.device) }),
        ))
    }
}
