//! Many prompts drafted and verified together.

use std::{
    cell::{Cell, OnceCell},
    time::{Duration, Instant},
};

use crate::{
    error::InvertError,
    inversion::Inversion,
    models::{Logits, Progress, TokenBatch, Unit},
    policy::Searcher,
    reports::shared,
    states::batches::batches_by_length,
    target::TargetStates,
    tensors::read,
    tuning::TOGETHER_FEWEST,
};

use super::{Inverter, comparison::Phase, complete, recovery::Recovery};

/// A prompt that is being recovered, and the tokens tried after its settled ones.
struct Job<'r, 'p> {
    prompt: usize,
    recovery: Recovery<'r, 'p>,
    draft: Vec<u32>,
    /// Whether common passes settle much of it.
    together: bool,
    /// The time it took up to now, with its part of common passes.
    spent: Duration,
}

impl Job<'_, '_> {
    /// Lets the time of the prompt go on. The time spent on other prompts does not count.
    fn go_on(&mut self) {
        self.recovery.comparison.watch.set_elapsed(self.spent);
    }

    /// Whether a common pass may settle more of it.
    fn may_draft_together(&mut self) -> bool {
        self.go_on();
        self.together && !self.recovery.is_complete() && self.recovery.may_draft()
    }
}

impl Inverter<'_> {
    /// Recovers many prompts. Their drafts are verified in common forward passes, within the memory budget, and the rest is
    /// repaired prompt by prompt. The tokens are those of [`Inverter::invert`]. The candidates tested on the way may differ, because
    /// common passes hold no alternatives, and distances differ by rounding.
    ///
    /// `progress` counts the settled positions of all prompts.
    ///
    /// # Example
    ///
    /// Every prompt of a store that holds all positions:
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use inject_sipit::{Inverter, Settings, TargetStates, policy::PolicyChoice};
    /// use inject_sipit::models::{Model, Origin, Precision, Tap, silent};
    /// use inject_sipit::states::store::Store;
    ///
    /// let model = Model::load(Origin::of_folder("smollm2-135m".as_ref()), Precision::default(), &Device::flex())?;
    /// let store = Store::open("states")?;
    /// let states = store.tap(Tap::Block(7))?;
    /// let target = |prompt: usize| {
    ///     let rows = states.rows_to_array(store.rows_of(prompt));
    ///     TargetStates::new(rows.mapv(f64::from), states.tap(), states.dtype().into())
    /// };
    /// let targets = (0..store.manifest().prompt_count).map(target).collect::<Result<Vec<_>, _>>()?;
    ///
    /// let inverter = Inverter::new(&model.decoder, states.tap(), Settings::new())?;
    /// let choice = PolicyChoice::auto(&model.decoder, states.tap(), targets[0].positions(), None, None);
    /// let mut searcher = inverter.searcher(&choice.policy);
    /// for inversion in inverter.invert_many(&targets, &mut searcher, &mut silent)? {
    ///     println!("{}", inversion.text(model.tokenizer()?)?.text);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Inverter::invert`]. Nothing is computed before all states are checked.
    pub fn invert_many(
        &self,
        targets: &[TargetStates],
        searcher: &mut Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Inversion>, InvertError> {
        targets.iter().try_for_each(|target| self.check(target))?;
        self.check_searcher(searcher)?;
        if self.knows_weights() || targets.iter().any(|target| !target.missing().is_empty()) {
            return targets.iter().map(|target| self.invert(target, searcher, progress)).collect();
        }
        let changed: Vec<Option<TargetStates>> =
            targets.iter().map(|target| self.recognised(target)).collect();
        let targets: Vec<&TargetStates> = targets
            .iter()
            .zip(&changed)
            .map(|(target, changed)| changed.as_ref().unwrap_or(target))
            .collect();
        let lens: Vec<usize> = targets.iter().map(|target| target.positions()).collect();
        let total = lens.iter().sum::<usize>() as u64;
        let mut inversions: Vec<(usize, Inversion)> = Vec::with_capacity(targets.len());
        let (finished, progress) = (Cell::new(0), shared(progress));
        // What takes long besides the recovery of positions shows as a recovery that stands still.
        let on_the_way = |_: Progress<'_>| {
            progress(Progress::new("recover", Unit::Positions, finished.get(), total));
        };
        for batch in batches_by_length(self.decoder, &lens, 1, self.settings.memory_budget) {
            let quiet: Vec<OnceCell<TargetStates>> = batch.iter().map(|_| OnceCell::new()).collect();
            let begin = |(&prompt, quiet)| {
                let recovery = Recovery::begin(self, targets[prompt], searcher, quiet, &on_the_way)?;
                // Measuring the noise for a prompt of this length is part of its time.
                let spent = recovery.comparison.watch.elapsed();
                Ok(Job { prompt, recovery, draft: Vec::new(), together: true, spent })
            };
            let mut jobs = batch.iter().zip(&quiet).map(begin).collect::<Result<Vec<_>, InvertError>>()?;
            self.draft_together(&mut jobs, &mut |settled| {
                progress(Progress::new("recover", Unit::Positions, finished.get() + settled, total));
            })?;
            let mut waiting: u64 = jobs.iter().map(|job| job.recovery.settled() as u64).sum();
            for mut job in jobs {
                waiting -= job.recovery.settled() as u64;
                job.go_on();
                let others = finished.get() + waiting;
                let of_prompt = |report: Progress<'_>| match Phase::is_of(&report) {
                    true => {
                        let of_all = Progress::new(report.task, Unit::Positions, others + report.done, total);
                        progress(of_all.with_part(report.part));
                    }
                    false => on_the_way(report),
                };
                let mut recovery = job.recovery;
                recovery.comparison.progress = &of_prompt;
                let inversion = complete(recovery)?;
                finished.set(finished.get() + inversion.positions.len() as u64);
                inversions.push((job.prompt, inversion));
            }
        }
        inversions.sort_by_key(|(prompt, _)| *prompt);
        Ok(inversions.into_iter().map(|(_, inversion)| inversion).collect())
    }

    /// Rounds of one draft for every open prompt and one forward pass over all of them, while that settles much. `progress`
    /// gets the number of settled positions.
    fn draft_together(
        &self,
        jobs: &mut [Job<'_, '_>],
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), InvertError> {
        loop {
            let mut active: Vec<&mut Job<'_, '_>> =
                jobs.iter_mut().filter_map(|job| job.may_draft_together().then_some(job)).collect();
            if active.len() < TOGETHER_FEWEST {
                return Ok(());
            }
            for job in &mut active {
                job.go_on();
                // A wrong token costs a common pass nothing, so alternatives are for prompts alone.
                job.draft = job.recovery.next_draft()?.unwrap_or_default().ids;
                job.spent = job.recovery.comparison.watch.elapsed();
            }
            active.retain(|job| !job.draft.is_empty());
            if active.len() < TOGETHER_FEWEST {
                return Ok(());
            }
            self.verify_together(&mut active)?;
            progress(jobs.iter().map(|job| job.recovery.settled() as u64).sum());
        }
    }

    fn verify_together(&self, jobs: &mut [&mut Job<'_, '_>]) -> Result<(), InvertError> {
        let start = Instant::now();
        let config = self.decoder.config();
        let prompts = jobs.iter().map(|job| {
            let mut ids = [job.recovery.beam[0].ids(), job.draft.clone()].concat();
            let positions = job.recovery.comparison.target.sequence_len();
            // LongRoPE depends on the length of the whole prompt, and a draft may stop short of it.
            if !config.same_rotary(ids.len(), positions) {
                ids.resize(positions, 0);
            }
            ids
        });
        let prompts: Vec<Vec<u32>> = prompts.collect();
        let tokens = TokenBatch::new(&prompts)?;
        let forward = self.decoder.forward(&tokens, &[self.tap], Logits::None)?;
        let states = read(forward.states[&self.tap].clone())?;
        let row_len = tokens.width() * config.d_model;
        let share = 1.0 / jobs.len() as f64;
        let seconds = share * start.elapsed().as_secs_f64();
        for ((job, states), ids) in jobs.iter_mut().zip(states.chunks(row_len)).zip(&prompts) {
            let draft = std::mem::take(&mut job.draft);
            let begin = job.recovery.settled();
            let states = &states[begin * config.d_model..][..draft.len() * config.d_model];
            let changed = job.recovery.comparison.target.transformation().changed(states, config.d_model);
            job.recovery.take_over(&draft, &changed, &[])?;
            // A common pass begins at the first token. A prompt of which it settles less than half of the open part is better off
            // with a cache of its own.
            let settled = job.recovery.settled() - begin;
            job.together = 2 * settled >= job.recovery.positions() - begin;
            job.recovery.comparison.cost.stage("draft").add_states(ids.len(), share, seconds);
            job.spent += Duration::from_secs_f64(seconds);
        }
        Ok(())
    }
}
