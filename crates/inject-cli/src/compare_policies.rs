//! `inject compare-policies`: the inversion benchmark of arXiv 2510.15511, over the policies of this project.

mod contender;
mod measured;
mod record;
mod report;

use std::{num::NonZeroUsize, path::PathBuf, time::Instant};

use clap::Args;
use inject_sipit::{TargetStates, models::Progress};
use inject_studies::{StudyName, fingerprint, journal::Description};

use crate::{
    depth::Kind,
    forward::forward_seconds,
    interrupt, inverter,
    lenses::check_lenses,
    options::{LoadedModel, ModelOptions, PromptOptions, StudyOptions, TapOption},
    outcome::{Failure, Outcome},
    output::note,
};
use contender::{Contender, Terms};
use measured::{Found, Measured};
use record::Prompt;
use report::About;
pub(crate) use report::Comparison;

/// Compare the policies of inversion on the same states
#[derive(Args, Debug)]
#[command(
    long_about = "Compare the policies of inversion on the same states: the inversion benchmark of arXiv 2510.15511.\n\n\
As in the paper, prompts have 20 tokens, nine in ten are text and one is random tokens, and states are read at one tap, \
by default the middle block. Every policy gets the same states, one policy after the other, and starts without knowledge at \
each prompt unless its name says otherwise. Unlike in the paper, the time for each prompt is bounded, since its baselines \
take an hour a prompt and more. Nothing is compared with the prompts before all inversions are done.",
    after_help = "\
Examples:
  inject compare-policies --count 5 --policies random,scan,auto
  inject compare-policies --model FOLDER --lens LENSES --prompts prompts.jsonl --out compare

To continue a stopped run, give the same command again."
)]
pub(crate) struct Options {
    #[command(flatten)]
    tap: TapOption,
    /// The policies to compare [default: the baselines of the paper, scan, exhaustive, auto, auto-learning, and auto-with-lens with --lens]
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    policies: Vec<Contender>,
    /// The folder of the model's lenses, as `inject lens` writes them
    #[arg(long, value_name = "FOLDER")]
    lens: Option<PathBuf>,
    /// The most seconds a policy may spend on each prompt
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = 5.0)]
    max_seconds: f64,
    /// The seed of the policies that draw at random; each prompt adds its number
    #[arg(long, value_name = "SEED", default_value_t = 8)]
    seed: u64,
    #[command(flatten)]
    study: StudyOptions,
    /// The number of prompts of text
    #[arg(long, value_name = "COUNT", default_value = "18", help_heading = "Prompts")]
    count: NonZeroUsize,
    /// The number of prompts of random tokens [default: a ninth of --count, rounded]
    #[arg(long, value_name = "COUNT", help_heading = "Prompts")]
    random: Option<usize>,
    /// The number of tokens in each prompt
    #[arg(long, value_name = "TOKENS", default_value = "20", help_heading = "Prompts")]
    length: NonZeroUsize,
    #[command(flatten)]
    prompts: PromptOptions,
    #[command(flatten)]
    model: ModelOptions,
}

