//! Writes the hidden states of prompts into a store on disk.
//!
//! ```text
//! cargo run --release --example extract -- --text "One prompt." --text "Another." --out states
//! cargo run --release --example extract -- --model FOLDER --prompts prompts.jsonl --taps all --positions last --out states
//! ```
//!
//! Killed and run again with the same options, it goes on where it stopped.

#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser};
use indicatif::{ProgressBar, ProgressStyle};
use inject_examples::{Failure, ModelArgs, finish, say};
use inject_sipit::{
    models::{Bos, Model, Tap},
    states::{
        Extraction, extract_to_store,
        prompts::read_prompts,
        store::{Positions, StateDtype, Store, StoreSpec},
    },
};

/// Writes the hidden states of prompts into a store on disk.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// `all`, or a list such as `embedding,block-7,final-norm`
    #[arg(long, default_value = "all")]
    taps: String,
    /// Which positions of each prompt: last or all
    #[arg(long, default_value_t = Positions::Last)]
    positions: Positions,
    /// Number format on disk: f32, f16 or bf16
    #[arg(long, default_value_t = StateDtype::F32)]
    dtype: StateDtype,
    /// Whether BOS stands before each text: auto follows the tokenizer
    #[arg(long, default_value_t = Bos::Auto)]
    bos: Bos,
    /// Megabytes that one batch may take
    #[arg(long, default_value_t = Extraction::DEFAULT_MEMORY_BUDGET >> 20)]
    memory: usize,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Where the prompts come from: one of the three.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct PromptArgs {
    /// A file: .txt (one prompt a line), .jsonl (field `text`) or .parquet (column `text`)
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// A prompt; may be repeated
    #[arg(long)]
    text: Vec<String>,
    /// A prompt as token ids `1,2,3`, taken exactly as given (no BOS is added); may be repeated
    #[arg(long, value_parser = parse_ids)]
    ids: Vec<Ids>,
}

/// One prompt as ids.
#[derive(Clone, Debug)]
struct Ids(Vec<u32>);

fn parse_ids(text: &str) -> Result<Ids, String> {
    let parse =
        |id: &str| id.trim().parse::<u32>().map_err(|error| format!("`{id}` is not a token id: {error}"));
    text.split(',').map(parse).collect::<Result<_, _>>().map(Ids)
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    let config = model.decoder.config();
    let taps = Tap::parse_list(&options.taps, config.n_layers())?;
    let prompts = Prompts::read(options, &model)?;
    let extraction = Extraction::new(taps, options.positions)?.with_memory_budget(options.memory << 20);
    let bytes =
        extraction.rows(&prompts.ids) * config.d_model * extraction.taps().len() * options.dtype.size();
    eprintln!(
        "{} prompts, {} taps, {:.1} MB of states",
        prompts.ids.len(),
        extraction.taps().len(),
        bytes as f64 / 1e6
    );

    let spec = StoreSpec {
        model_id: model.origin().id.clone(),
        revision: model.origin().revision.clone(),
        weight_hash: model.weight_hash()?,
        tokenizer_hash: model.tokenizer().ok().map(|tokenizer| tokenizer.hash().to_owned()),
        taps: extraction.taps().to_vec(),
        dtype: options.dtype,
        bos: prompts.bos,
        bos_added: prompts.bos_added,
        positions: options.positions,
        d_model: config.d_model,
    };
    let bar = ProgressBar::new(prompts.ids.len() as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} prompts, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let store =
        extract_to_store(&extraction, &model.decoder, &prompts.ids, &options.out, spec, &mut |progress| {
            bar.set_position(progress.prompts_done as u64);
        })?;
    bar.finish_and_clear();
    say(&summary(&store))
}

/// The prompts as ids, and what was done about BOS.
struct Prompts {
    ids: Vec<Vec<u32>>,
    bos: String,
    bos_added: bool,
}

impl Prompts {
    fn read(options: &Options, model: &Model) -> Result<Self, Failure> {
        let PromptArgs { prompts, text, ids } = &options.prompts;
        if !ids.is_empty() {
            let ids = ids.iter().map(|ids| ids.0.clone()).collect();
            return Ok(Prompts { ids, bos: "as given".to_owned(), bos_added: false });
        }
        let texts = match prompts {
            Some(path) => read_prompts(path)?,
            None => text.clone(),
        };
        let tokenizer = model.tokenizer()?;
        let encode = |text: &String| tokenizer.encode(text, options.bos);
        let ids = texts.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let without = |text: &String| tokenizer.encode(text, Bos::No);
        // The same for every text, so the first one tells.
        let bos_added = match (texts.first(), ids.first()) {
            (Some(text), Some(ids)) => tokenizer.begins_with_bos(ids) && without(text)? != *ids,
            _ => false,
        };
        Ok(Prompts { ids, bos: options.bos.to_string(), bos_added })
    }
}

fn summary(store: &Store) -> String {
    let manifest = store.manifest();
    let mut lines = vec![format!(
        "{}: {} prompts, {} rows",
        store.dir().display(),
        manifest.prompt_count,
        manifest.row_count
    )];
    if let Some(noise) = &manifest.noise {
        let sampled = noise.prompts_sampled;
        lines.push(format!(
            "noise floor over {sampled} prompts (largest L2 distance, batched against alone):"
        ));
        let floors = noise.floors.iter().filter_map(|(tap, floor)| Some((tap.to_string(), (*floor)?)));
        lines.extend(floors.map(|(tap, floor)| format!("  {tap:<12} {floor:.3e}")));
    }
    lines.join("\n")
}
