//! Low precision, quantisation and noise: what they do to distances, to one-step decoding, and to whole prompts.
//!
//! ```text
//! cargo run --release --example precision
//! cargo run --release --example precision -- --model FOLDER --prompts FILE.jsonl --lens DIR --taps block-1,block-15,block-30
//! ```
//!
//! Three parts, each resumable: `formats` (closest pairs of many prompts), `decoding` (every token of the vocabulary behind a
//! true prefix) and `recovery` (whole prompts). Four things are kept apart: quantised weights on both sides, quantised weights on the
//! producing side alone, rounded or damaged states, added noise. docs/precision.md says what the numbers mean.

mod figures;
mod tables;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Parser, ValueEnum};
use inject_examples::{Failure, ModelArgs, PromptArgs, StudyArgs, beginning, finish, lens_for, note, say};
use inject_sipit::{
    Choice, Lens,
    models::{Decoder, Model, Tap, WeightFormat},
    states::Disturbance,
};
use inject_studies::{
    Condition, DecodingOptions, FormatOptions, Held, Producer, RecoveryOptions, decoding, formats, recovery,
};

/// Measures what narrow formats and noise leave of a prompt.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    #[command(flatten)]
    study: StudyArgs,
    /// The parts to carry out
    #[arg(long, value_enum, value_delimiter = ',', default_value = "formats,decoding,recovery")]
    parts: Vec<Part>,
    /// `all`, or a list such as `embedding,block-7,final-norm`
    #[arg(long, default_value = "all")]
    taps: String,
    /// Formats of weights: f16, bf16, int8, int4, nf4, fp4
    #[arg(long, value_delimiter = ',', default_value = "f16,bf16,int8,int4,nf4,fp4")]
    weights: Vec<WeightFormat>,
    /// What happens to states: f16, bf16, int8-row, int8-tensor, int4-row, int4-tensor, dropout:SHARE, clip:TIMES, noise:NORM
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "f16,bf16,int8-row,int8-tensor,int4-row,int4-tensor,dropout:0.1,dropout:0.5,clip:2"
    )]
    states: Vec<Disturbance>,
    /// Noise on whole prompts, as shares of the prompt's least margin
    #[arg(long, value_delimiter = ',', default_value = "0.25,0.5,1,2")]
    noise: Vec<f64>,
    /// Numbers of dimensions onto which states are projected
    #[arg(long, value_delimiter = ',', default_value = "4,16,64")]
    dimensions: Vec<usize>,
    /// Different prompts whose closest pair is looked for
    #[arg(long, default_value_t = 2000)]
    pairs_of: usize,
    /// Prompts for one-step decoding
    #[arg(long, default_value_t = 8)]
    count: usize,
    /// Every so many positions of them are decoded
    #[arg(long, default_value_t = 4)]
    every: usize,
    /// Random directions of noise at each of these positions
    #[arg(long, default_value_t = 32)]
    directions: usize,
    /// Whole prompts that are inverted under each condition
    #[arg(long, default_value_t = 2)]
    whole: usize,
    /// The taps of the whole prompts [default: three of --taps, evenly spread]
    #[arg(long)]
    whole_taps: Option<String>,
    /// Tokens of each prompt
    #[arg(long, default_value_t = 24)]
    length: usize,
    /// The folder with the model's lenses, as the lens program writes them
    #[arg(long, value_name = "DIR")]
    lens: Option<PathBuf>,
    /// Candidates tested beside one that fits before it is accepted
    #[arg(long, default_value_t = 64)]
    rivals: usize,
    /// Candidates tested at each position of a whole prompt, at most; at least the vocabulary means a full scan, and a certificate
    #[arg(long, default_value_t = 4096)]
    max_candidates: usize,
    /// Seed of disturbances, directions and projections
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Megabytes that one batch may take
    #[arg(long, default_value_t = 1024)]
    memory: usize,
}

/// A part of the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Closest pairs of many prompts in each format
    Formats,
    /// Every token of the vocabulary behind a true prefix
    Decoding,
    /// Whole prompts
    Recovery,
}

fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let model = options.model.load()?;
    let taps = Tap::parse_list(&options.taps, model.decoder.config().n_layers())?;
    let hash = model.weight_hash()?;
    let experiment = Experiment { options, model, taps, hash };
    for part in [Part::Formats, Part::Decoding, Part::Recovery] {
        if options.parts.contains(&part) {
            match part {
                Part::Formats => experiment.formats()?,
                Part::Decoding => experiment.decoding()?,
                Part::Recovery => experiment.recovery()?,
            }
        }
    }
    Ok(())
}

struct Experiment<'a> {
    options: &'a Options,
    model: Model,
    taps: Vec<Tap>,
    hash: String,
}

