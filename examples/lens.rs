//! Makes lenses: what drafts whole prompts from states at once, so that inversion takes little more than a forward pass.
//!
//! ```text
//! cargo run --release --example lens -- --model FOLDER_OR_HUB_ID --taps all --out DIR
//! cargo run --release --example invert -- --model FOLDER_OR_HUB_ID --lens DIR --tap block-15 --text "Any sentence."
//! ```
//!
//! A lens belongs to one model: its files carry the hash of the weights. They are made from text: that of `--text`, or the
//! project's generator's.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use inject_examples::{Failure, ModelArgs, RandomTokens, finish, say};
use inject_prompts::Generator;
use inject_sipit::{
    FirstPosition, LensBuilder, LensProgress,
    models::{Bos, Model, Tap, Tokenizer},
    states::prompts::read_prompts,
};

/// Makes the lenses of a model.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    /// The taps to make lenses for: all, or a list such as block-7,block-15,final-norm
    #[arg(long, default_value = "all")]
    taps: String,
    /// Prompts to fit the lenses to (.txt, .jsonl, .parquet) [default: the project's own generated text]
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// How many of them
    #[arg(long, default_value_t = 600)]
    prompts: usize,
    /// Tokens kept of each
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Beginnings of prompts behind which every token of the vocabulary is computed
    #[arg(long, default_value_t = 2)]
    prefixes: usize,
    /// The same, beginnings that end inside a word: there a token is read as part of the word, and its state in deep blocks is
    /// another
    #[arg(long, default_value_t = 2)]
    word_prefixes: usize,
    /// Whether BOS stands before each prompt: auto follows the tokenizer
    #[arg(long, default_value_t = Bos::Auto)]
    bos: Bos,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Tokens of each prefix.
const PREFIX: usize = 12;

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    std::fs::create_dir_all(&options.out)?;
    let builder = builder(options, &model)?;
    let cost = builder.cost(&model.decoder);
    say(&format!(
        "{}: {} tokens of text, {} states of the vocabulary, {:.1} TFLOP, {:.1} GB",
        match builder.taps.len() {
            1 => "1 tap".to_owned(),
            taps => format!("{taps} taps"),
        },
        cost.text,
        cost.candidates,
        cost.flop / 1e12,
        cost.bytes as f64 / 1e9
    ))?;
    let start = Instant::now();
    let bar = ProgressBar::new(1);
    let style = ProgressStyle::with_template("{msg:>20} {bar:30} {elapsed} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let lenses = builder.build(&model.decoder, &model.weight_hash()?, &mut |step| show(&bar, step))?;
    bar.finish_and_clear();
    for lens in &lenses {
        let path = lens.save(&options.out)?;
        let about = lens.about();
        say(&format!(
            "{:>10}: {:>5.1} % first, {:>5.1} % among 16, of {} held-out positions; rank {}, {} kB",
            about.tap.to_string(),
            100.0 * about.held_out_top_1,
            100.0 * about.held_out_top_16,
            about.positions_held_out,
            about.rank,
            std::fs::metadata(&path)?.len() / 1000
        ))?;
    }
    say(&format!("{:.1} s, {}", start.elapsed().as_secs_f64(), options.out.display()))
}

fn builder(options: &Options, model: &Model) -> Result<LensBuilder, Failure> {
    let tokenizer = model.tokenizer()?;
    let texts: Vec<String> = match &options.text {
        None => Generator::new(0x1e45).take(options.prompts).collect(),
        Some(path) => read_prompts(path)?.into_iter().take(options.prompts).collect(),
    };
    let text = texts.iter().map(|text| {
        let mut ids = tokenizer.encode(text, options.bos)?;
        ids.truncate(options.window);
        Ok(ids)
    });
    let mut text = text.collect::<Result<Vec<Vec<u32>>, Failure>>()?;
    let begins = text.iter().filter(|ids| ids.len() >= PREFIX).map(|ids| ids[..PREFIX].to_vec());
    let inside = text.iter().filter_map(|ids| cut_inside_a_word(tokenizer, ids));
    let prefixes = begins.take(options.prefixes).chain(inside.take(options.word_prefixes)).collect();
    let first = match model.bos_token_id() {
        Some(bos) if text.iter().all(|ids| ids.first() == Some(&bos)) => FirstPosition::Bos(bos),
        _ => FirstPosition::Any,
    };
    let random = random_prompts(&text, model.decoder.config().vocab_size, first);
    // Before the text, the end of which is held out to measure the lens on.
    text.splice(0..0, random);
    Ok(LensBuilder {
        taps: Tap::parse_list(&options.taps, model.decoder.config().n_layers())?,
        prefixes,
        text,
        first,
    })
}

/// The beginning of a prompt up to the first token of a word that has more, where there is such a word near.
fn cut_inside_a_word(tokenizer: &Tokenizer, ids: &[u32]) -> Option<Vec<u32>> {
    /// The shortest prefix.
    const SHORTEST: usize = 4;
    let ends_in_letter = |token: &str| token.chars().next_back().is_some_and(|c| c.is_ascii_alphabetic());
    // Tokens that begin a word begin with a mark for the space before it, which is no letter of ASCII.
    let goes_on = |token: &str| token.chars().all(|c| c.is_ascii_lowercase());
    let ends = |pair: &[u32]| {
        let (Some(first), Some(second)) = (tokenizer.token(pair[0]), tokenizer.token(pair[1])) else {
            return false;
        };
        ends_in_letter(&first) && !goes_on(&first) && goes_on(&second)
    };
    let end = (SHORTEST..PREFIX.min(ids.len())).find(|&end| ends(&ids[end - 1..=end]))?;
    Some(ids[..end].to_vec())
}

/// A third as many prompts of tokens drawn uniformly, as long as the text's: a lens fitted to text alone is worse where a prompt is
/// not ordinary, and one fitted to both is no worse on text.
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

fn show(bar: &ProgressBar, step: LensProgress) {
    let (message, done, of) = match step {
        LensProgress::Text { done, of } => ("text", done, of),
        LensProgress::Fit { done, of } => ("fit", done, of),
        LensProgress::Vocabulary { done, of } => ("vocabulary", done, of),
        LensProgress::Measure { done, of } => ("measure", done, of),
    };
    bar.set_message(message);
    bar.set_length(of as u64);
    bar.set_position(done as u64);
}
