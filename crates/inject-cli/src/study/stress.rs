//! `inject study stress`: prompts that were made to be similar, and repetitions of one token.

use std::num::NonZeroUsize;

use clap::Args;
use inject_sipit::models::{Bos, ModelError};
use inject_studies::{
    StudyName, repeats,
    repeats::{EqualityReason, RepeatOptions, RepeatStudy},
    stress,
    stress::{StressKind, StressSet, StressStudy, TextModel, stress_ids, stress_texts},
    tap_distances::TapOptions,
};

use crate::{
    number::{self, count},
    options::{LoadedModel, Megabytes, ModelOptions, PromptOptions, StudyOptions, TapsOption, room},
    outcome::Failure,
    plot::{Axis, Figure, Mark, distinct},
    report::Report,
    table::{Cell, Table, rows},
    token,
};

/// The words whose first token is repeated if none are given.
const WORDS: [&str; 4] = ["a", "the", "x", "0"];

/// Measure prompts that were made to be similar, and repetitions of one token
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  inject study stress --count 50 --taps block-1,block-5
  inject study stress --model FOLDER --prompts prompts.jsonl --tokens a,the --out stress

To continue a stopped run, give the same command again.")]
pub(crate) struct Options {
    #[command(flatten)]
    taps: TapsOption,
    /// The words whose first token is repeated; with --prompt-ids, token ids [default: a,the,x,0, or the first ids of the prompts]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    tokens: Vec<String>,
    /// The largest number of repetitions of a token
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = at_least_two)]
    repeats: usize,
    #[command(flatten)]
    study: StudyOptions,
    /// The most prompts in each set
    #[arg(long, value_name = "COUNT", default_value = "300", help_heading = "Prompts")]
    count: NonZeroUsize,
    #[command(flatten)]
    prompts: PromptOptions,
    #[command(flatten)]
    model: ModelOptions,
    /// Megabytes that one search may take. If given, a prompt that needs more is refused [default: 2048]
    #[arg(long, value_name = "MB")]
    memory: Option<Megabytes>,
}

fn at_least_two(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&number| number >= 2)
        .ok_or_else(|| "expected a whole number of at least 2".to_owned())
}

/// Runs both studies.
///
/// # Errors
///
/// [`Failure`] if something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.study.check_prompts(&options.prompts, 1)?;
    let study = options.study.begin("stress", &[StudyName::Stress, StudyName::Repeats])?;
    // Before the model: a file that cannot be read is said at once.
    let ids = options.prompts.ids()?;
    let texts = if ids.is_none() { options.prompts.texts(options.count.get())? } else { Vec::new() };
    let model = options.model.load()?;
    let taps = options.taps.of(&model)?;
    let hash = model.weight_hash()?;
    let Made { sets, tokens } = match ids {
        Some(prompts) => options.of_ids(&prompts)?,
        None => options.of_texts(&texts, &model)?,
    };
    let lens = sets.iter().flat_map(|set| set.prompts.iter().map(Vec::len)).chain([options.repeats + 1]);
    room::check_longest(&model.decoder, taps.len(), 0, lens, options.memory)?;
    let tap_options = TapOptions::default();
    let memory = Megabytes::bytes_or(options.memory, tap_options.memory_budget);
    let tap_options = tap_options.with_memory_budget(memory);
    let mut report = Report::new("Prompts that were made to be similar");
    report.fact("Model", model.id());
    report.fact("Weights", hash);

    let reader = TextModel::new(&model.decoder, model.tokenizer().ok(), hash);
    let found = study.carry_out(StudyName::Stress, |run| stress(&reader, &sets, &taps, &tap_options, run))?;
    let table = set_table(&found);
    study.show(&table.text());
    report.heading("Sets of prompts");
    report.table("stress", table);
    report.figure("stress", figure(&found));
    study.write(&report)?;

    let asked = RepeatOptions::new(taps, tokens, options.repeats).with_bos(model.bos_token_id());
    let repeated = study.carry_out(StudyName::Repeats, |run| repeats(&model.decoder, &asked, run))?;
    let (table, lines) = (repeat_table(&repeated, &model), conclusion(&repeated));
    study.show("");
    study.show(&table.text());
    lines.iter().for_each(|line| study.show(line));
    report.heading("Repetitions of one token");
    report.table("repeats", table);
    lines.into_iter().for_each(|line| report.paragraph(line));
    study.write(&report)?;
    study.finish();
    Ok(())
}

/// The sets of similar prompts, and the tokens to repeat.
struct Made {
    sets: Vec<StressSet>,
    tokens: Vec<u32>,
}

