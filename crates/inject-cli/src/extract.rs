//! `inject extract`: the states of prompts, in a store on disk.

mod prompts;

use std::path::PathBuf;

use clap::Args;
use inject_sipit::{
    models::{Bos, FloatFormat, Progress},
    states::{
        Extraction, Share, SharePrompts, extract_to_store,
        store::{self, NoiseFloors, Positions, Store, StoreError, StoreSpec},
    },
};

use self::prompts::Source;
pub(crate) use self::prompts::{Ids, parse_ids};

use crate::{
    interrupt,
    number::{self, counted},
    options::{FileFormat, LoadedModel, Megabytes, ModelOptions, OutputFolder, TapsOption, room},
    outcome::{Failure, Outcome},
    output::{note, say},
    progress::Meter,
};

/// Write the hidden states of prompts to a store on disk
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  inject extract --text \"One prompt.\" --text \"Another.\" --out states
  inject extract --prompts prompts.jsonl --taps block-2 --positions all --out states
  inject extract --prompts prompts.jsonl --share 2/7 --out share-2
  inject extract --merge share-1 share-2 share-3 --out states

To continue a stopped run, give the same command again.")]
pub(crate) struct Options {
    #[command(flatten)]
    taps: TapsOption,
    /// The positions of each prompt whose states are kept: last or all. `inject invert` needs all
    #[arg(long, value_name = "WHICH", default_value_t = Positions::Last)]
    positions: Positions,
    /// The number format on disk: f32, f16 or bf16
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true, default_value_t = FileFormat::F32)]
    format: FileFormat,
    /// The folder for the store
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Do one share of the prompts, such as 1/3 for the first of three. Each share needs a folder of its own
    #[arg(long, value_name = "SHARE/SHARES")]
    share: Option<Share>,
    /// Merge the stores of all shares instead of computing states
    #[arg(long, value_name = "FOLDER", num_args = 1..)]
    merge: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// Whether the BOS token begins each text: auto (as the tokenizer does), yes or no
    #[arg(long, value_name = "WHEN", default_value_t = Bos::Auto, help_heading = "Prompts", conflicts_with_all = ["ids", "prompt_ids"])]
    bos: Bos,
    #[command(flatten)]
    model: ModelOptions,
    /// Megabytes that one batch may take. If given, a prompt that needs more is refused [default: 512]
    #[arg(long, value_name = "MB")]
    memory: Option<Megabytes>,
}

pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    if options.merge.is_empty() { extract(options) } else { merge(options) }
}

fn merge(options: &Options) -> Result<Outcome, Failure> {
    let shares = options.merge.iter().map(Store::open).collect::<Result<Vec<_>, _>>()?;
    let folder = OutputFolder::open_or_read(&options.out)?;
    let was_there = is_finished(&folder);
    interrupt::advise(CONTINUE);
    let mut meter = Meter::new();
    let store = store::merge(&shares, folder.path(), &mut |progress| meter.show(progress))?;
    drop(meter);
    say(&summary(&store, was_there));
    Ok(Outcome::Complete)
}

