//! Every prompt of a store, into a file of results that an interrupted run continues.

use std::{ops::Range, path::Path, time::Instant};

use inject_sipit::{
    Inverter, Searcher, Settings, TargetStates,
    models::{Progress, Tap, Unit},
    states::{
        durable::JsonLines,
        store::{Positions, Store, TapStates},
    },
};

use super::{
    Options, announce_scan, calibrations,
    groups::GroupLimits,
    job::{GivenStates, Identity, Job},
    jsonl,
    likely_cause::Describable,
    record::Record,
    report::Recovered,
    share::ResultShare,
    tally::Tally,
};
use crate::{
    inverter, number,
    number::counted,
    options::LoadedModel,
    outcome::{Failure, Outcome},
    output::note,
    progress::Meter,
};

pub(super) fn run(options: &Options, folder: &Path) -> Result<Outcome, Failure> {
    let (store, settings) = (open(options, folder)?, options.policy.settings()?);
    let Some(out) = &options.out else {
        let folder = folder.display();
        return Err(Failure::usage(format!("{folder} is a store: give --out FILE for its prompts")));
    };
    let deepest = store.taps().last().map(TapStates::tap);
    let states = store.tap(options.tap.named().or(deepest).unwrap_or(Tap::FinalNorm))?;
    let model = options.model.load()?;
    check_weights(&store, &model)?;
    options.policy.check_longest(&model.decoder, store.prompts().map(<[u32]>::len))?;

    let share = match options.share {
        None => None,
        Some(share) => {
            let inverter = inverter::prepared(&model.decoder, states.tap(), settings.clone())?;
            let groups =
                GroupLimits::of(&inverter, &options.policy).groups(store.prompts().map(<[u32]>::len));
            let share = ResultShare::of(share, &groups);
            if share.tell_if_empty(groups.len()) {
                return Ok(Outcome::Complete);
            }
            Some(share)
        }
    };
    let own = share.as_ref().map_or(0..store.manifest().prompt_count, ResultShare::range);
    let id = &store.manifest().spec.model_id;
    let job = Job::new(options, &model, id, given(&store, states.tap())?, share)?;
    let (mut output, mut tally) = jsonl::open(out, &job, own.clone(), "store")?;
    if tally.next_prompt() < own.end {
        let mut run =
            Run { options, settings, store: &store, states, model: &model, output: &mut output, own };
        run.go_on(&mut tally)?;
    }
    tally.tell(options.json, out)
}

/// Opens the store if its prompts can be recovered from it.
fn open(options: &Options, folder: &Path) -> Result<Store, Failure> {
    let input = &options.input;
    let of_files = [
        ("--column", input.column.is_some()),
        ("--tensor", input.tensor.is_some()),
        ("--axes", input.axes.is_some()),
        ("--row", input.row.is_some()),
        ("--ignore-mask", input.ignore_mask),
        ("--prefix-ids", input.prefix_ids.is_some()),
        ("--prefix", input.prefix.is_some()),
        ("--chat-template", input.chat_template.is_some()),
        ("--tap auto", options.tap.is_auto()),
    ];
    if let Some((option, _)) = of_files.into_iter().find(|(_, is_given)| *is_given) {
        return Err(Failure::usage(format!(
            "{option} is for files of states, and {} is a store, which names its taps and the tokens of its prompts: give --tap alone",
            folder.display()
        )));
    }
    let store = match options.policy.skip_checksums {
        true => Store::open_unverified(folder)?,
        false => Store::open(folder)?,
    };
    match store.manifest().spec.positions {
        Positions::All => Ok(store),
        Positions::Last => Err(Failure::new(format!(
            "{} holds the last position of each prompt, and a prompt is recovered from all of its positions: extract with \
             --positions all",
            folder.display()
        ))),
    }
}

fn check_weights(store: &Store, model: &LoadedModel) -> Result<(), Failure> {
    let (found, expected) = (&store.manifest().spec.weight_hash, model.weight_hash()?);
    if *found == expected {
        return Ok(());
    }
    let made_by = &store.manifest().spec.model_id;
    Err(Failure::new(format!(
        "{} was made from other weights, those of {made_by}: weight hash {found}, expected {expected} of {}",
        store.dir().display(),
        model.id()
    )))
}

