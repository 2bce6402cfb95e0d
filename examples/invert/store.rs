//! Every prompt of a store, into a file of results that an interrupted run goes on with.

use std::{ops::Range, path::Path, time::Instant};

use indicatif::ProgressBar;
use inject_examples::{Failure, PolicyArgs, note, say};
use inject_sipit::{
    Choice, Inversion, InvertProgress, Inverter, Settings, TargetStates,
    models::{Model, Tap},
    states::store::{Positions, StateDtype, Store, TapStates},
};

use super::{
    Options, announce_scan, bar, groups::GroupLimits, jsonl::Output, report::Recovered, tally::Tally,
};

/// What a file of results is made from: a run goes on with a file only if all of this is the same.
#[derive(serde::Serialize)]
struct Job<'a> {
    version: &'static str,
    model: &'a str,
    device: String,
    weight_hash: &'a str,
    prompts_sha256: &'a str,
    prompts: usize,
    dtype: StateDtype,
    tap: Tap,
    #[serde(flatten)]
    policy: &'a PolicyArgs,
}

/// One line of the file.
#[derive(serde::Serialize)]
struct Record {
    /// The prompt, as the store counts them.
    prompt: usize,
    #[serde(flatten)]
    recovered: Recovered,
}

pub(super) fn run(options: &Options, folder: &Path) -> Result<(), Failure> {
    let (store, settings) = (open(options, folder)?, options.policy.settings()?);
    let Some(out) = &options.out else {
        let folder = folder.display();
        return Err(Failure::new(format!("{folder} is a store: give --out FILE.jsonl for its prompts")));
    };
    let deepest = store.taps().last().map(TapStates::tap);
    let states = store.tap(options.tap.or(deepest).unwrap_or(Tap::FinalNorm))?;
    let model = options.model.load()?;
    check_weights(&store, &model)?;

    let mut tally = Tally::default();
    let job = job(options, &store, states.tap());
    let mut output = Output::open(out, &job, &mut |line| tally.take(line))?;
    if tally.prompts < store.manifest().prompt_count {
        let mut run = Run { options, settings, store: &store, states, model: &model, output: &mut output };
        run.go_on(&mut tally)?;
    }
    say(&if options.json { tally.json()? } else { tally.text() })
}

/// The store, if its prompts can be recovered from it.
fn open(options: &Options, folder: &Path) -> Result<Store, Failure> {
    if options.column.is_some() {
        return Err(Failure::new("a store names its taps: choose one by --tap instead of --column"));
    }
    let store = Store::open(folder)?;
    match store.manifest().spec.positions {
        Positions::All => Ok(store),
        Positions::Last => Err(Failure::new(format!(
            "{} holds the last position of each prompt, and a prompt is recovered from all of its positions: extract with \
             --positions all",
            folder.display()
        ))),
    }
}

fn check_weights(store: &Store, model: &Model) -> Result<(), Failure> {
    let (found, expected) = (&store.manifest().spec.weight_hash, model.weight_hash()?);
    if *found == expected {
        return Ok(());
    }
    let made_by = &store.manifest().spec.model_id;
    Err(Failure::new(format!(
        "{} was made from other weights, those of {made_by}: weight hash {found}, expected {expected} of {}",
        store.dir().display(),
        model.origin().id
    )))
}

fn job<'a>(options: &'a Options, store: &'a Store, tap: Tap) -> Job<'a> {
    let manifest = store.manifest();
    Job {
        version: env!("CARGO_PKG_VERSION"),
        model: &manifest.spec.model_id,
        device: options.model.device.to_string(),
        weight_hash: &manifest.spec.weight_hash,
        prompts_sha256: &manifest.prompts_sha256,
        prompts: manifest.prompt_count,
        dtype: manifest.spec.dtype,
        tap,
        policy: &options.policy,
    }
}

/// One run over a store.
struct Run<'a> {
    options: &'a Options,
    settings: Settings,
    store: &'a Store,
    states: &'a TapStates,
    model: &'a Model,
    output: &'a mut Output,
}

impl Run<'_> {
    /// Recovers the prompts that are not in the file yet, group by group.
    fn go_on(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let manifest = self.store.manifest();
        let tap = self.states.tap();
        let mean_len = manifest.token_count / manifest.prompt_count;
        let mut choice = self.options.policy.choose(self.model, tap, mean_len)?;
        let inverter = Inverter::new(&self.model.decoder, tap, self.settings.clone())?;
        let left = self.store.prompts().skip(tally.prompts).map(<[u32]>::len).sum();
        if !self.options.json {
            note(&format!(
                "{} of {} prompts to recover at {tap}, {left} tokens; policy: {}; {}",
                manifest.prompt_count - tally.prompts,
                manifest.prompt_count,
                choice.policy,
                choice.reason
            ));
        }
        announce_scan(&inverter, left);
        let bar = bar(manifest.prompt_count, "{bar:30} {pos}/{len} prompts, {eta} left; {msg}");
        bar.set_position(tally.prompts as u64);
        bar.reset_eta();
        let lens = self.store.prompts().map(<[u32]>::len);
        for group in GroupLimits::of(&inverter, &self.options.policy).groups(lens) {
            if group.end > tally.prompts {
                self.invert(group, &inverter, &mut choice, tally, &bar)?;
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Recovers one group whole, even if some of it is in the file: what is computed together is computed alike.
    fn invert(
        &mut self,
        group: Range<usize>,
        inverter: &Inverter<'_>,
        choice: &mut Choice,
        tally: &mut Tally,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let targets = group.clone().map(|prompt| self.target(prompt)).collect::<Result<Vec<_>, _>>()?;
        let mut show = |progress: InvertProgress| {
            let (position, positions) = (progress.position + 1, progress.positions);
            let prompt = group.start + progress.prompt;
            bar.set_message(format!("prompt {prompt}, position {position} of {positions}"));
        };
        let inversions = inverter.invert_many(&targets, &mut choice.policy, &mut show)?;
        let seconds = start.elapsed().as_secs_f64();
        let own: Vec<f64> = inversions.iter().map(own_seconds).collect();
        let all = own.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut lines = String::new();
        let known = tally.prompts.saturating_sub(group.start);
        for (prompt, (inversion, own)) in group.zip(inversions.iter().zip(&own)).skip(known) {
            let ids = self.store.prompt(prompt);
            // Each prompt's share of the group's time, so that the seconds of all prompts add up to those of the run.
            let recovered = Recovered::new(self.model, inversion, Some(ids), seconds * own / all)?;
            let line = serde_json::to_string(&Record { prompt, recovered })?;
            tally.take(&line)?;
            lines += &line;
            lines.push('\n');
        }
        self.output.append(&lines)?;
        bar.set_position(tally.prompts as u64);
        Ok(())
    }

    fn target(&self, prompt: usize) -> Result<TargetStates, Failure> {
        let states = self.states.rows_to_array(self.store.rows_of(prompt));
        Ok(TargetStates::new(states.mapv(f64::from), self.states.tap(), self.states.dtype().into())?)
    }
}

/// What the stages of one inversion took.
fn own_seconds(inversion: &Inversion) -> f64 {
    inversion.cost.stages().values().map(|stage| stage.choosing_seconds + stage.testing_seconds).sum()
}