/// Measures the policies, compares what they found with the prompts, and writes tables and a figure.
///
/// # Errors
///
/// [`Failure`] if there are too few prompts, or something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    let contenders = options.contenders()?;
    options.study.check_prompts(&options.prompts, 1)?;
    let study = options.study.begin("compare-policies", &[StudyName::ComparePolicies])?;
    let model = options.model.load()?;
    let tap = options.tap.or_middle(&model)?;
    check_lenses(options.lens.as_deref(), &[tap])?;
    let prompts = options.prompts(&model)?;
    let target = |prompt: &Prompt| Ok(TargetStates::of_prompt(&model.decoder, tap, &prompt.token_ids)?);
    let targets = prompts.iter().map(target).collect::<Result<Vec<TargetStates>, Failure>>()?;
    let terms = Terms {
        model: &model,
        tap,
        positions: options.length.get(),
        lens: options.lens.as_deref(),
        max_seconds: options.max_seconds,
        seed: options.seed,
    };
    for contender in &contenders {
        // Wrong options and damaged lenses are noticed now, not after the slow policies.
        contender.settings(&terms)?;
        contender.choice(&terms, 0)?;
    }
    let about = About {
        model: model.id().to_owned(),
        device: options.model.device.device.to_string(),
        tap: tap.to_string(),
        vocab_size: model.decoder.config().vocab_size,
        tokens: options.length.get(),
        max_seconds: options.max_seconds,
        seed: options.seed,
        prompt_seed: options.prompts.prompt_seed,
        forward_seconds: forward_seconds(&model.decoder, &prompts[0].token_ids, tap)?,
    };
    note(&about.heading(&prompts, contenders.len()));
    let ids: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.token_ids.clone()).collect();
    let dependencies = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"), "model": model.weight_hash()?,
        "device": about.device, "tap": tap, "prompts": fingerprint(&ids), "max_seconds": options.max_seconds,
        "seed": options.seed, "lens": options.lens,
    });
    let journal = Description::new(StudyName::ComparePolicies, dependencies).computed_by(&model.decoder);
    let comparison = study.carry_out(StudyName::ComparePolicies, |run| {
        let compute =
            |&contender: &Contender, done: &mut dyn FnMut(f64)| measure(&terms, contender, &targets, done);
        let measured = run.complete(&journal, contenders, compute)?;
        Ok::<_, Failure>(Comparison::new(about, prompts, measured))
    })?;
    study.show(&comparison.text());
    study.write(&comparison.report(model.weight_hash()?))?;
    study.finish();
    Ok(Outcome::Complete)
}

impl Options {
    fn contenders(&self) -> Result<Vec<Contender>, Failure> {
        if !self.policies.is_empty() {
            return match (&self.lens, self.policies.iter().find(|policy| policy.needs_lens())) {
                (Some(_), None) => {
                    Err(Failure::usage("--lens needs the policy lens or auto-with-lens among --policies"))
                }
                (None, Some(policy)) => {
                    Err(Failure::usage(format!("the policy {policy} needs --lens FOLDER")))
                }
                _ => Ok(self.policies.clone()),
            };
        }
        let possible = |contender: &Contender| self.lens.is_some() || !contender.needs_lens();
        Ok(Contender::DEFAULT.into_iter().filter(possible).collect())
    }

    /// Text, and after it random tokens.
    fn prompts(&self, model: &LoadedModel) -> Result<Vec<Prompt>, Failure> {
        let text = self.count.get();
        let random = self.random.unwrap_or((text + 4) / 9);
        let found = self.prompts.text(model, text, self.length)?;
        if found.len() < text {
            let (found, length) = (found.len(), self.length);
            return Err(Failure::new(format!(
                "the text gives {found} prompts of {length} tokens, expected {text}"
            )));
        }
        let random = self.prompts.random(model, random, self.length)?;
        let text = found.into_iter().map(|token_ids| Prompt { kind: Kind::Text, token_ids });
        Ok(text.chain(random.into_iter().map(|token_ids| Prompt { kind: Kind::Random, token_ids })).collect())
    }
}

/// One policy on all prompts, which it does not know.
fn measure(
    terms: &Terms<'_>,
    contender: Contender,
    targets: &[TargetStates],
    done: &mut dyn FnMut(f64),
) -> Result<Measured, Failure> {
    let start = Instant::now();
    let inverter = inverter::prepared(&terms.model.decoder, terms.tap, contender.settings(terms)?)?;
    let first = contender.choice(terms, 0)?;
    let mut learning = inverter.searcher(&first.policy);
    let ready_seconds = start.elapsed().as_secs_f64();
    let mut inversions: Vec<Found> = Vec::with_capacity(targets.len());
    for (number, target) in targets.iter().enumerate() {
        done(number as f64 / targets.len() as f64);
        let stop = &mut |_: Progress<'_>| interrupt::check();
        let found = if contender.learns_between_prompts() {
            let start = Instant::now();
            let inversion = inverter.invert(target, &mut learning, stop)?;
            Found::new(&inversion, start.elapsed().as_secs_f64())
        } else {
            let choice = contender.choice(terms, number)?;
            let start = Instant::now();
            let inversion = inverter.invert(target, &mut inverter.searcher(&choice.policy), stop)?;
            Found::new(&inversion, start.elapsed().as_secs_f64())
        };
        inversions.push(found);
    }
    let policy = first.policy.to_string();
    Ok(Measured { policy, reason: first.reason.clone(), ready_seconds, inversions })
}
