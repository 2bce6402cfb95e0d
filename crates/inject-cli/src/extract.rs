//! `inject extract`: the states of prompts, in a store on disk.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use inject_prompts::Generator;
use inject_sipit::{
    models::{Bos, FloatFormat, Progress, Tokenizer},
    states::{
        Extraction, Share, extract_share_to_store, extract_to_store,
        prompts::{PromptError, read_ids_within},
        store::{self, BosPolicy, Positions, Store, StoreSpec},
    },
};

use crate::{
    interrupt,
    number::{self, counted},
    options::{LoadedModel, Megabytes, ModelOptions, OutputFolder, TapsOption, prompts::open_prompts, room},
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
    #[arg(long, value_name = "FORMAT", default_value_t = FloatFormat::F32)]
    dtype: FloatFormat,
    /// The folder for the store
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Do one share of the prompts, such as 1/3 for the first of three. Each share needs a folder of its own
    #[arg(long, value_name = "SHARE/SHARES", conflicts_with = "merge")]
    share: Option<Share>,
    /// Merge the stores of all shares instead of computing states
    #[arg(long, value_name = "FOLDER", num_args = 1.., conflicts_with_all = MADE_BEFORE)]
    merge: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// Whether the BOS token begins each text: auto (as the tokenizer does), yes or no
    #[arg(long, value_name = "WHEN", default_value_t = Bos::Auto, help_heading = "Prompts", conflicts_with_all = ["ids", "prompt_ids"])]
    bos: Bos,
    #[command(flatten)]
    model: ModelOptions,
    /// Megabytes that one batch may take
    #[arg(long, value_name = "MB", default_value_t = Megabytes::of_bytes(Extraction::DEFAULT_MEMORY_BUDGET))]
    memory: Megabytes,
}

/// The options of an extraction, which have no effect on a merge.
const MADE_BEFORE: [&str; 11] = [
    "taps",
    "positions",
    "dtype",
    "bos",
    "field",
    "model",
    "adapter",
    "tokenizer",
    "hold",
    "device",
    "memory",
];

/// The place of the prompts: a file, a text, or the generator.
#[derive(Args, Debug)]
#[command(next_help_heading = "Prompts")]
#[group(skip)]
#[command(group = ArgGroup::new("source").required(true).args(["prompts", "prompt_ids", "text", "ids", "generate", "merge"]))]
struct Source {
    /// A file of prompts: .txt (one a line), .jsonl, .json, .csv or .parquet (each with the field `text`)
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// The field or column of the prompts. Dots name nested fields: messages.0.content. A conversation is read as its texts [default: text]
    #[arg(long, value_name = "NAME", requires = "prompts")]
    field: Option<String>,
    /// A file of prompts as token ids, one prompt a line: 1,2,3 or [1,2,3] or {"ids": [1,2,3]}; the model needs no tokenizer
    #[arg(long, value_name = "FILE")]
    prompt_ids: Option<PathBuf>,
    /// A prompt; may be repeated
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// A prompt as token ids 1,2,3, exactly as given (no BOS is added); may be repeated
    #[arg(long, value_name = "IDS", value_parser = parse_ids)]
    ids: Vec<Ids>,
    /// The number of prompts to generate
    #[arg(long, value_name = "COUNT")]
    generate: Option<usize>,
    /// The seed of generated prompts
    #[arg(long, value_name = "SEED", default_value_t = 0xc0de, conflicts_with_all = ["prompts", "prompt_ids", "text", "ids", "merge"])]
    prompt_seed: u64,
}

/// The token ids of one prompt.
#[derive(Clone, Debug)]
pub(crate) struct Ids(pub(crate) Vec<u32>);

pub(crate) fn parse_ids(text: &str) -> Result<Ids, String> {
    let parse =
        |id: &str| id.trim().parse::<u32>().map_err(|error| format!("`{id}` is not a token id: {error}"));
    text.split(',').map(parse).collect::<Result<_, _>>().map(Ids)
}

pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    if options.merge.is_empty() { extract(options) } else { merge(options) }
}

fn merge(options: &Options) -> Result<Outcome, Failure> {
    let shares = options.merge.iter().map(Store::open).collect::<Result<Vec<_>, _>>()?;
    let folder = OutputFolder::open_or_read(&options.out)?;
    interrupt::advise(CONTINUE);
    let mut meter = Meter::new();
    let store = store::merge(&shares, folder.path(), &mut |progress| meter.show(progress))?;
    drop(meter);
    say(&summary(&store));
    Ok(Outcome::Complete)
}

fn extract(options: &Options) -> Result<Outcome, Failure> {
    let model = options.model.load()?;
    let config = model.decoder.config();
    let taps = options.taps.of(&model)?;
    let prompts = Prompts::read(options, &model)?;
    if prompts.ids.is_empty() {
        return Err(Failure::new("there are no prompts: expected at least one"));
    }
    let extraction = Extraction::new(taps, options.positions)?.with_memory_budget(options.memory.bytes());
    let values = extraction.rows(&prompts.ids) * config.d_model * extraction.taps().len();
    note(&format!(
        "{}, {}, {} of states",
        counted(prompts.ids.len(), "prompt"),
        counted(extraction.taps().len(), "tap"),
        number::bytes((values * options.dtype.bytes()) as u64)
    ));
    let taps = extraction.taps().to_vec();
    let mut spec = StoreSpec::new(model.id(), model.weight_hash()?, taps, options.positions, config.d_model)
        .with_dtype(options.dtype);
    spec.revision.clone_from(&model.origin().revision);
    spec.tokenizer_hash = model.tokenizer().ok().map(|tokenizer| tokenizer.hash().to_owned());
    spec.bos = prompts.bos;
    spec.bos_added = prompts.bos_added;
    spec = spec.computed_by(&model.decoder);
    let folder = OutputFolder::open_or_read(&options.out)?;
    interrupt::advise(CONTINUE);
    let mut meter = Meter::new();
    let mut show = |progress: Progress<'_>| meter.show(progress);
    let (decoder, ids, dir) = (&model.decoder, &prompts.ids, folder.path());
    let store = match options.share {
        None => Some(extract_to_store(&extraction, decoder, ids, dir, spec, &mut show)?),
        Some(share) => extract_share_to_store(share, &extraction, decoder, ids, dir, spec, &mut show)?,
    };
    drop(meter);
    match (store, options.share) {
        (Some(store), _) => say(&summary(&store)),
        (None, share) => {
            let share = share.unwrap_or(Share::WHOLE);
            say(&format!("share {share} is empty: there are fewer blocks of prompts than shares"));
        }
    }
    Ok(Outcome::Complete)
}