fn extract(options: &Options) -> Result<Outcome, Failure> {
    if options.share.is_some() {
        options.source.check_rereadable()?;
    }
    let model = options.model.load()?;
    let decoder = &model.decoder;
    let taps = options.taps.of(&model)?;
    let extraction = Extraction::new(taps, options.positions)?
        .with_memory_budget(Megabytes::bytes_or(options.memory, Extraction::DEFAULT_MEMORY_BUDGET));
    let Some(prompts) = Prompts::read(options, &model, &extraction)? else {
        say(&format!(
            "share {} is empty: there are fewer blocks of prompts than shares",
            options.share.unwrap_or(Share::WHOLE)
        ));
        return Ok(Outcome::Complete);
    };
    // Prompts are numbered among all.
    let first = match &prompts {
        Prompts::All(_) => 0,
        Prompts::Share(own) => own.about().first_prompt,
    };
    let lens = prompts.ids().iter().map(Vec::len);
    room::check_longest(decoder, extraction.taps().len(), first, lens, options.memory)?;
    let format = FloatFormat::from(options.format);
    let values = extraction.rows(prompts.ids()) * decoder.config().d_model * extraction.taps().len();
    note(&format!(
        "{}, {}, {} of states",
        counted(prompts.ids().len(), "prompt"),
        counted(extraction.taps().len(), "tap"),
        number::bytes((values * format.bytes()) as u64)
    ));
    let (taps, d_model) = (extraction.taps().to_vec(), decoder.config().d_model);
    let mut spec =
        StoreSpec::new(model.id(), model.weight_hash()?, taps, options.positions, d_model).with_dtype(format);
    spec.revision.clone_from(&model.origin().revision);
    spec.tokenizer_hash = model.tokenizer().ok().map(|tokenizer| tokenizer.hash().to_owned());
    (spec.bos, spec.bos_added) = options.source.bos(&model, options.bos)?;
    spec = spec.computed_by(decoder);
    let folder = OutputFolder::open_or_read(&options.out)?;
    let was_there = is_finished(&folder);
    interrupt::advise(CONTINUE);
    let mut meter = Meter::new();
    let mut show = |progress: Progress<'_>| meter.show(progress);
    let store = match &prompts {
        Prompts::All(ids) => extract_to_store(&extraction, decoder, ids, folder.path(), spec, &mut show)?,
        Prompts::Share(own) => own.extract_to_store(folder.path(), spec, &mut show)?,
    };
    drop(meter);
    say(&summary(&store, was_there));
    Ok(Outcome::Complete)
}

/// The prompts whose states are computed.
enum Prompts<'a> {
    All(Vec<Vec<u32>>),
    Share(SharePrompts<'a>),
}

impl<'a> Prompts<'a> {
    /// Reads the prompts. Returns `None` if they are those of a share that is empty.
    fn read(
        options: &Options,
        model: &'a LoadedModel,
        extraction: &'a Extraction,
    ) -> Result<Option<Self>, Failure> {
        let Options { source, bos, .. } = options;
        let most = room::for_prompts();
        let prompts = match options.share {
            None => Some(Prompts::All(source.all_ids(model, *bos, most)?)),
            Some(share) => {
                let all = || source.ids(model, *bos);
                SharePrompts::read(share, extraction, &model.decoder, most, all)?.map(Prompts::Share)
            }
        };
        match prompts {
            Some(prompts) if prompts.ids().is_empty() => Err(StoreError::NoPrompts.into()),
            other => Ok(other),
        }
    }

    fn ids(&self) -> &[Vec<u32>] {
        match self {
            Prompts::All(ids) => ids,
            Prompts::Share(own) => own.ids(),
        }
    }
}

/// The advice to an interrupted run.
const CONTINUE: &str = "the same command continues where this one stopped";

/// Whether a folder holds a finished store without damage, to which nothing is written.
fn is_finished(folder: &OutputFolder) -> bool {
    Store::open(folder.path()).is_ok()
}

fn summary(store: &Store, was_there: bool) -> String {
    let manifest = store.manifest();
    let mut lines = Vec::new();
    if let Some(noise) = &manifest.noise {
        lines.extend(noise_floors(noise));
    }
    let what = match &manifest.spec.share {
        None => "a store".to_owned(),
        Some(about) => format!("share {} of a store, to be merged with the others,", about.share),
    };
    let begin = match was_there {
        false => format!("wrote {what} to {}:", store.dir().display()),
        true => {
            format!("wrote nothing: {} holds {} already:", store.dir().display(), what.trim_end_matches(','))
        }
    };
    lines.push(format!(
        "{begin} {}, {} at {}",
        counted(manifest.prompt_count, "prompt"),
        counted(manifest.row_count, "state"),
        counted(manifest.spec.taps.len(), "tap")
    ));
    lines.join("\n")
}

fn noise_floors(noise: &NoiseFloors) -> Vec<String> {
    if noise.floors.values().all(Option::is_none) {
        return vec![
            "noise floor not measured: no prompt of the sample was computed in two ways that differ"
                .to_owned(),
        ];
    }
    let sampled = counted(noise.prompts_sampled, "prompt");
    let mut lines = vec![format!(
        "noise floor over {sampled}: the largest L2 distance between a state computed in a batch and the same state computed alone"
    )];
    let floor = |floor: &Option<f64>| floor.map_or_else(|| "not measured".to_owned(), number::measured);
    lines.extend(
        noise.floors.iter().map(|(tap, found)| format!("  {:<12} {}", tap.to_string(), floor(found))),
    );
    lines
}
