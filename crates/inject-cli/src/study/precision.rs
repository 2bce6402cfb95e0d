//! `inject study precision`: the effect of narrow formats and noise on distances, one-step decoding and whole prompts.

mod figures;
mod options;
mod tables;

use std::{collections::BTreeMap, sync::Arc};

use inject_sipit::{
    Lens, PolicyChoice,
    models::{Decoder, Tap},
};
use inject_studies::{
    ChosenPositions, StudyName, decoding,
    decoding::{DecodingOptions, Producer},
    formats,
    formats::{FormatOptions, Storage},
    recovery,
    recovery::{Condition, RecoveryOptions},
};

pub(crate) use self::options::Options;
use self::options::Part;
use crate::{
    interrupt,
    options::{LoadedModel, Megabytes, TapsOption, room, study::Study},
    outcome::Failure,
    report::Report,
    table::Table,
};

/// Runs the requested parts.
///
/// # Errors
///
/// [`Failure`] if something cannot be computed or written.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let names: Vec<StudyName> = options.parts.iter().map(|part| part.study()).collect();
    options.study.check_prompts(&options.prompts, options.parts.len())?;
    let study = options.study.begin("precision", &names)?;
    let model = options.model.load()?;
    let taps = options.taps.of(&model)?;
    let whole_taps = match &options.recovery.whole_taps {
        None => three_of(&taps),
        Some(list) => TapsOption { taps: list.clone() }.of(&model)?,
    };
    room::check_longest(&model.decoder, taps.len(), 0, [options.length.get()], options.memory)?;
    let asked = |part: Part| options.parts.contains(&part);
    let lenses = if asked(Part::Recovery) { options.lenses(&model, &whole_taps)? } else { BTreeMap::new() };
    let mut report = Report::new("Prompts in narrow formats and noise");
    report.fact("Model", model.id());
    report.fact("Weights", model.weight_hash()?);
    let mut experiment = Experiment { options, model, taps, study, report };
    if asked(Part::Formats) {
        experiment.formats()?;
    }
    if asked(Part::Decoding) {
        experiment.decoding()?;
    }
    if asked(Part::Recovery) {
        experiment.recovery(whole_taps, &lenses)?;
    }
    experiment.study.finish();
    Ok(())
}

struct Experiment<'a> {
    options: &'a Options,
    model: LoadedModel,
    taps: Vec<Tap>,
    study: Study,
    report: Report,
}

impl Experiment<'_> {
    fn formats(&mut self) -> Result<(), Failure> {
        let Options { prompts, weights, disturbances, formats: part, .. } = self.options;
        let prompts = prompts.different(&self.model, part.pairs_of.get(), self.options.length)?;
        // A random disturbance of each state says nothing about how close two of them were.
        let states = disturbances.iter().filter(|disturbance| !disturbance.is_random());
        let storages = [Storage::AsComputed]
            .into_iter()
            .chain(weights.iter().map(|&format| Storage::Weights(format)))
            .chain(states.map(|&disturbance| Storage::States(disturbance)));
        let mut asked = FormatOptions::new(self.taps.clone(), storages.collect());
        asked.seed = self.options.seed;
        asked.memory_budget = Megabytes::bytes_or(self.options.memory, 1024 << 20);
        let hash = self.model.weight_hash()?;
        let found = self
            .study
            .carry_out(StudyName::Formats, |run| formats(&self.model.decoder, hash, &prompts, &asked, run))?;
        self.report.heading("Closest pairs");
        self.show("formats", tables::formats(&found));
        for (name, figure) in figures::formats(&found, self.model.id()) {
            self.report.figure(name, figure);
        }
        self.study.write(&self.report)
    }

    fn decoding(&mut self) -> Result<(), Failure> {
        let Options { prompts, weights, disturbances, decoding: part, .. } = self.options;
        let prompts = prompts.text(&self.model, part.count.get(), self.options.length)?;
        let positions = ChosenPositions::new(0, part.every);
        let mut asked = DecodingOptions::new(self.taps.clone(), positions);
        asked.disturbances.clone_from(disturbances);
        asked.directions = part.directions;
        asked.dimensions.clone_from(&part.dimensions);
        asked.seed = self.options.seed;
        asked.memory_budget = Megabytes::bytes_or(self.options.memory, 1024 << 20);
        let quantised = weights.iter().map(|&format| {
            let decoder = interrupt::at_once(|| self.model.decoder.clone().with_weights_in(format))?;
            Ok((Condition::UnknownWeights { weights: format }.to_string(), decoder))
        });
        let quantised: Vec<(String, Decoder)> = quantised.collect::<Result<_, Failure>>()?;
        let producers: Vec<Producer<'_>> =
            quantised.iter().map(|(name, decoder)| Producer::new(name, decoder)).collect();
        let hash = self.model.weight_hash()?;
        let found = self.study.carry_out(StudyName::Decoding, |run| {
            decoding(&self.model.decoder, hash, &producers, &prompts, &asked, run)
        })?;
        self.report.heading("One-step decoding");
        self.show("decoding", tables::decoding(&found));
        self.show("breaking", tables::breaking(&found));
        self.show("projections", tables::projections(&found));
        self.report.table("survival", tables::survival(&found));
        for (name, figure) in figures::decoding(&found, self.model.id()) {
            self.report.figure(name, figure);
        }
        self.study.write(&self.report)
    }

    fn recovery(&mut self, taps: Vec<Tap>, lenses: &BTreeMap<Tap, Arc<Lens>>) -> Result<(), Failure> {
        let Options { prompts, weights, disturbances, recovery: part, .. } = self.options;
        let length = self.options.length;
        let prompts = prompts.text(&self.model, part.whole.get(), length)?;
        let conditions = [Condition::Exact]
            .into_iter()
            .chain(weights.iter().flat_map(|&weights| {
                [Condition::KnownWeights { weights }, Condition::UnknownWeights { weights }]
            }))
            .chain(disturbances.iter().map(|&disturbance| Condition::States { disturbance }))
            .chain(part.noise.iter().map(|&share_of_margin| Condition::Noise { share_of_margin }));
        let most = part.max_candidates.get();
        let asked =
            RecoveryOptions::new(taps, conditions.collect(), part.rivals, most).with_seed(self.options.seed);
        let bos = self.model.first_token();
        let mut policy = |decoder: &Decoder, tap: Tap| {
            Ok(PolicyChoice::auto(decoder, tap, length.get(), lenses.get(&tap).cloned(), bos).policy)
        };
        let hash = self.model.weight_hash()?;
        let found = self.study.carry_out(StudyName::Recovery, |run| {
            recovery(&self.model.decoder, hash, &prompts, &asked, &mut policy, run)
        })?;
        self.report.heading("Whole prompts");
        self.show("recovery", tables::recovery(&found));
        self.report.figure("recovery", figures::recovery(&found, self.model.id()));
        self.study.write(&self.report)
    }

    /// Shows a table, and adds it to the report.
    fn show(&mut self, file: &str, table: Table) {
        self.study.show(&format!("{}\n", table.text()));
        self.report.table(file, table);
    }
}

/// The first after the embedding, the one in the middle and the last.
fn three_of(taps: &[Tap]) -> Vec<Tap> {
    let after: Vec<Tap> = taps.iter().copied().filter(|&tap| tap != Tap::Embedding).collect();
    let after = if after.is_empty() { taps } else { &after };
    let mut three = vec![after[0], after[after.len() / 2], after[after.len() - 1]];
    three.dedup();
    three
}
