//! `inject invert`: prompts from hidden states alone.

mod beginning;
mod calibrations;
mod change;
mod chat_template;
mod files;
mod folder;
mod groups;
mod job;
mod jsonl;
mod likely_cause;
mod merge;
mod record;
mod report;
mod rows;
mod share;
mod single;
mod store;
mod table;
mod tally;
mod tap;
mod target;
mod watched;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use inject_sipit::{
    Inverter,
    models::{Bos, Model},
    settings::Scan,
    states::{Share, foreign::Axes},
};

use crate::{
    extract::{Ids, parse_ids},
    number,
    options::{ModelOptions, PolicyOptions, TapOrAutoOption},
    outcome::{Failure, Outcome},
    output::note,
};

use self::beginning::Beginning;
#[doc(hidden)]
pub use self::chat_template::text_before;
pub(crate) use self::report::{StageReport, VerdictName, stages};
#[cfg(test)]
pub(crate) use self::{record::Record, report::Report, tally::Tally};

/// Recover prompts from hidden states alone
#[derive(Args, Debug)]
#[command(
    long_about = "Recover prompts from hidden states alone.\n\n\
Without --states, the program computes the states of a prompt, forgets the prompt, recovers it from the states, and \
only then compares. With --states FILE it recovers the prompt of a file of states, as transformers, vLLM, TransformerLens \
and others write them in .safetensors, .npy, .npz or .pt (docs/interop.md lists the layouts). With --states FOLDER it \
recovers every prompt of a store that `inject extract --positions all` wrote, or of the files of states in the folder \
and those within it.\n\n\
By default the tap of a file is the one that it names. If it names none, the tap is found from the first state. The tap of a store \
is its deepest. Without --states it is the middle block.",
    after_help = format!("\
Examples:
  inject invert
  inject invert --text \"Any sentence.\" --tap block-2
  inject invert --model FOLDER --states states.safetensors --json
  inject invert --model FOLDER --states STORE --out recovered.jsonl
  inject invert --model FOLDER --states STORE --share 2/7 --out share-2.jsonl
  inject invert --merge share-1.jsonl share-2.jsonl share-3.jsonl --out recovered.jsonl

docs/schema/ describes the JSON.

{}", crate::outcome::STATUSES)
)]
pub(crate) struct Options {
    #[command(flatten)]
    tap: TapOrAutoOption,
    #[command(flatten)]
    input: Input,
    /// Write one JSON object to standard output instead of a table
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// With a store, a batch or a folder of files: the file for one JSON object a prompt. The same command continues where an earlier one stopped
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Recover one share of the prompts, such as 1/3 for the first of three. Each share needs a file of its own
    #[arg(long, value_name = "SHARE/SHARES", help_heading = "Output")]
    share: Option<Share>,
    /// Merge the files of results of all shares instead of recovering prompts
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Output")]
    merge: Vec<PathBuf>,
    #[command(flatten)]
    policy: PolicyOptions,
    /// A folder that keeps the measured noise of producers that compute in narrow formats. Measurements that it holds are not repeated
    #[arg(long, value_name = "FOLDER", help_heading = "Recovery")]
    calibrations: Option<PathBuf>,
    #[command(flatten)]
    model: ModelOptions,
}

/// The origin of the states.
#[derive(Args, Debug)]
#[command(next_help_heading = "Input")]
struct Input {
    /// Compute the states of this text, forget it, and recover it
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["ids", "states"])]
    text: Option<String>,
    /// The same for token ids such as 1,2,3, exactly as given (no BOS is added)
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with = "states")]
    ids: Option<Ids>,
    /// The file of states or the store to recover prompts from
    #[arg(long, value_name = "FILE_OR_FOLDER")]
    states: Option<PathBuf>,
    /// The column of a file that holds several taps without naming them, from 0
    #[arg(long, value_name = "NUMBER")]
    column: Option<usize>,
    /// The tensor of states in a file of several
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// The axes of a tensor that can be read in several ways: token-tap, tap-token, batch-token, tap-batch-token,
    /// batch-tap-token or batch-token-tap, each with the width of a state after them. Of a list of single rows: token or tap-token
    #[arg(long, value_name = "AXES")]
    axes: Option<Axes>,
    /// The prompt of a file that holds a batch, from 0
    #[arg(long, value_name = "NUMBER")]
    row: Option<usize>,
    /// Read all rows, whichever of them the attention mask in the file excludes
    #[arg(long)]
    ignore_mask: bool,
    /// Token ids, such as 1,2,3, that come before the first row of a file. They are taken as given and not searched
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with = "prefix")]
    prefix_ids: Option<Ids>,
    /// The same as text, with BOS before it if the tokenizer puts it there
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// The positions, such as 3,7, whose rows a file lacks. Position 0 is that of the first row, and missing rows count. A row of nothing but NaN is missing too
    #[arg(long, value_name = "POSITIONS", value_parser = parse_ids)]
    missing: Option<Ids>,
    /// The order of the rows of a file: as the prompt has them, or unknown
    #[arg(long, value_name = "ORDER", value_enum, default_value_t = RowOrder::Given)]
    order: RowOrder,
    /// The order of the coordinates in the rows of a file: that of the model, or unknown and the same in all rows
    #[arg(long, value_name = "ORDER", value_enum, default_value_t = CoordinateOrder::Given, conflicts_with = "order")]
    coordinates: CoordinateOrder,
    /// A chat template, or a tokenizer_config.json that holds one: the tokens before the text of the user are taken as given
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prefix", "prefix_ids"])]
    chat_template: Option<PathBuf>,
    /// The system prompt before the text of the user
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Whether the BOS token begins the text: auto (as the tokenizer does), yes or no
    #[arg(long, value_name = "WHEN", default_value_t = Bos::Auto, conflicts_with_all = ["ids", "states"])]
    bos: Bos,
}

