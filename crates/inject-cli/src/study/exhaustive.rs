//! `inject study exhaustive`: every one-token extension of the prompts with the closest states, all pairs of them.

use std::num::NonZeroUsize;

use clap::Args;
use inject_sipit::{
    collisions::{Pairs, Search, SearchOptions, StateRows},
    models::{Decoder, Tap},
    states::{Extraction, store::Positions},
};
use inject_studies::{
    StudyName, exhaustive,
    exhaustive::{ExhaustiveOptions, ExhaustiveStudy, Scope, pairs_across, pairs_within},
};

use super::{quantile, spec_of};
use crate::{
    number::{self, counted, measured},
    options::{LoadedModel, Megabytes, ModelOptions, PromptOptions, StudyOptions, TapOption, room},
    outcome::Failure,
    output::note,
    progress::Meter,
    report::Report,
    table::{Cell, Table, rows},
    token,
};

/// The prompts that are extended where no number is given.
const PREFIXES: usize = 10;

/// Measure the distances between all one-token extensions of a few prompts
#[derive(Args, Debug)]
#[command(
    long_about = "Measure the distances between all one-token extensions of a few prompts: those whose states are closest \
to another's. The tap is by default the last block.",
    after_help = "\
Examples:
  inject study exhaustive --prefixes 3 --count 500
  inject study exhaustive --model FOLDER --prompts prompts.jsonl --tap block-15 --out exhaustive

To continue a stopped run, give the same command again."
)]
pub(crate) struct Options {
    #[command(flatten)]
    tap: TapOption,
    /// The number of prompts to extend by every token of the vocabulary [default: 10, or all of --count if they are fewer]
    #[arg(long, value_name = "COUNT")]
    prefixes: Option<NonZeroUsize>,
    /// Compare extensions of different prompts as well
    #[arg(long)]
    across: bool,
    #[command(flatten)]
    study: StudyOptions,
    /// The number of prompts that the closest are chosen from
    #[arg(long, value_name = "COUNT", default_value = "2000", help_heading = "Prompts")]
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
/// [`Failure`] if something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if let Some(prefixes) = options.prefixes.filter(|&prefixes| prefixes > options.count) {
        return Err(Failure::usage(format!(
            "--prefixes {prefixes} is more than --count {}, from which the prefixes are chosen",
            options.count
        )));
    }
    options.study.check_prompts(&options.prompts, 1)?;
    let study = options.study.begin("exhaustive", &[StudyName::Exhaustive])?;
    let model = options.model.load()?;
    let decoder = &model.decoder;
    let tap = options.tap.or_last(&model)?;
    // One position is left for the token that is added.
    let longest = model.longest(options.longest, 1);
    let prompts = options.prompts.different(&model, options.count.get(), longest)?;
    room::check_longest(decoder, 1, 0, prompts.iter().map(Vec::len), options.memory)?;
    let asked = options.prefixes.map_or(PREFIXES, NonZeroUsize::get);
    let prefixes = closest(decoder, &prompts, tap, asked)?;
    if options.prefixes.is_some() && prefixes.len() < asked {
        note(&format!("only {} to extend, asked for {asked}", counted(prefixes.len(), "prompt")));
    }
    let (k, v) = (prefixes.len() as u64, decoder.config().vocab_size as u64);
    let across = match options.across {
        true => pairs_across(k, v),
        false => 0,
    };
    note(&format!(
        "{} states to compute, {} distances to bound or compute",
        number::count(k * v),
        number::count(pairs_within(k, v) + across)
    ));
    let spec = spec_of(&model, &options.prompts, vec![tap])?;
    let mut asked = ExhaustiveOptions::new(tap);
    asked.scope = if options.across { Scope::WithinAndAcross } else { Scope::Within };
    asked.memory_budget = Megabytes::bytes_or(options.memory, 1024 << 20);
    let states = study.folder().path().join("extensions");
    let found = study.carry_out(StudyName::Exhaustive, |run| {
        exhaustive(decoder, &spec, &prefixes, &states, &asked, run)
    })?;
    study.folder().record("extensions/");
    let mut report = Report::new("How close do one-token extensions come?");
    report.fact("Model", model.id());
    report.fact("Weights", model.weight_hash()?);
    let (table, lines) = (table(&found, &model), lines(&found, &model));
    study.show(&table.text());
    lines.iter().for_each(|line| study.show(line));
    report.table("exhaustive", table);
    lines.into_iter().for_each(|line| report.paragraph(line));
    study.write(&report)?;
    study.finish();
    Ok(())
}

