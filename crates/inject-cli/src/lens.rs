//! `inject lens`: lenses, which draft whole prompts from their states at once.

use std::{num::NonZeroUsize, path::PathBuf, time::Instant};

use clap::Args;
use inject_prompts::Generator;
use inject_sipit::{
    lens::{FirstPosition, Lens, LensBuilder, LensShare},
    models::{Bos, Progress, Tokenizer},
    states::{
        Share,
        prompts::{PromptError, check_rereadable},
    },
};

use crate::{
    number::{self, counted},
    options::{
        LoadedModel, ModelOptions, OutputFolder, TapsOption,
        prompts::{TextOptions, read_ids},
        room,
    },
    outcome::{Failure, Outcome},
    output::{note, say},
    progress::Meter,
    random_tokens::RandomTokens,
    table::{Cell, Table, rows},
};

/// Make lenses, with which a prompt is recovered in little more than one forward pass
#[derive(Args, Debug)]
#[command(after_help = "\
A lens belongs to one model and tap: its file holds the hash of the weights.

Examples:
  inject lens --taps block-2,block-3 --out lenses
  inject lens --taps block-2,block-3 --share 2/3 --out shares
  inject lens --taps block-2,block-3 --merge shares/*.safetensors --out lenses
  inject invert --lens lenses --tap block-2 --text \"Any sentence.\"")]
pub(crate) struct Options {
    #[command(flatten)]
    taps: TapsOption,
    /// The folder for the lenses
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Do one share of the passes over the vocabulary, such as 1/3 for the first of three. The text is computed by every share
    #[arg(long, value_name = "SHARE/SHARES", conflicts_with = "merge")]
    share: Option<Share>,
    /// Take the passes over the vocabulary from the files of all shares of this command
    #[arg(long, value_name = "FILE", num_args = 1..)]
    merge: Vec<PathBuf>,
    #[command(flatten)]
    text: PromptOptions,
    #[command(flatten)]
    model: ModelOptions,
}

/// The text that lenses are fitted to.
#[derive(Args, Debug)]
#[command(next_help_heading = "Prompts")]
struct PromptOptions {
    /// A file of prompts: .txt (one a line), .jsonl, .json, .csv or .parquet (each with the field `text`) [default: generated text]
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    #[command(flatten)]
    texts: TextOptions,
    /// A file of prompts as token ids, one prompt a line: 1,2,3 or [1,2,3] or {"ids": [1,2,3]}; the model needs no tokenizer
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompts", "bos"])]
    prompt_ids: Option<PathBuf>,
    /// The number of prompts to fit to
    #[arg(long, value_name = "COUNT", default_value = "600")]
    count: NonZeroUsize,
    /// The most tokens to keep of each prompt
    #[arg(long, value_name = "TOKENS", default_value = "64")]
    longest: NonZeroUsize,
    /// The number of prefixes after which every token of the vocabulary is computed
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    prefixes: usize,
    /// The number of further prefixes that end inside a word, so that the next token continues it
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    word_prefixes: usize,
    /// Whether the BOS token begins each prompt: auto (as the tokenizer does), yes or no
    #[arg(long, value_name = "WHEN", default_value_t = Bos::Auto)]
    bos: Bos,
}

/// The number of tokens in each prefix, at most.
const PREFIX: usize = 12;

pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    if options.text.prefixes + options.text.word_prefixes == 0 {
        return Err(Failure::usage(
            "--prefixes 0 and --word-prefixes 0: expected at least one of them above 0",
        ));
    }
    if options.share.is_some() || !options.merge.is_empty() {
        let mut files = [&options.text.prompts, &options.text.prompt_ids].into_iter().flatten();
        files.try_for_each(check_rereadable)?;
    }
    let load = |path: &PathBuf| LensShare::load(path);
    let shares = options.merge.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    let model = options.model.load()?;
    let builder = builder(options, &model)?;
    let folder = OutputFolder::open(&options.out)?;
    let cost = builder.cost(&model.decoder);
    note(&format!(
        "{}: {} tokens of text, {} states of the vocabulary, {}, {} of memory",
        counted(builder.taps.len(), "tap"),
        number::count(cost.text),
        number::count(cost.candidates),
        number::operations(cost.flop),
        number::bytes(cost.bytes)
    ));
    let start = Instant::now();
    let mut meter = Meter::new();
    let (decoder, weight_hash) = (&model.decoder, model.weight_hash()?);
    let mut show = |step: Progress<'_>| meter.show(step);
    if let Some(share) = options.share {
        let made = builder.build_share(share, decoder, weight_hash, &mut show)?;
        drop(meter);
        made.save(folder.path())?;
        folder.record(&LensShare::file_name(share));
        say(&format!("this run did share {share} of the vocabulary; --merge makes lenses of all shares"));
        say(&folder.summary());
        return Ok(Outcome::Complete);
    }
    let lenses = match shares.is_empty() {
        true => builder.build(decoder, weight_hash, &mut show)?,
        false => builder.build_from(&shares, decoder, weight_hash, &mut show)?,
    };
    drop(meter);
    for lens in &lenses {
        lens.save(folder.path())?;
        folder.record(&Lens::file_name(lens.info().tap));
    }
    say(&table(&lenses).text());
    say(&format!("took {}", number::seconds(start.elapsed().as_secs_f64())));
    say(&folder.summary());
    Ok(Outcome::Complete)
}

fn table(lenses: &[Lens]) -> Table {
    let positions = lenses.first().map_or(0, |lens| lens.info().positions_held_out);
    let title = format!(
        "The true token among the lens's choices, at {} held-out positions",
        number::count(positions)
    );
    rows(title, lenses.iter().map(Lens::info)).columns([
        ("tap", &|about| Cell::of(about.tap)),
        ("first choice", &|about| Cell::Share(about.held_out_top_1)),
        ("first 16", &|about| Cell::Share(about.held_out_top_16)),
        ("rank", &|about| about.rank.into()),
    ])
}

fn builder(options: &Options, model: &LoadedModel) -> Result<LensBuilder, Failure> {
    let asked = &options.text;
    let mut text = asked.prompts(model)?;
    let mut begins = text.iter().filter(|ids| ids.len() >= PREFIX).map(|ids| ids[..PREFIX].to_vec());
    let mut prefixes: Vec<Vec<u32>> = begins.by_ref().take(asked.prefixes).collect();
    match model.tokenizer() {
        Ok(tokenizer) => {
            let inside = text.iter().filter_map(|ids| cut_inside_a_word(tokenizer, ids));
            prefixes.extend(inside.take(asked.word_prefixes));
        }
        // The beginnings of words are not known.
        Err(_) => prefixes.extend(begins.take(asked.word_prefixes)),
    }
    let first = match model.bos_token_id() {
        Some(bos) if text.iter().all(|ids| ids.first() == Some(&bos)) => FirstPosition::Bos(bos),
        _ => FirstPosition::Any,
    };
    let random = random_prompts(&text, model.decoder.config().vocab_size, first);
    // Before the text, the end of which is held out to measure the lens on.
    text.splice(0..0, random);
    Ok(LensBuilder::new(options.taps.of(model)?, prefixes, text, first))
}

impl PromptOptions {
    /// The prompts as ids, cut to the longest length.
    fn prompts(&self, model: &LoadedModel) -> Result<Vec<Vec<u32>>, Failure> {
        let count = self.count.get();
        let mut prompts: Vec<Vec<u32>> = match (&self.prompt_ids, &self.prompts) {
            (Some(path), _) => read_ids(path)?.into_iter().take(count).collect(),
            (None, None) => self.encoded(model, Generator::new(0x1e45).take(count).map(Ok))?,
            (None, Some(path)) => self.encoded(model, self.texts.open(path)?.take(count))?,
        };
        prompts.iter_mut().for_each(|ids| ids.truncate(self.longest.get()));
        room::check_longest(&model.decoder, 1, 0, prompts.iter().map(Vec::len), None)?;
        Ok(prompts)
    }

    fn encoded(
        &self,
        model: &LoadedModel,
        texts: impl Iterator<Item = Result<String, PromptError>>,
    ) -> Result<Vec<Vec<u32>>, Failure> {
        let tokenizer = model.tokenizer()?;
        texts.map(|text| Ok(tokenizer.encode(&text?, self.bos)?)).collect()
    }
}

/// The beginning of a prompt up to the first token of a word that has more tokens, if there is such a word near.
fn cut_inside_a_word(tokenizer: &Tokenizer, ids: &[u32]) -> Option<Vec<u32>> {
    /// The number of tokens of the shortest prefix.
    const SHORTEST: usize = 4;
    let ends_in_letter = |token: &str| token.chars().next_back().is_some_and(|c| c.is_ascii_alphabetic());
    // A token that begins a word begins with a mark for the space before it, which is not a letter of ASCII.
    let continues = |token: &str| token.chars().all(|c| c.is_ascii_lowercase());
    let ends = |pair: &[u32]| {
        let (Some(first), Some(second)) = (tokenizer.token(pair[0]), tokenizer.token(pair[1])) else {
            return false;
        };
        ends_in_letter(&first) && !continues(&first) && continues(&second)
    };
    let end = (SHORTEST..PREFIX.min(ids.len())).find(|&end| ends(&ids[end - 1..=end]))?;
    Some(ids[..end].to_vec())
}

/// A third as many prompts of tokens drawn uniformly, as long as the text's. A lens fitted to text alone is worse on unusual
/// prompts, and one fitted to both is not worse on text.
fn random_prompts(text: &[Vec<u32>], vocab_size: usize, first: FirstPosition) -> Vec<Vec<u32>> {
    let mut tokens = RandomTokens::seeded(0x1e45, vocab_size);
    let prompt = |like: &Vec<u32>| {
        let mut ids: Vec<u32> = tokens.by_ref().take(like.len()).collect();
        if let (FirstPosition::Bos(bos), Some(first)) = (first, ids.first_mut()) {
            *first = bos;
        }
        ids
    };
    text.iter().step_by(3).map(prompt).collect()
}