/// The order of the rows of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RowOrder {
    /// The order of the prompt.
    #[default]
    Given,
    /// Unknown: the program finds it.
    Shuffled,
}

/// The order of the coordinates in the rows of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum CoordinateOrder {
    /// The order of the model.
    #[default]
    Given,
    /// Unknown, the same in all rows: the program finds it.
    Permuted,
}

/// The order of the rows and coordinates of a file, as far as it is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrangement {
    Known,
    Shuffled,
    Permuted,
}

impl Input {
    fn arrangement(&self) -> Arrangement {
        match (self.order, self.coordinates) {
            (RowOrder::Given, CoordinateOrder::Given) => Arrangement::Known,
            (RowOrder::Shuffled, _) => Arrangement::Shuffled,
            (RowOrder::Given, CoordinateOrder::Permuted) => Arrangement::Permuted,
        }
    }

    /// Refuses what describes the rows of a single prompt, where there are many.
    fn check_many(&self) -> Result<(), Failure> {
        match self.missing.is_some() || self.arrangement() != Arrangement::Known {
            true => Err(Failure::usage(
                "--missing, --order and --coordinates describe the rows of one prompt, and there are many",
            )),
            false => Ok(()),
        }
    }

    /// The positions whose rows a file lacks.
    fn missing(&self) -> Vec<usize> {
        self.missing.iter().flat_map(|missing| &missing.0).map(|&position| position as usize).collect()
    }

    /// The tokens of a chat template before the text of the user, if one is given.
    fn templated(&self, model: &Model) -> Result<Option<Beginning>, Failure> {
        let template = self.chat_template.as_deref();
        template.map(|path| chat_template::tokens_before(model, path, self.system.as_deref())).transpose()
    }

    /// The tokens before the first row, whose position is known, if an option gives them.
    fn given_before(&self, model: &Model, first: usize) -> Result<Option<Vec<u32>>, Failure> {
        Ok(match self.given(model)? {
            Some(given) => Some(given.before_row(first).to_vec()),
            None => self.templated(model)?.map(|template| template.up_to(first).to_vec()),
        })
    }

    /// The tokens before the first row, if an option gives them.
    fn given(&self, model: &Model) -> Result<Option<Beginning>, Failure> {
        match (&self.prefix_ids, &self.prefix) {
            (Some(ids), _) => Ok(Some(Beginning::of_ids(ids.0.clone()))),
            (None, Some(text)) => Ok(Some(Beginning::of_text(model, text, self.bos)?)),
            (None, None) => Ok(None),
        }
    }
}

/// Recovers one prompt, or those of a store.
///
/// # Errors
///
/// [`Failure`] if there are no states to invert, or they cannot belong to the model. States that do not fit are an outcome.
pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    if !options.merge.is_empty() {
        return merge::run(options, &options.merge);
    }
    calibrations::check(options)?;
    let Some(path) = &options.input.states else { return single::run(options, None) };
    let is_folder = path.is_dir();
    let is_store = is_folder && folder::is_store(path);
    let files = if is_folder && !is_store { folder::files_of_states(path)? } else { Vec::new() };
    let only = match &files[..] {
        [only] if options.out.is_none() && options.share.is_none() => Some(only),
        _ => None,
    };
    if is_folder && only.is_none() || options.out.is_some() {
        options.input.check_many()?;
    }
    if is_store {
        return store::run(options, path);
    }
    if is_folder && files.is_empty() {
        return Err(Failure::new(format!(
            "{} is not a store, which has a manifest.json, and neither it nor the folders within it hold files of states",
            path.display()
        )));
    }
    options.policy.check_checksums()?;
    if let Some(only) = only {
        return single::run(options, Some(only));
    }
    if is_folder {
        return files::run(options, &files, path);
    }
    if options.share.is_some() && options.out.is_none() {
        return Err(Failure::usage(
            "--share is for the prompts of a store, a batch or a folder: give --out FILE",
        ));
    }
    match options.out {
        Some(_) => files::run(options, std::slice::from_ref(path), path),
        None => single::run(options, Some(path)),
    }
}

/// Prints the cost of a scan of the whole vocabulary before it begins, since it may take hours.
fn announce_scan(inverter: &Inverter<'_>, positions: usize) {
    if inverter.settings().scan == Scan::Whole {
        let cost = inverter.scan_cost(positions);
        note(&format!(
            "testing the whole vocabulary: {} candidates, {}",
            number::count(cost.candidates),
            number::operations(cost.flop)
        ));
    }
}
