//! Recovers a prompt from hidden states alone.
//!
//! ```text
//! cargo run --release --example invert
//! cargo run --release --example invert -- --text "Any sentence." --tap block-2
//! cargo run --release --example invert -- --model FOLDER_OR_HUB_ID --states FILE.safetensors --json
//! ```
//!
//! Without `--states` the program computes the states of a prompt itself, forgets the prompt, and recovers it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use inject_examples::{Failure, ModelArgs, finish, say};
use inject_sipit::{
    Bos, Exhaustive, Extraction, Inversion, InvertProgress, Logits, Model, Position, Tap, TargetStates,
    TokenBatch, Verdict,
    foreign::{ColumnChoice, SourceDtype, StatesFile},
    store::Positions,
};

const DEFAULT_PROMPT: &str = "On Monday, Ivan and his aunt Dora were in the garden.";

/// Recovers a prompt from hidden states alone.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    /// Compute the states of this text, forget it, recover it
    #[arg(long, conflicts_with_all = ["ids", "states"])]
    text: Option<String>,
    /// The same with token ids, taken exactly as given (no BOS is added)
    #[arg(long, value_delimiter = ',', conflicts_with = "states")]
    ids: Option<Vec<u32>>,
    /// Recover the prompt of states in a file, .safetensors or .npy, one row a position
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
    /// Which column of a file that holds several taps without naming them (from 0)
    #[arg(long, requires = "states")]
    column: Option<usize>,
    /// Where the states are read: embedding, block-N or final-norm [default: as the file says, else the middle block]
    #[arg(long)]
    tap: Option<Tap>,
    /// Whether BOS stands before the text: auto follows the tokenizer
    #[arg(long, default_value_t = Bos::Auto)]
    bos: Bos,
    /// How candidates are chosen
    #[arg(long, value_enum, default_value_t = Policy::Exhaustive)]
    policy: Policy,
    /// Candidates computed at once
    #[arg(long, default_value_t = Exhaustive::default().batch)]
    batch: usize,
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
}

/// How candidates are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// The whole vocabulary at every position
    Exhaustive,
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    let (target, prompt) = target(options, &model)?;
    let start = Instant::now();
    let Policy::Exhaustive = options.policy;
    let policy = Exhaustive { batch: options.batch };
    let bar = bar(target.positions());
    let inversion = policy.invert(&model.decoder, &target, &mut |progress| show(&bar, progress))?;
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();

    let report = Report::new(&model, target.tap(), &inversion, prompt.as_deref(), seconds)?;
    say(&if options.json { serde_json::to_string(&report)? } else { report.table(&model) })
}

/// The states to invert, and the prompt where somebody knows it: only to compare with at the end.
fn target(options: &Options, model: &Model) -> Result<(TargetStates, Option<Vec<u32>>), Failure> {
    if let Some(path) = &options.states {
        return from_file(options, path);
    }
    let prompt = match (&options.ids, &options.text) {
        (Some(ids), _) => ids.clone(),
        (None, Some(text)) => model.tokenizer()?.encode(text, options.bos)?,
        (None, None) => model.tokenizer()?.encode(DEFAULT_PROMPT, options.bos)?,
    };
    let n_layers = model.decoder.config().n_layers();
    let tap = options.tap.unwrap_or(Tap::Block(n_layers.div_ceil(2))).checked(n_layers)?;
    let extraction = Extraction::new(vec![tap], Positions::All)?;
    let mut states = extraction.run(&model.decoder, std::slice::from_ref(&prompt), &mut |_| ())?;
    let states = states.remove(&tap).ok_or_else(|| Failure::new(format!("no states at {tap}")))?;
    Ok((TargetStates::new(states.mapv(f64::from), tap, SourceDtype::F32)?, Some(prompt)))
}

fn from_file(options: &Options, path: &Path) -> Result<(TargetStates, Option<Vec<u32>>), Failure> {
    let mut file = StatesFile::open(path)?;
    let named = file.taps().map(<[Tap]>::to_vec);
    if file.columns() > 1 && named.is_none() && options.column.is_none() {
        let (path, columns) = (path.display(), file.columns());
        return Err(Failure::new(format!(
            "{path} holds {columns} taps without naming them: give --column and --tap"
        )));
    }
    let (column, tap) = match (options.column, options.tap, named.as_deref()) {
        (Some(column), Some(tap), _) => (ColumnChoice::Index(column), tap),
        (None, Some(tap), Some([_, ..])) => (ColumnChoice::Tap(tap), tap),
        (None, Some(tap), _) => (ColumnChoice::Only, tap),
        (None, None, Some([tap])) => (ColumnChoice::Only, *tap),
        (Some(column), None, Some(taps)) if column < taps.len() => {
            (ColumnChoice::Index(column), taps[column])
        }
        (_, None, _) => {
            return Err(Failure::new(format!(
                "{} does not say which tap it holds: give --tap",
                path.display()
            )));
        }
    };
    let states = file.column(column)?;
    Ok((TargetStates::new(states, tap, file.dtype())?, file.token_ids().map(<[u32]>::to_vec)))
}

