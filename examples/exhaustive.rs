//! The exhaustive study: every one-token extension of the prompts with the closest states, all pairs of them.
//!
//! ```text
//! cargo run --release --example exhaustive
//! cargo run --release --example exhaustive -- --model FOLDER --prompts prompts.jsonl --closest 10 --tap block-15 --out DIR
//! ```
//!
//! Killed and run again with the same options, it goes on where it stopped.

use std::process::ExitCode;

use clap::Parser;
use inject_examples::{Failure, ModelArgs, PromptArgs, StudyArgs, finish, note, say, spec_of};
use inject_sipit::{
    collisions::{Metric, Pairs, Rows, Search, SearchOptions},
    models::Tap,
    states::{Extraction, store::Positions},
};
use inject_studies::{
    ExhaustiveOptions, ExhaustiveStudy, Quantile, Scope, exhaustive, pairs_across, pairs_within,
};

/// Measures the distances between all one-token extensions of a few prompts.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    #[command(flatten)]
    study: StudyArgs,
    /// How many prompts are extended: those whose states are closest to another's
    #[arg(long, default_value_t = 10)]
    closest: usize,
    /// Among how many prompts these are looked for
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// Tokens kept of each prompt, at most
    #[arg(long, default_value_t = 128)]
    longest: usize,
    /// Where the states are read [default: the last block]
    #[arg(long)]
    tap: Option<Tap>,
    /// Pairs of different prompts as well
    #[arg(long)]
    across: bool,
    /// Megabytes that one batch or one search may take
    #[arg(long, default_value_t = 1024)]
    memory: usize,
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    let decoder = &model.decoder;
    let n_layers = decoder.config().n_layers();
    let tap = options.tap.unwrap_or(Tap::Block(n_layers)).checked(n_layers)?;
    // One position is left for the token that is added.
    let longest = options.longest.min(decoder.config().max_len().map_or(usize::MAX, |max_len| max_len - 1));
    let prompts = options.prompts.different(&model, options.count, longest)?;
    let prefixes = closest(decoder, &prompts, tap, options.closest)?;
    let (k, v) = (prefixes.len() as u64, decoder.config().vocab_size as u64);
    note(&format!("{k} prompts times {v} tokens at {tap}: {} pairs within prompts", pairs_within(k, v)));
    if options.across {
        note(&format!("and {} across them", pairs_across(k, v)));
    }
    let spec = spec_of(&model, &options.prompts, vec![tap])?;
    let asked = ExhaustiveOptions {
        tap,
        metric: Metric::L2,
        closest: 10,
        sampled_pairs: 1_000_000,
        scope: if options.across { Scope::WithinAndAcross } else { Scope::Within },
        memory_budget: options.memory << 20,
    };
    let states = options.study.out.join("extensions");
    let study = options
        .study
        .carry_out("exhaustive", |run| exhaustive(decoder, &spec, &prefixes, &states, &asked, run))?;
    if options.study.json { Ok(()) } else { say(&table(&study, &model)) }
}

/// The first prompts of the closest pairs.
fn closest(
    decoder: &inject_sipit::models::Decoder,
    prompts: &[Vec<u32>],
    tap: Tap,
    count: usize,
) -> Result<Vec<Vec<u32>>, Failure> {
    let extraction = Extraction::new(vec![tap], Positions::Last)?;
    let states = extraction.run(decoder, prompts, &mut |_| ())?.remove(&tap).unwrap_or_default();
    let rows = Rows::new(states.view())?;
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &decoder.device())?;
    // Fewer than `count` rows make fewer pairs than this, so these pairs have as many rows as asked for.
    let pairs = search.closest_pairs(count * count.saturating_sub(1) / 2 + 1, &mut |_| ())?;
    let mut found: Vec<usize> = Vec::new();
    for row in pairs.pairs.iter().flat_map(|pair| [pair.a, pair.b]) {
        if found.len() < count && !found.contains(&row) {
            found.push(row);
        }
    }
    Ok(found.into_iter().map(|row| prompts[row].clone()).collect())
}

fn table(study: &ExhaustiveStudy, model: &inject_sipit::models::Model) -> String {
    let mut lines = vec![format!(
        "{} prompts, {} tokens, {}: {} pairs within, {} across",
        study.prefixes.len(),
        study.vocab_size,
        study.tap,
        study.pairs_within,
        study.pairs_across
    )];
    let token = |id: u32| {
        model.tokenizer().ok().and_then(|tokenizer| tokenizer.token(id)).unwrap_or_else(|| id.to_string())
    };
    if !study.twins.is_empty() {
        lines.push(format!(
            "{} pairs are of tokens that share one embedding, so they collide at every tap:",
            study.twin_pairs
        ));
        lines.extend(study.twins.iter().map(|group| {
            format!("  {}", group.iter().map(|&id| format!("{:?}", token(id))).collect::<Vec<_>>().join(" "))
        }));
    }
    for extensions in &study.extensions {
        let Some(closest) = extensions.closest.first() else { continue };
        let median = Quantile::upper_at(&extensions.quantiles, 0.5).unwrap_or(f64::NAN);
        lines.push(format!(
            "  prompts {:?}: minimum {:.4e} between {:?} and {:?}, median {:.3}, {} pairs equal",
            extensions.prefixes,
            closest.distance,
            token(closest.tokens[0]),
            token(closest.tokens[1]),
            median,
            extensions.equal_pairs
        ));
    }
    if let (Some(minimum), Some(verdict)) = (study.minimum(), study.verdict) {
        let noise = study.noise.largest();
        lines.push(format!("minimum {:.4e}, noise floor {noise:.1e}: {verdict}", minimum.distance));
    }
    lines.join("\n")
}