impl Experiment<'_> {
    fn formats(&self) -> Result<(), Failure> {
        let Options { study, prompts, weights, states, .. } = self.options;
        let prompts = prompts.different(&self.model, self.options.pairs_of, self.options.length)?;
        let held = [Held::AsComputed]
            .into_iter()
            .chain(weights.iter().map(|&format| Held::Weights(format)))
            // What draws lots for each state says nothing about how close two of them were.
            .chain(
                states
                    .iter()
                    .filter(|disturbance| !disturbance.draws_lots())
                    .map(|&disturbance| Held::States(disturbance)),
            );
        let asked = FormatOptions {
            taps: self.taps.clone(),
            held: held.collect(),
            seed: self.options.seed,
            noise_sample: 8,
            memory_budget: self.options.memory << 20,
        };
        let found = study
            .carry_out("formats", |run| formats(&self.model.decoder, &self.hash, &prompts, &asked, run))?;
        tables::formats(&found).write(&study.out, "formats")?;
        figures::formats(&found, &self.model.origin().id, &study.out)?;
        self.show(&tables::formats(&found).text())
    }

    fn decoding(&self) -> Result<(), Failure> {
        let Options { study, prompts, weights, states, .. } = self.options;
        let prompts = prompts.text(&self.model, self.options.count, self.options.length)?;
        let asked = DecodingOptions {
            taps: self.taps.clone(),
            first: 0,
            every: self.options.every,
            disturbances: states.clone(),
            directions: self.options.directions,
            dimensions: self.options.dimensions.clone(),
            seed: self.options.seed,
            memory_budget: self.options.memory << 20,
        };
        let quantised: Vec<(String, Decoder)> = weights
            .iter()
            .map(|&format| {
                let decoder = self.model.decoder.clone().with_weights_in(format)?;
                Ok((Condition::UnknownWeights { weights: format }.to_string(), decoder))
            })
            .collect::<Result<_, Failure>>()?;
        let producers: Vec<Producer<'_>> =
            quantised.iter().map(|(name, decoder)| Producer { name, decoder }).collect();
        let found = study.carry_out("decoding", |run| {
            decoding(&self.model.decoder, &self.hash, &producers, &prompts, &asked, run)
        })?;
        for (name, table) in [
            ("decoding", tables::decoding(&found)),
            ("breaking", tables::breaking(&found)),
            ("survival", tables::survival(&found)),
            ("projections", tables::projections(&found)),
        ] {
            table.write(&study.out, name)?;
            if name != "survival" {
                self.show(&table.text())?;
            }
        }
        figures::decoding(&found, &self.model.origin().id, &study.out)
    }

    fn recovery(&self) -> Result<(), Failure> {
        let Options { study, prompts, weights, states, noise, .. } = self.options;
        let prompts = prompts.text(&self.model, self.options.whole, self.options.length)?;
        let conditions = [Condition::Exact]
            .into_iter()
            .chain(weights.iter().flat_map(|&weights| {
                [Condition::KnownWeights { weights }, Condition::UnknownWeights { weights }]
            }))
            .chain(states.iter().map(|&disturbance| Condition::States { disturbance }))
            .chain(noise.iter().map(|&share_of_margin| Condition::Noise { share_of_margin }));
        let taps = match &self.options.whole_taps {
            None => three_of(&self.taps),
            Some(list) => Tap::parse_list(list, self.model.decoder.config().n_layers())?,
        };
        let lenses = self.lenses(&taps)?;
        let asked = RecoveryOptions {
            taps,
            conditions: conditions.collect(),
            rivals: self.options.rivals,
            most_candidates: self.options.max_candidates,
            seed: self.options.seed,
        };
        let bos = beginning(&self.model);
        let mut policy = |decoder: &Decoder, tap: Tap| {
            Ok(Choice::auto(decoder, tap, self.options.length, lenses.get(&tap).cloned(), bos).policy)
        };
        let found = study.carry_out("recovery", |run| {
            recovery(&self.model.decoder, &self.hash, &prompts, &asked, &mut policy, run)
        })?;
        tables::recovery(&found).write(&study.out, "recovery")?;
        figures::recovery(&found, &self.model.origin().id, &study.out)?;
        self.show(&tables::recovery(&found).text())
    }

    fn lenses(&self, taps: &[Tap]) -> Result<BTreeMap<Tap, Arc<Lens>>, Failure> {
        let mut lenses = BTreeMap::new();
        for &tap in taps {
            match lens_for(self.options.lens.as_deref(), &self.model, tap)? {
                Some(lens) => {
                    lenses.insert(tap, lens);
                }
                None if self.options.lens.is_some() => note(&format!("no lens for {tap}")),
                None => {}
            }
        }
        Ok(lenses)
    }

    fn show(&self, text: &str) -> Result<(), Failure> {
        if self.options.study.json { Ok(()) } else { say(&format!("{text}\n")) }
    }
}

/// The first behind the embedding, the one in the middle and the last.
fn three_of(taps: &[Tap]) -> Vec<Tap> {
    let behind: Vec<Tap> = taps.iter().copied().filter(|&tap| tap != Tap::Embedding).collect();
    let behind = if behind.is_empty() { taps } else { &behind };
    let mut three = vec![behind[0], behind[behind.len() / 2], behind[behind.len() - 1]];
    three.dedup();
    three
}