/// The states at one tap of a store.
fn given(store: &Store, tap: Tap) -> Result<GivenStates<'_>, Failure> {
    let manifest = store.manifest();
    let identity =
        Identity::Store { prompts_sha256: &manifest.prompts_sha256, tap_states: store.fingerprint(tap)? };
    Ok(GivenStates { identity, prompts: manifest.prompt_count, dtype: manifest.spec.dtype, tap })
}

/// One run over a store.
struct Run<'a> {
    options: &'a Options,
    settings: Settings,
    store: &'a Store,
    states: &'a TapStates,
    model: &'a LoadedModel,
    output: &'a mut JsonLines,
    /// The numbers of the prompts that this share recovers.
    own: Range<usize>,
}

impl Run<'_> {
    /// Recovers the prompts that are not in the file yet, group by group.
    fn go_on(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let manifest = self.store.manifest();
        let tap = self.states.tap();
        let mean_len = manifest.token_count / manifest.prompt_count;
        let choice = self.options.policy.choose(self.model, tap, mean_len)?;
        let inverter = inverter::prepared(&self.model.decoder, tap, self.settings.clone())?;
        let missing = tally.next_prompt()..self.own.end;
        let left: usize = missing.clone().map(|prompt| self.store.prompt(prompt).len()).sum();
        note(&format!(
            "{} of {} prompts to recover at {tap}, {}; policy: {}; {}",
            number::count(missing.len()),
            number::count(manifest.prompt_count),
            counted(left, "token"),
            choice.policy,
            choice.reason
        ));
        calibrations::read(self.options, self.model, &inverter)?;
        announce_scan(&inverter, left);
        let mut taught = inverter.searcher(&choice.policy);
        let mut meter = Meter::new();
        let lens = self.store.prompts().map(<[u32]>::len);
        let limits = GroupLimits::of(&inverter, &self.options.policy);
        let end = self.own.end;
        for group in limits.groups(lens).into_iter().take_while(|group| group.start < end) {
            let is_missing = group.end > tally.next_prompt() && group.start >= self.own.start;
            if taught.learns() && limits.teaches(self.store.rows_of(group.start).start) {
                self.invert(group, &inverter, &mut taught, tally, &mut meter)?;
            } else if is_missing {
                // A copy counts its prompts from this group on, as in a run of all groups.
                let mut searcher = taught.copy(group.start);
                self.invert(group, &inverter, &mut searcher, tally, &mut meter)?;
            }
        }
        calibrations::write(self.options, self.model, &inverter)
    }

    /// Recovers one group whole, even if some or all of it is in the file: what is computed together is computed alike.
    fn invert(
        &mut self,
        group: Range<usize>,
        inverter: &Inverter<'_>,
        searcher: &mut Searcher<'_>,
        tally: &mut Tally,
        meter: &mut Meter,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let targets = group.clone().map(|prompt| self.target(prompt)).collect::<Result<Vec<_>, _>>()?;
        let (all, size) = (self.store.manifest().prompt_count as u64, group.len() as f64);
        let mut show = |progress: Progress<'_>| {
            let done = group.start as f64 + size * progress.fraction();
            let report = Progress::new("recover", Unit::Prompts, done as u64, all);
            meter.show(report.with_part(done.fract()));
        };
        let inversions = inverter.invert_many(&targets, searcher, &mut show)?;
        let seconds = start.elapsed().as_secs_f64();
        inversions.iter().for_each(|inversion| tally.calibrated(inversion));
        let mut records = Vec::new();
        let known = tally.next_prompt().saturating_sub(group.start).min(group.len());
        let mut positions = 0;
        for (prompt, inversion) in group.zip(&inversions).skip(known) {
            let ids = self.store.prompt(prompt);
            let recovered = Recovered::new(self.model, inversion, Some(ids), None)?.with_likely_cause(
                inverter.settings(),
                inverter.tap(),
                &Describable::Not,
                &[],
            );
            positions += ids.len();
            let record = Record::new(prompt, recovered);
            tally.take(&record).map_err(Failure::new)?;
            records.push(record);
        }
        if positions > 0 {
            tally.took(seconds, positions);
        }
        self.output.append_all(&records)?;
        meter.show(Progress::new("recover", Unit::Prompts, tally.next_prompt() as u64, all));
        Ok(())
    }

    fn target(&self, prompt: usize) -> Result<TargetStates, Failure> {
        let states = self.states.rows_to_array(self.store.rows_of(prompt));
        Ok(TargetStates::new(states.mapv(f64::from), self.states.tap(), self.states.dtype())?)
    }
}
