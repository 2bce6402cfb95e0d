//! Trainings of two families by three rules, and of one with an activation that is not analytic.

use std::num::NonZeroUsize;

use inject_sipit::models::{DecoderConfig, Family, Tap, config::Activation};
use inject_studies::{
    ChosenPositions, Completeness, Finished, StudyName, training,
    training::{Optimiser, Probes, TrainingData, TrainingEvent, TrainingOptions, TrainingStudy},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Lab, Part, report,
    shape::{config, init_std},
    text::About,
};
use crate::outcome::Failure;

/// Windows of a batch that is not the whole text.
const BATCH: usize = 4;
/// In (0, 1), as the theorem asks.
const STEP: f64 = 0.5;
const ADAM_STEP: f64 = 3e-3;
/// Margins are measured at every position that is a multiple of this.
const MARGIN_EVERY: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// The trainings of the study, and the text on which they ran.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Trainings {
    /// The origin of the text, and the seeds.
    pub(crate) about: About,
    /// Each training; units that are not finished are missing.
    pub(crate) runs: Vec<Training>,
    /// The trainings that the result contains.
    pub(crate) completeness: Completeness,
}

/// The course of one training.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Training {
    /// The family, and the activation if it is not the family's own.
    pub(crate) model: String,
    /// The activation of the feed-forward branches.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) activation: Activation,
    /// Whether this activation is an analytic function, as the theorem assumes.
    pub(crate) analytic: bool,
    /// Width of the residual stream.
    pub(crate) d_model: usize,
    /// The number of blocks of the decoder.
    pub(crate) n_layers: usize,
    /// The standard deviation of the first weights.
    pub(crate) init_std: f64,
    /// The options, losses and snapshots.
    #[serde(flatten)]
    pub(crate) study: TrainingStudy,
}

/// A unit of the study: one decoder, trained by one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    model: String,
    optimiser: Optimiser,
}

pub(crate) fn carry_out(lab: &mut Lab<'_>) -> Result<(), Failure> {
    let (options, text) = (lab.options, &lab.text);
    let batch = BATCH.min(options.windows.get());
    let descent = Optimiser::FullBatch { learning_rate: STEP };
    let rules = [
        descent,
        Optimiser::Sgd { learning_rate: STEP, batch },
        Optimiser::Adam { learning_rate: ADAM_STEP, batch },
    ];
    let shape = |family| config(family, options.width, options.layers.get(), text.about.vocab_size);
    let (gpt2, llama) = (shape(Family::Gpt2)?, shape(Family::Llama)?);
    let relu = gpt2.clone().with_activation(Activation::Relu);
    let models = [("gpt2", &gpt2), ("llama", &llama), ("gpt2-relu", &relu)];
    let plan = |model: &str, optimiser| Plan { model: model.to_owned(), optimiser };
    let mut plans: Vec<Plan> =
        ["gpt2", "llama"].iter().flat_map(|model| rules.map(|rule| plan(model, rule))).collect();
    plans.push(plan("gpt2-relu", descent));
    let about = lab.describe(Part::Training, json!({ "steps": options.steps, "plans": &plans }))?;
    let trainings = lab.study.carry_out(StudyName::Training, |run| {
        let Finished { results, completeness, .. } = run.complete(&about, plans, |plan: &Plan, done| {
            let config = models.iter().find(|(name, _)| *name == plan.model);
            let (model, config) = config.ok_or_else(|| Failure::new(format!("no model {}", plan.model)))?;
            one(lab, model, config, plan.optimiser, done)
        })?;
        let runs = results.into_iter().map(|(_, training)| training).collect();
        Ok::<_, Failure>(Trainings { about: text.about.clone(), runs, completeness })
    })?;
    lab.report.heading("Trainings");
    for training in &trainings.runs {
        let table = report::snapshots(training);
        lab.show(&table);
        lab.report.table_on_page(table);
    }
    report::add(&mut lab.report, &trainings);
    lab.report()
}

fn one(
    lab: &Lab<'_>,
    model: &str,
    config: &DecoderConfig,
    optimiser: Optimiser,
    done: &mut dyn FnMut(f64),
) -> Result<Training, Failure> {
    let (options, text) = (lab.options, &lab.text);
    let std = init_std(config.d_model);
    lab.device.seed(options.seed);
    let start = config.init(std, &lab.device);
    let last = Tap::Block(config.n_layers());
    let inversion_taps = if last == Tap::Block(1) { vec![last] } else { vec![Tap::Block(1), last] };
    let margin_positions = ChosenPositions::new(1, MARGIN_EVERY);
    let probes = Probes::new(text.prompts.clone(), text.margin_prompts.clone(), margin_positions)
        .with_inversions(text.inverted.clone(), inversion_taps);
    let how = TrainingOptions::new(optimiser, options.steps, options.seed, options.threads);
    let data = TrainingData::new(&text.windows, &text.held_out);
    let (study, _) = training(&start, data, &probes, &how, &mut |event| {
        if let TrainingEvent::Step { step, .. } = event {
            done(step as f64 / options.steps.max(1) as f64);
        }
    })?;
    let activation = config.blocks[0].feed_forward.kind.activation();
    Ok(Training {
        model: model.to_owned(),
        activation,
        analytic: activation.is_analytic(),
        d_model: config.d_model,
        n_layers: config.n_layers(),
        init_std: std,
        study,
    })
}