fn bar(positions: usize) -> ProgressBar {
    let bar = ProgressBar::new(positions as u64);
    let style = ProgressStyle::with_template("{msg} {bar:30} {elapsed} of about {duration}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn show(bar: &ProgressBar, progress: InvertProgress) {
    let steps = progress.vocab_size as u64;
    bar.set_length(progress.positions as u64 * steps);
    bar.set_position(progress.position as u64 * steps + progress.candidates_tested as u64);
    bar.set_message(format!("position {} of {}", progress.position + 1, progress.positions));
}

/// What is reported: one JSON object.
#[derive(serde::Serialize)]
struct Report {
    model: String,
    tap: Tap,
    token_ids: Vec<u32>,
    /// None where the model has no tokenizer.
    text: Option<String>,
    /// Whether the text encodes to the same ids again.
    text_encodes_back: Option<bool>,
    /// Every position verified, and equal to the prompt where that is known.
    exact: bool,
    verdicts: Vec<Row>,
    seconds: f64,
    forward_seconds: f64,
    forward_pass_equivalents: f64,
    /// Matrix products alone, per second of the inversion.
    gflop_per_second: f64,
}

/// One position of the report.
#[derive(serde::Serialize)]
struct Row {
    position: usize,
    #[serde(flatten)]
    verdict: Verdict,
    token_id: u32,
    distance: f64,
    runner_up: Option<f64>,
    runner_up_token_id: Option<u32>,
    margin: Option<f64>,
    noise_floor: f64,
    candidates_tested: usize,
}

impl Row {
    fn new(position: &Position) -> Self {
        Row {
            position: position.position,
            verdict: position.verdict.clone(),
            token_id: position.token_id,
            distance: position.distance,
            runner_up: position.runner_up.map(|ranked| ranked.distance),
            runner_up_token_id: position.runner_up.map(|ranked| ranked.id),
            margin: position.margin,
            noise_floor: position.noise_floor,
            candidates_tested: position.candidates_tested,
        }
    }
}

impl Report {
    fn new(
        model: &Model,
        tap: Tap,
        inversion: &Inversion,
        prompt: Option<&[u32]>,
        seconds: f64,
    ) -> Result<Self, Failure> {
        let token_ids = inversion.token_ids();
        let text = match model.tokenizer() {
            Ok(tokenizer) => Some(inversion.text(tokenizer)?),
            Err(_) => None,
        };
        let forward_seconds = forward_seconds(model, &token_ids, tap)?;
        let flop = model.decoder.config().flops_per_token(tap) * inversion.candidates_tested() as f64;
        Ok(Report {
            model: model.origin().id.clone(),
            tap,
            exact: inversion.is_verified() && prompt.is_none_or(|prompt| prompt == token_ids),
            token_ids,
            text_encodes_back: text.as_ref().map(|text| text.encodes_back),
            text: text.map(|text| text.text),
            verdicts: inversion.positions.iter().map(Row::new).collect(),
            seconds,
            forward_seconds,
            forward_pass_equivalents: seconds / forward_seconds,
            gflop_per_second: flop / seconds / 1e9,
        })
    }

    /// The report for a person.
    fn table(&self, model: &Model) -> String {
        let heading =
            ["distance", "runner-up", "margin", "noise floor"].map(|name| format!("{name:>11}")).join(" ");
        let mut lines = vec![format!("{:>4}  {:<16} {:<10} {heading}", "pos", "token", "verdict")];
        let number =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3e}"));
        for row in &self.verdicts {
            let text = model.tokenizer().ok().and_then(|tokenizer| tokenizer.token(row.token_id));
            let token = text.map_or_else(|| row.token_id.to_string(), |text| shortened(&text));
            let verdict = match &row.verdict {
                Verdict::Verified => "verified".to_owned(),
                Verdict::Ambiguous { candidates } => format!("1 of {}", candidates.len()),
                Verdict::Failed => "failed".to_owned(),
            };
            let numbers = [Some(row.distance), row.runner_up, row.margin, Some(row.noise_floor)];
            let numbers = numbers.map(|value| format!("{:>11}", number(value))).join(" ");
            lines.push(format!("{:>4}  {token:<16} {verdict:<10} {numbers}", row.position));
        }
        lines.push(String::new());
        lines.push(match &self.text {
            Some(text) => format!("recovered: {text}"),
            None => format!("recovered ids: {:?}", self.token_ids),
        });
        let exact = if self.exact { "exact" } else { "NOT exact" };
        let back = match self.text_encodes_back {
            Some(false) => "; the text encodes to other ids: trust the ids",
            Some(true) | None => "",
        };
        let tokens = self.token_ids.len();
        lines.push(format!("{exact}: {tokens} tokens from states at {} of {}{back}", self.tap, self.model));
        lines.push(format!(
            "{:.2} s, {:.0} forward passes of the prompt, {:.0} GFLOP/s in matrix products",
            self.seconds, self.forward_pass_equivalents, self.gflop_per_second
        ));
        if let Some(row) = self.verdicts.iter().find(|row| row.verdict == Verdict::Failed) {
            lines.push(format!(
                "nothing fits from position {} on: the best found so far is shown",
                row.position
            ));
        }
        lines.join("\n")
    }
}

/// A token within the width of the table.
fn shortened(token: &str) -> String {
    const WIDTH: usize = 16;
    let printable: String = token.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if printable.chars().count() <= WIDTH {
        printable
    } else {
        printable.chars().take(WIDTH - 1).chain(['~']).collect()
    }
}

/// Time of one forward pass of the prompt to the tap: the best of three.
fn forward_seconds(model: &Model, token_ids: &[u32], tap: Tap) -> Result<f64, Failure> {
    let tokens = TokenBatch::new(&[token_ids])?;
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        model.decoder.forward(&tokens, &[tap], Logits::None)?;
        model.decoder.device().sync()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
