//! The stress sets: prompts that were made to be alike, and repetitions of one token.
//!
//! ```text
//! cargo run --release --example stress
//! cargo run --release --example stress -- --model FOLDER --prompts prompts.jsonl --taps block-1,block-15,block-30 --out DIR
//! ```
//!
//! Killed and run again with the same options, it goes on where it stopped.

use std::process::ExitCode;

use clap::Parser;
use inject_examples::{Failure, ModelArgs, PromptArgs, StudyArgs, finish, say};
use inject_sipit::models::{Bos, Tap};
use inject_studies::{
    RepeatOptions, RepeatStudy, StressKind, StressStudy, TapOptions, repeats, stress, stress_set,
};

/// Measures prompts that were made to be alike.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    #[command(flatten)]
    study: StudyArgs,
    /// Prompts in each set, at most
    #[arg(long, default_value_t = 300)]
    count: usize,
    /// Each token is repeated up to so often
    #[arg(long, default_value_t = 16)]
    repeats: usize,
    /// Words whose first token is repeated
    #[arg(long, value_delimiter = ',', default_value = "a,the,x,0")]
    tokens: Vec<String>,
    /// `all`, or a list such as `embedding,block-7,final-norm`
    #[arg(long, default_value = "all")]
    taps: String,
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    let tokenizer = model.tokenizer()?;
    let taps = Tap::parse_list(&options.taps, model.decoder.config().n_layers())?;
    let hash = model.weight_hash()?;
    let texts = options.prompts.texts(options.count)?;
    let sets = StressKind::ALL.map(|kind| stress_set(kind, &texts, options.count));
    let bos = options.prompts.bos;
    let device = model.decoder.device();
    let found = options.study.carry_out("stress", |run| {
        stress(&model.decoder, tokenizer, bos, &hash, &sets, &taps, &TapOptions::default(), &device, run)
    })?;

    let mut tokens = Vec::new();
    for word in &options.tokens {
        tokens.extend(tokenizer.encode(word, Bos::No)?.first().filter(|id| !tokens.contains(*id)).copied());
    }
    let asked = RepeatOptions { taps, tokens, most: options.repeats, bos: model.bos_token_id() };
    let repeated = options.study.carry_out("repeats", |run| repeats(&model.decoder, &asked, run))?;
    if options.study.json { Ok(()) } else { say(&[table(&found), repeat_table(&repeated)].join("\n\n")) }
}

fn table(study: &StressStudy) -> String {
    let mut lines = vec![format!(
        "{:<18} {:>7} {:<12} {:>10} {:>10} {:>10}  verdict",
        "set", "prompts", "tap", "minimum", "median", "noise"
    )];
    for set in &study.sets {
        lines.extend(set.taps.iter().map(|report| {
            format!(
                "{:<18} {:>7} {:<12} {:>10.3e} {:>10.3} {:>10.1e}  {}",
                set.kind.to_string(),
                set.prompts,
                report.tap.to_string(),
                report.distances.minimum,
                report.distances.median().unwrap_or(f64::NAN),
                report.noise.largest(),
                report.verdict
            )
        }));
    }
    lines.join("\n")
}

fn repeat_table(study: &RepeatStudy) -> String {
    let positions = if study.learned_positions { "learned positions" } else { "no learned positions" };
    let mut lines = vec![format!(
        "one token, once to {} times ({positions})\n{:>6} {:<4} {:<12} {:>10} {:>10} {:>10} {:>11}  largest distance is",
        study.most, "token", "BOS", "tap", "smallest", "largest", "noise", "equal pairs"
    )];
    let mut reasons = Vec::new();
    for repeats in &study.repeats {
        for at in &repeats.taps {
            lines.push(format!(
                "{:>6} {:<4} {:<12} {:>10.2e} {:>10.2e} {:>10.1e} {:>5}/{:<5}  {}",
                repeats.token,
                if repeats.bos.is_some() { "yes" } else { "no" },
                at.tap.to_string(),
                at.smallest,
                at.largest,
                at.noise.largest(),
                at.equal_pairs,
                at.pairs,
                at.verdict
            ));
            reasons.extend(at.why.filter(|why| !reasons.contains(why)));
        }
    }
    let (expected, found) = study.expected_and_found();
    lines.push(format!("repetitions must collide at {expected} of these places, and do at {found}"));
    lines.extend(reasons.into_iter().map(|why| format!("because: {why}")));
    lines.join("\n")
}