/// The advice to an interrupted run.
const CONTINUE: &str = "the same command continues where this one stopped";

/// The prompts as ids, and what was done about BOS.
struct Prompts {
    ids: Vec<Vec<u32>>,
    bos: BosPolicy,
    bos_added: bool,
}

impl Prompts {
    fn read(options: &Options, model: &LoadedModel) -> Result<Self, Failure> {
        let Source { prompts, field, prompt_ids, text, ids, generate, prompt_seed } = &options.source;
        let most = room::for_prompts();
        let given = match prompt_ids {
            Some(path) => Some(read_ids_within(path, most)?),
            None => {
                Some(ids.iter().map(|ids| ids.0.clone()).collect()).filter(|ids: &Vec<_>| !ids.is_empty())
            }
        };
        if let Some(ids) = given {
            return Ok(Prompts { ids, bos: BosPolicy::AsGiven, bos_added: false });
        }
        // One after another, because many texts take more memory than their ids.
        let texts: Box<dyn Iterator<Item = Result<String, PromptError>>> = match (prompts, generate) {
            (Some(path), _) => Box::new(open_prompts(path, field.as_deref())?),
            (None, Some(count)) => Box::new(Generator::new(*prompt_seed).take(*count).map(Ok)),
            (None, None) => Box::new(text.iter().cloned().map(Ok)),
        };
        Self::encoded(texts, model.tokenizer()?, options.bos, most)
    }

    /// Encodes texts. Their ids may take `most` bytes.
    fn encoded(
        texts: impl Iterator<Item = Result<String, PromptError>>,
        tokenizer: &Tokenizer,
        bos: Bos,
        most: usize,
    ) -> Result<Self, Failure> {
        let mut prompts = Prompts { ids: Vec::new(), bos: bos.into(), bos_added: false };
        let mut bytes = 0;
        for text in texts {
            let text = text?;
            let ids = tokenizer.encode(&text, bos)?;
            if prompts.ids.is_empty() {
                // The same for every text, so the first one tells.
                prompts.bos_added =
                    tokenizer.begins_with_bos(&ids) && tokenizer.encode(&text, Bos::No)? != ids;
            }
            bytes += size_of_val(ids.as_slice()) + size_of::<Vec<u32>>();
            if bytes > most {
                let (found, most) = (counted(prompts.ids.len() + 1, "prompt"), number::bytes(most as u64));
                return Err(Failure::new(format!(
                    "the ids of {found} take more than {most}, half of the memory that is free"
                )));
            }
            prompts.ids.push(ids);
        }
        Ok(prompts)
    }
}

fn summary(store: &Store) -> String {
    let manifest = store.manifest();
    let mut lines = Vec::new();
    if let Some(noise) = manifest.noise.as_ref().filter(|noise| noise.prompts_sampled > 0) {
        let sampled = counted(noise.prompts_sampled, "prompt");
        lines.push(format!("noise floor over {sampled}: the largest L2 distance between a state computed in a batch and the same state computed alone"));
        let floors = noise.floors.iter().filter_map(|(tap, floor)| Some((tap.to_string(), (*floor)?)));
        lines.extend(floors.map(|(tap, floor)| format!("  {tap:<12} {}", number::measured(floor))));
    }
    let what = match &manifest.spec.share {
        None => "a store".to_owned(),
        Some(about) => format!("share {} of a store, to be merged with the others,", about.share),
    };
    lines.push(format!(
        "wrote {what} to {}: {}, {} at {}",
        store.dir().display(),
        counted(manifest.prompt_count, "prompt"),
        counted(manifest.row_count, "state"),
        counted(manifest.spec.taps.len(), "tap")
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{device::DeviceKind, options::DeviceOptions};

    #[test]
    fn texts_are_encoded_as_far_as_their_ids_fit_into_memory() {
        let model = DeviceOptions { device: DeviceKind::first() }.load_bundled().unwrap();
        let read = |most: usize| {
            let texts = ["One text.", "Another one."].map(|text| Ok(text.to_owned()));
            Prompts::encoded(texts.into_iter(), model.tokenizer().unwrap(), Bos::Auto, most)
        };
        let whole = read(usize::MAX).unwrap();
        assert_eq!(whole.ids.len(), 2);
        let bytes: usize = whole.ids.iter().map(|ids| 4 * ids.len() + size_of::<Vec<u32>>()).sum();
        assert_eq!(read(bytes).unwrap().ids, whole.ids);
        let refused = read(bytes - 1).map(|prompts| prompts.ids).unwrap_err().to_string();
        assert!(refused.contains("the ids of 2 prompts take more than"), "{refused}");
    }

    #[test]
    fn ids_are_numbers_between_commas() {
        assert_eq!(parse_ids("1, 2,3").unwrap().0, [1, 2, 3]);
        assert!(parse_ids("1,x").unwrap_err().contains("`x` is not a token id"));
    }
}
