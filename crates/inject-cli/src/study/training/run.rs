//! Trainings of two families by three rules, and of one with an activation that is not analytic.

use std::num::NonZeroUsize;

use inject_sipit::models::{DecoderConfig, Family, Progress, Tap, Unit, config::Activation};
use inject_studies::{
    ChosenPositions, Optimiser, Probes, TrainingData, TrainingEvent, TrainingOptions, TrainingStudy,
    log_spaced, training,
};
use serde::Serialize;

use super::{
    Lab, report,
    shape::{config, init_std},
    text::About,
};
use crate::{Failure, progress::Meter};

/// Windows of a batch that is not the whole text.
const BATCH: usize = 4;
/// In (0, 1), as the theorem asks.
const STEP: f64 = 0.5;
const ADAM_STEP: f64 = 3e-3;
/// Margins are measured at one position in this many.
const MARGIN_EVERY: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// All trainings.
#[derive(Debug, Serialize)]
pub(crate) struct Trainings {
    pub(crate) about: About,
    pub(crate) runs: Vec<Training>,
}

/// One training.
#[derive(Debug, Serialize)]
pub(crate) struct Training {
    /// The family, and the activation if it is not the family's own.
    pub(crate) model: String,
    pub(crate) activation: String,
    pub(crate) analytic: bool,
    pub(crate) d_model: usize,
    pub(crate) n_layers: usize,
    pub(crate) init_std: f64,
    #[serde(flatten)]
    pub(crate) study: TrainingStudy,
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
    let mut planned: Vec<(&str, &DecoderConfig, Optimiser)> = Vec::new();
    for (model, config) in [("gpt2", &gpt2), ("llama", &llama)] {
        planned.extend(rules.map(|rule| (model, config, rule)));
    }
    planned.push(("gpt2-relu", &relu, descent));
    let mut trainings = Trainings { about: text.about.clone(), runs: Vec::new() };
    lab.report.heading("Trainings");
    for (model, config, optimiser) in planned {
        let training = one(lab, model, config, optimiser)?;
        let table = report::snapshots(&training);
        lab.show(&table);
        lab.report.table_on_page(table);
        trainings.runs.push(training);
    }
    report::add(&mut lab.report, &trainings);
    lab.keep("training", &trainings)
}

fn one(
    lab: &Lab<'_>,
    model: &str,
    config: &DecoderConfig,
    optimiser: Optimiser,
) -> Result<Training, Failure> {
    let (options, text) = (lab.options, &lab.text);
    let std = init_std(config.d_model);
    lab.device.seed(options.seed);
    let start = config.init(std, &lab.device);
    let last = Tap::Block(config.n_layers());
    let probes = Probes {
        prompts: text.prompts.clone(),
        margin_prompts: text.margin_prompts.clone(),
        margin_positions: ChosenPositions::new(1, MARGIN_EVERY),
        inverted: text.inverted.clone(),
        inversion_taps: if last == Tap::Block(1) { vec![last] } else { vec![Tap::Block(1), last] },
    };
    let how = TrainingOptions {
        optimiser,
        steps: options.steps,
        snapshots: log_spaced(options.steps),
        seed: options.seed,
        threads: options.threads,
    };
    let mut meter = Meter::new();
    meter.about(format!("{model}, {optimiser}"));
    let data = TrainingData { windows: &text.windows, held_out: &text.held_out };
    let (study, _) = training(&start, data, &probes, &how, &mut |event| {
        if let TrainingEvent::Step { step, .. } = event {
            meter.show(Progress::new("", Unit::Steps, step as u64, options.steps as u64));
        }
    })?;
    let activation = config.blocks[0].feed_forward.kind.activation();
    Ok(Training {
        model: model.to_owned(),
        activation: activation.to_string(),
        analytic: activation.is_analytic(),
        d_model: config.d_model,
        n_layers: config.n_layers(),
        init_std: std,
        study,
    })
}
