//! Many prompts drafted and verified together.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use inject_collisions::{
    models::{Logits, TokenBatch},
    states::batches_by_length,
};

use super::{Inverter, Phase, Progress, Run};
use crate::{Inversion, InvertError, Policy, TargetStates, hypothesis::Hypothesis, read};

/// A prompt on its way, with the tokens that are being tried behind what is settled.
struct Job<'a> {
    hypothesis: Hypothesis,
    run: Run<'a>,
    draft: Vec<u32>,
    /// Whether common passes settle much of it.
    together: bool,
    /// The time it took up to now, its part of common passes included.
    spent: Duration,
}

impl Job<'_> {
    /// Lets the time of the prompt go on: it is each prompt's own, and what was done for others does not count.
    fn go_on(&mut self) {
        let now = Instant::now();
        self.run.start = now.checked_sub(self.spent).unwrap_or(now);
    }
}

impl Inverter<'_> {
    /// Recovers many prompts: their drafts are verified in common forward passes, within the memory budget; what those leave
    /// open is repaired prompt by prompt. The tokens are those of [`Inverter::invert`]. What is tested on the way to them may differ, as
    /// common passes hold no alternatives, and distances by rounding.
    ///
    /// # Example
    ///
    /// Every prompt of a store that holds all positions:
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use inject_sipit::{Choice, Inverter, Model, Origin, Precision, Settings, Tap, TargetStates, store::Store};
    ///
    /// let model = Model::load(Origin::of_folder("smollm2-135m".as_ref()), Precision::F32, &Device::flex())?;
    /// let store = Store::open("states")?;
    /// let states = store.tap(Tap::Block(7))?;
    /// let target = |prompt: usize| {
    ///     let rows = states.rows_to_array(store.rows_of(prompt));
    ///     TargetStates::new(rows.mapv(f64::from), states.tap(), states.dtype())
    /// };
    /// let targets = (0..store.manifest().prompt_count).map(target).collect::<Result<Vec<_>, _>>()?;
    ///
    /// let inverter = Inverter::new(&model.decoder, states.tap(), Settings::default())?;
    /// let mut choice = Choice::auto(&model.decoder, states.tap(), targets[0].positions(), None, None);
    /// for inversion in inverter.invert_many(&targets, &mut choice.policy, &mut |_| ())? {
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
        policy: &mut Policy,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Inversion>, InvertError> {
        targets.iter().try_for_each(|target| self.check(target))?;
        let report = RefCell::new(progress);
        let lens: Vec<usize> = targets.iter().map(TargetStates::positions).collect();
        let mut inversions: Vec<Option<Inversion>> = vec![None; targets.len()];
        for batch in batches_by_length(self.decoder, &lens, 1, self.settings.memory_budget) {
            let mut jobs = batch
                .iter()
                .map(|&prompt| {
                    let run = self.begin(&targets[prompt], prompt, &report)?;
                    // Measuring the noise for a prompt of this length is part of its time.
                    let spent = run.start.elapsed();
                    let (hypothesis, draft) = (Hypothesis::new(), Vec::new());
                    Ok(Job { hypothesis, run, draft, together: true, spent })
                })
                .collect::<Result<Vec<_>, InvertError>>()?;
            self.draft_together(&mut jobs, policy)?;
            for (&prompt, mut job) in batch.iter().zip(jobs) {
                job.go_on();
                inversions[prompt] = Some(self.finish(job.hypothesis, &mut job.run, policy)?);
            }
        }
        Ok(inversions.into_iter().map(|inversion| inversion.expect("every prompt is in one batch")).collect())
    }

    /// Rounds of one draft for every open prompt and one forward pass over all of them, while that settles much.
    fn draft_together(&self, jobs: &mut [Job<'_>], policy: &mut Policy) -> Result<(), InvertError> {
        /// Fewer prompts than this are better off each with its own cache.
        const FEWEST: usize = 2;
        let may_draft = |job: &mut Job<'_>| {
            job.go_on();
            let open = job.hypothesis.len() < job.run.target.positions();
            open && job.together && self.may_draft(&job.run)
        };
        loop {
            let drafting: Vec<&mut Job<'_>> =
                jobs.iter_mut().filter_map(|job| may_draft(job).then_some(job)).collect();
            if drafting.len() < FEWEST {
                // What a source took long for is not thrown away.
                return Ok(());
            }
            let mut active: Vec<&mut Job<'_>> = Vec::new();
            for job in drafting {
                job.go_on();
                // Alternatives are for prompts alone: here a wrong token costs no pass of its own.
                job.draft = self.next_draft(&job.hypothesis, &mut job.run, policy)?.unwrap_or_default().ids;
                job.spent = job.run.start.elapsed();
                if !job.draft.is_empty() {
                    active.push(job);
                }
            }
            if active.len() < FEWEST {
                return Ok(());
            }
            self.verify_together(&mut active)?;
        }
    }

    fn verify_together(&self, jobs: &mut [&mut Job<'_>]) -> Result<(), InvertError> {
        let start = Instant::now();
        let config = self.decoder.config();
        let prompts = jobs.iter().map(|job| {
            let mut ids = [job.hypothesis.ids(), job.draft.clone()].concat();
            let positions = job.run.target.positions();
            // LongRoPE chooses by the length of the whole prompt, and a draft may stop short of it.
            if !config.same_rotary(ids.len(), positions) {
                ids.resize(positions, 0);
            }
            ids
        });
        let prompts: Vec<Vec<u32>> = prompts.collect();
        let tokens = TokenBatch::new(&prompts)?;
        let forward = self.decoder.forward(&tokens, &[self.tap], Logits::None)?;
        let states = read(forward.states[&self.tap].clone())?;
        let d_model = self.decoder.config().d_model;
        let row_len = tokens.width() * d_model;
        let share = 1.0 / jobs.len() as f64;
        let seconds = share * start.elapsed().as_secs_f64();
        for ((job, states), ids) in jobs.iter_mut().zip(states.chunks(row_len)).zip(&prompts) {
            let draft = std::mem::take(&mut job.draft);
            let begin = job.hypothesis.len();
            let states = &states[begin * d_model..][..draft.len() * d_model];
            self.take_over(&mut job.hypothesis, &draft, states, &[], &mut job.run);
            // A common pass begins anew with the first token. A prompt of which it settles less than half of what is open is better
            // off with a cache of its own.
            job.together = 2 * (job.hypothesis.len() - begin) >= job.run.target.positions() - begin;
            job.run.cost.stage("draft").add_states(ids.len(), share, seconds);
            job.spent += Duration::from_secs_f64(seconds);
            self.report(&job.run, Phase::Recover, job.hypothesis.len(), job.run.tested.len());
        }
        Ok(())
    }
}
