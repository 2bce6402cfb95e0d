//! `inject study collisions`: how close do the states of many different prompts come, at each tap?

mod report;

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;
use inject_sipit::{
    collisions::{Metric, measure_noise_floors},
    states::{Extraction, durable::checksum_member, extract_to_store, store::Positions},
};
use inject_studies::{
    StudyName, between_models, corpus,
    corpus::{CorpusStates, CorpusStudy},
    tap_distances::{NeighbourSearch, TapOptions},
};

use super::spec_of;
use crate::{
    device::DeviceKind,
    number::counted,
    options::{DeviceOptions, Megabytes, ModelOptions, PromptOptions, StudyOptions, TapsOption, room},
    outcome::{Failure, chain},
    output::note,
    progress::Meter,
    text_file,
};

/// The longest corpus.json that is compared with, in bytes. Those of hundreds of taps have some megabytes.
const LONGEST_RESULT: u64 = 256 << 20;

/// Measure the distances between the states of all pairs of many different prompts
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  inject study collisions --count 2000 --taps block-1,block-5
  inject study collisions --model FOLDER --prompts prompts.jsonl --count 100000 --out collisions
  inject study collisions --count 100000 --minima-only --tiles 8 --share 2/7 --states states --out share-2

To continue a stopped run, give the same command again.")]
pub(crate) struct Options {
    #[command(flatten)]
    taps: TapsOption,
    /// The number of closest pairs to list for each tap
    #[arg(long, value_name = "COUNT", default_value = "10")]
    closest: NonZeroUsize,
    /// Search for the closest pairs only, and not for the nearest neighbour of every prompt
    #[arg(long)]
    minima_only: bool,
    /// Divide the prompts into this many bands, and search each pair of bands by itself: 8 bands make 36 such tiles at each tap, and shares divide them
    #[arg(long, value_name = "BANDS", requires = "minima_only")]
    tiles: Option<NonZeroUsize>,
    /// Measure the cosine distance instead of L2
    #[arg(long)]
    cosine: bool,
    /// The number of prompts computed again for the noise floor
    #[arg(long, value_name = "COUNT", default_value = "16")]
    noise_sample: NonZeroUsize,
    /// Measure the noise floor against this device too
    #[arg(long, value_name = "DEVICE")]
    noise_device: Option<DeviceKind>,
    /// The corpus.json of another model, to compare with
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    #[command(flatten)]
    study: StudyOptions,
    /// The store for the states [default: states in the folder for results]
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    states: Option<PathBuf>,
    /// The number of different prompts
    #[arg(long, value_name = "COUNT", default_value = "20000", help_heading = "Prompts")]
    count: NonZeroUsize,
    /// The most tokens to keep of each prompt
    #[arg(long, value_name = "TOKENS", default_value = "128", help_heading = "Prompts")]
    longest: NonZeroUsize,
    #[command(flatten)]
    prompts: PromptOptions,
    #[command(flatten)]
    model: ModelOptions,
    /// Megabytes that one batch or one search may take. If given, a prompt that needs more is refused [default: 1024]
    #[arg(long, value_name = "MB")]
    memory: Option<Megabytes>,
}

/// Runs the study.
///
/// # Errors
///
/// [`Failure`] if there are fewer than two prompts, or something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let other = options.other()?;
    options.study.check_prompts(&options.prompts, 1)?;
    let study = options.study.begin("collisions", &[StudyName::Corpus])?;
    let model = options.model.load()?;
    let decoder = &model.decoder;
    let n_layers = decoder.config().n_layers();
    let taps = options.taps.of(&model)?;
    let longest = model.longest(options.longest, 0);
    let prompts = options.prompts.different(&model, options.count.get(), longest)?;
    if prompts.len() < 2 {
        let found = counted(prompts.len(), "different prompt");
        return Err(Failure::new(format!("{found}: a distance needs at least two")));
    }
    room::check_longest(decoder, taps.len(), 0, prompts.iter().map(Vec::len), options.memory)?;
    note(&format!("{}, {}", counted(prompts.len(), "different prompt"), counted(taps.len(), "tap")));

    let memory_budget = Megabytes::bytes_or(options.memory, 1024 << 20);
    let extraction = Extraction::new(taps.clone(), Positions::Last)?.with_memory_budget(memory_budget);
    let states = options.states.clone().unwrap_or_else(|| study.folder().path().join("states"));
    let spec = spec_of(&model, &options.prompts, taps.clone())?;
    let mut meter = Meter::new();
    let store = extract_to_store(&extraction, decoder, &prompts, &states, spec, &mut |progress| {
        meter.show(progress);
    })?;
    drop(meter);
    if options.states.is_none() {
        study.folder().record("states/");
    }
    let device = options.noise_device.map(|device| DeviceOptions { device });
    let elsewhere =
        device.map(|device| ModelOptions { device, ..options.model.clone() }.load()).transpose()?;
    let elsewhere = elsewhere.as_ref().map(|model| &model.decoder);
    let metric = if options.cosine { Metric::Cosine } else { Metric::L2 };
    let noise = measure_noise_floors(metric, decoder, elsewhere, &taps, &prompts, options.noise_sample)?;
    let nearest = if options.minima_only { NeighbourSearch::Skipped } else { NeighbourSearch::Searched };
    let mut tap_options = TapOptions::default()
        .with_metric(metric)
        .with_closest(options.closest)
        .with_nearest(nearest)
        .with_memory_budget(memory_budget);
    if let Some(bands) = options.tiles {
        tap_options = tap_options.with_tiles(bands);
    }
    let states = CorpusStates::new(&store, n_layers, &noise).with_tokenizer(model.tokenizer().ok());
    let found = study
        .carry_out(StudyName::Corpus, |run| corpus(&states, &taps, &tap_options, &decoder.device(), run))?;
    let name = if options.cosine { "cosine distance" } else { "L2 distance" };
    study.show(&report::table(&found, name).text());
    study.write(&report::report(&found, name))?;
    if let Some(other) = other {
        let compared = between_models(&found, &other);
        study.folder().write("between_models.json", serde_json::to_string_pretty(&compared)?)?;
    }
    study.finish();
    Ok(())
}

impl Options {
    /// The study of another model.
    fn other(&self) -> Result<Option<CorpusStudy>, Failure> {
        let Some(path) = &self.against else { return Ok(None) };
        let text = text_file::read(path, LONGEST_RESULT)?;
        if !checksum_member::agrees(text.as_bytes()) {
            return Err(Failure::new(format!(
                "--against {}: does not agree with its checksum; the command that wrote it writes it again from its journal",
                path.display()
            )));
        }
        let study = serde_json::from_str(&text).map_err(|error| {
            let (path, reason) = (path.display(), chain(&error));
            Failure::new(format!("--against {path}: expected the corpus.json of a study: {reason}"))
        })?;
        Ok(Some(study))
    }
}