impl Options {
    /// Makes both from texts, for which the model needs a tokenizer.
    fn of_texts(&self, texts: &[String], model: &LoadedModel) -> Result<Made, Failure> {
        let tokenizer = model.tokenizer().map_err(|error| match error {
            ModelError::NoTokenizer { folder, .. } => Failure::new(format!(
                "{} has no tokenizer that is read, and this study makes its prompts from texts: give another tokenizer (`--tokenizer`), or prompts as token ids (`--prompt-ids`)",
                folder.display()
            )),
            other => other.into(),
        })?;
        let most = self.count.get();
        let set = |kind| {
            let texts = stress_texts(kind, texts, most);
            StressSet::of_texts(kind, &texts, tokenizer, self.prompts.bos)
        };
        let sets = StressKind::ALL.into_iter().map(set).collect::<Result<_, _>>()?;
        let words = match self.tokens.is_empty() {
            true => WORDS.map(str::to_owned).to_vec(),
            false => self.tokens.clone(),
        };
        let mut tokens = Vec::new();
        for word in &words {
            match tokenizer.encode(word, Bos::No)?.first() {
                None => return Err(Failure::usage(format!("--tokens: `{word}` has no token"))),
                Some(&id) => tokens.push(id),
            }
        }
        Ok(Made { sets, tokens: distinct(tokens.into_iter()) })
    }

    /// Makes both from prompts that are given as token ids.
    fn of_ids(&self, prompts: &[Vec<u32>]) -> Result<Made, Failure> {
        let set = |kind| Some(StressSet::new(kind, stress_ids(kind, prompts, self.count.get())?));
        let sets = StressKind::ALL.into_iter().filter_map(set).collect();
        let id = |id: &String| {
            id.trim().parse().map_err(|_| Failure::usage(format!("--tokens: `{id}` is not a token id")))
        };
        let mut tokens: Vec<u32> = self.tokens.iter().map(id).collect::<Result<_, _>>()?;
        if tokens.is_empty() {
            const LOOKED_AT: usize = 1000;
            tokens = distinct(prompts.iter().flatten().copied().take(LOOKED_AT));
            tokens.truncate(WORDS.len());
        }
        Ok(Made { sets, tokens: distinct(tokens.into_iter()) })
    }
}

fn figure(study: &StressStudy) -> Figure {
    let taps = distinct(study.sets.iter().flat_map(|set| set.taps.iter().map(|report| report.tap)));
    let names = taps.iter().map(ToString::to_string);
    let mut figure =
        Figure::new("Closest pair of each set", Axis::columns("tap", names), Axis::log("L2 distance"));
    for set in &study.sets {
        let points = set.taps.iter().map(|report| {
            let column = taps.iter().position(|tap| *tap == report.tap).unwrap_or(0);
            (column as f64, report.distances.minimum)
        });
        figure = figure.with(set.kind.to_string(), Mark::Line, points);
    }
    let floors = taps.iter().enumerate().filter_map(|(column, tap)| {
        let reports = study.sets.iter().flat_map(|set| &set.taps).filter(|report| report.tap == *tap);
        Some((column as f64, reports.filter_map(|report| report.noise.largest()).max_by(f64::total_cmp)?))
    });
    figure.with("noise floor, largest", Mark::Strokes, floors)
}

fn set_table(study: &StressStudy) -> Table {
    rows(
        "Closest pair of each set (L2)",
        study.sets.iter().flat_map(|set| set.taps.iter().map(move |report| (set, report))),
    )
    .columns([
        ("set", &|(set, _)| Cell::of(set.kind)),
        ("prompts", &|(set, _)| set.prompts.into()),
        ("tap", &|(_, report)| Cell::of(report.tap)),
        ("minimum", &|(_, report)| report.distances.minimum.into()),
        ("median", &|(_, report)| report.distances.median().into()),
        ("noise floor", &|(_, report)| report.noise.largest().into()),
        ("resolution", &|(_, report)| Cell::of(report.resolution)),
    ])
}

fn repeat_table(study: &RepeatStudy, model: &LoadedModel) -> Table {
    let positions = if study.learned_positions { "learned positions" } else { "no learned positions" };
    let title = format!("One token, once to {} times ({positions}; L2)", number::count(study.most));
    rows(title, study.repeats.iter().flat_map(|repeats| repeats.taps.iter().map(move |at| (repeats, at))))
        .columns([
            ("token", &|(repeats, _)| Cell::Text(token::printable(model, repeats.token))),
            ("id", &|(repeats, _)| Cell::of(repeats.token)),
            ("BOS", &|(repeats, _)| Cell::of(if repeats.bos.is_some() { "yes" } else { "no" })),
            ("tap", &|(_, at)| Cell::of(at.tap)),
            ("smallest", &|(_, at)| at.smallest.into()),
            ("largest", &|(_, at)| at.largest.into()),
            ("noise floor", &|(_, at)| at.noise.largest().into()),
            ("equal pairs", &|(_, at)| at.equal_pairs.into()),
            ("pairs", &|(_, at)| at.pairs.into()),
            ("largest distance is", &|(_, at)| Cell::of(at.resolution)),
        ])
}

fn conclusion(study: &RepeatStudy) -> Vec<String> {
    let (expected, found) = study.expected_and_found();
    let mut lines = vec![match expected {
        0 => "repetitions need not collide at any of these places".to_owned(),
        _ => format!(
            "repetitions must collide at {} of these places, and do at {}",
            count(expected),
            count(found)
        ),
    }];
    let reasons = study.repeats.iter().flat_map(|repeats| &repeats.taps).filter_map(|at| at.reason);
    lines.extend(distinct(reasons).iter().map(|reason: &EqualityReason| format!("because: {reason}")));
    lines
}