/// The first prompts of the closest pairs.
fn closest(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    tap: Tap,
    count: usize,
) -> Result<Vec<Vec<u32>>, Failure> {
    let extraction = Extraction::new(vec![tap], Positions::Last)?;
    let mut meter = Meter::new();
    let states = extraction.run(decoder, prompts, &mut |progress| meter.show(progress))?;
    let states = states.get(&tap).ok_or_else(|| Failure::new(format!("no states at {tap}")))?;
    let rows = StateRows::new(states.view())?;
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &decoder.device())?;
    // Fewer than `count` rows make fewer pairs than this, so these pairs have as many rows as asked for.
    let pairs = search
        .closest_pairs(count * count.saturating_sub(1) / 2 + 1, &mut |progress| meter.show(progress))?;
    let mut found: Vec<usize> = Vec::new();
    for row in pairs.pairs.iter().flat_map(|pair| [pair.a, pair.b]) {
        if found.len() < count && !found.contains(&row) {
            found.push(row);
        }
    }
    Ok(found.into_iter().map(|row| prompts[row].clone()).collect())
}

fn table(study: &ExhaustiveStudy, model: &LoadedModel) -> Table {
    let across = match study.pairs_across {
        0 => String::new(),
        pairs => format!(" and {} across them", number::count(pairs)),
    };
    let title = format!(
        "{} times {} tokens at {}: {} pairs within prompts{across}",
        counted(study.prefixes.len(), "prompt"),
        number::count(study.vocab_size),
        study.tap,
        number::count(study.pairs_within),
    );
    let prompts = |[first, second]: [usize; 2]| match first == second {
        true => first.to_string(),
        false => format!("{first} and {second}"),
    };
    let closest =
        study.extensions.iter().filter_map(|extensions| Some((extensions, extensions.closest.first()?)));
    rows(title, closest).columns([
        ("prompts", &|(extensions, _)| Cell::Text(prompts(extensions.prefixes))),
        ("minimum", &|(_, closest)| closest.distance.into()),
        ("first token", &|(_, closest)| Cell::Text(token::printable(model, closest.tokens[0]))),
        ("second token", &|(_, closest)| Cell::Text(token::printable(model, closest.tokens[1]))),
        ("median", &|(extensions, _)| quantile(&extensions.quantiles, 0.5).into()),
        ("equal pairs", &|(extensions, _)| extensions.equal_pairs.into()),
    ])
}

/// The conclusion, and the pairs that are left out.
fn lines(study: &ExhaustiveStudy, model: &LoadedModel) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(minimum), Some(resolution)) = (study.minimum(), study.resolution) {
        let minimum = measured(minimum.distance);
        let noise = study.noise.largest().map_or_else(|| "not measured".to_owned(), measured);
        lines.push(format!("smallest distance {minimum}, noise floor {noise}: {resolution}"));
    }
    if !study.tokens_with_equal_embeddings.is_empty() {
        lines.push(format!(
            "left out: {} pairs of tokens that share one embedding, which collide by construction at every tap:",
            number::count(study.pairs_with_equal_embeddings)
        ));
        let group = |group: &Vec<u32>| {
            group.iter().map(|&id| format!("{:?}", token::printable(model, id))).collect::<Vec<_>>().join(" ")
        };
        lines.extend(study.tokens_with_equal_embeddings.iter().map(group));
    }
    lines
}
