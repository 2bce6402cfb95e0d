//! Every family at several widths and depths, with its own activation and with ReLU.

use inject_sipit::models::{Family, config::Activation};
use inject_studies::{
    StudyName, random_weights,
    training::{RandomShape, RandomWeights, RandomWeightsStudy},
};
use serde::Serialize;

use super::{
    Lab,
    shape::{config, init_std},
    text::About,
};
use crate::{
    number,
    outcome::Failure,
    plot::{Axis, Figure, Mark},
    table::{Cell, Table, rows},
};

/// The closest prompts of decoders with random weights, as they are before training.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Drawn {
    /// The origin of the text, and the seeds.
    about: About,
    /// The measurements of the decoders.
    #[serde(flatten)]
    pub(crate) found: RandomWeightsStudy,
}

pub(crate) fn carry_out(lab: &mut Lab<'_>) -> Result<(), Failure> {
    let (options, text) = (lab.options, &lab.text);
    let mut shapes = Vec::new();
    // From one seed and without a window, llama, mistral and phi3 would be the same decoder.
    for (family, seed) in Family::all().iter().copied().zip(options.seed..) {
        for &d_model in &options.widths {
            for n_layers in options.depths.iter().map(|depth| depth.get()) {
                let config = config(family, d_model, n_layers, text.about.vocab_size)?;
                let relu = config.clone().with_activation(Activation::Relu);
                let std = init_std(d_model);
                shapes.extend([config, relu].map(|config| RandomShape::new(family, config, std, seed)));
            }
        }
    }
    let drawn = lab.study.carry_out(StudyName::RandomWeights, |run| {
        random_weights(&shapes, &text.prompts, options.threads, &lab.device, run)
            .map(|found| Drawn { about: text.about.clone(), found })
    })?;
    let summary = summary(&drawn.found.decoders);
    lab.show(&summary);
    lab.report.heading("Random weights");
    lab.report.table_on_page(summary);
    lab.report.figure("random-weights", figure(&drawn));
    lab.report.table("random-weights", every_tap(&drawn.found.decoders));
    lab.report()
}

/// The minimum divided by the noise floor, at the tap where that is least.
fn ratio(decoder: &RandomWeights) -> Option<f64> {
    decoder.tightest().and_then(|tap| Some(tap.minimum / tap.noise.largest()?))
}

/// A line for each decoder, at its tightest tap.
fn summary(decoders: &[RandomWeights]) -> Table {
    rows(
        "Random weights, at the tightest tap of each decoder",
        decoders.iter().map(|decoder| (decoder, decoder.tightest())),
    )
    .columns([
        ("family", &|(decoder, _)| Cell::of(decoder.family)),
        ("activation", &|(decoder, _)| Cell::of(decoder.activation)),
        ("width", &|(decoder, _)| decoder.d_model.into()),
        ("blocks", &|(decoder, _)| decoder.n_layers.into()),
        ("tightest tap", &|(_, tap)| tap.map_or(Cell::Missing, |tap| Cell::of(tap.tap))),
        ("minimum", &|(_, tap)| tap.map(|tap| tap.minimum).into()),
        ("noise floor", &|(_, tap)| tap.and_then(|tap| tap.noise.largest()).into()),
        ("ratio", &|(decoder, _)| ratio(decoder).into()),
        ("resolution", &|(_, tap)| tap.map_or(Cell::Missing, |tap| Cell::of(tap.resolution))),
    ])
}

/// A row for every tap of every decoder, written to `random-weights.csv`.
fn every_tap(decoders: &[RandomWeights]) -> Table {
    rows("Every tap", decoders.iter().flat_map(|decoder| decoder.taps.iter().map(move |tap| (decoder, tap))))
        .columns([
            ("family", &|(decoder, _)| Cell::of(decoder.family)),
            ("activation", &|(decoder, _)| Cell::of(decoder.activation)),
            ("analytic", &|(decoder, _)| Cell::of(decoder.analytic)),
            ("d model", &|(decoder, _)| decoder.d_model.into()),
            ("n layers", &|(decoder, _)| decoder.n_layers.into()),
            ("tap", &|(_, tap)| Cell::of(tap.tap)),
            ("pairs", &|(_, tap)| tap.pairs.into()),
            ("minimum", &|(_, tap)| tap.minimum.into()),
            ("noise", &|(_, tap)| tap.noise.largest().into()),
            ("resolution", &|(_, tap)| Cell::of(tap.resolution)),
        ])
}

/// Each decoder at its tightest tap, by family.
fn figure(drawn: &Drawn) -> Figure {
    let families = Family::all();
    // Analytic a little to the left, ReLU a little to the right.
    let points = |analytic: bool, shift: f64| {
        let decoders = drawn.found.decoders.iter().filter(move |decoder| decoder.analytic == analytic);
        decoders.filter_map(move |decoder| {
            let column = families.iter().position(|family| *family == decoder.family)?;
            Some((column as f64 + shift, ratio(decoder)?))
        })
    };
    let prompts = number::count(drawn.about.prompts);
    Figure::new(
        format!("Random weights: closest pair of {prompts} prompts, tightest tap of each decoder"),
        Axis::columns("family", families.iter().map(Family::to_string)),
        Axis::log("smallest distance / noise floor"),
    )
    .with("the family's own activation, analytic", Mark::Dots, points(true, -0.12))
    .with("ReLU", Mark::Rings, points(false, 0.12))
    .with(
        "resolution: separated above this",
        Mark::Curve,
        [(-0.4, 2.0), (families.len() as f64 - 0.6, 2.0)],
    )
}
