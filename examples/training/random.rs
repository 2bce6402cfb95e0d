//! Every family at several widths and depths, with its own activation and with ReLU.

use std::{fs::File, io::Write};

use burn::tensor::Device;
use indicatif::{ProgressBar, ProgressStyle};
use inject_examples::{Axis, Failure, Figure, Mark};
use inject_sipit::models::{Family, config::Activation};
use inject_studies::{RandomShape, RandomWeights, random_weights};
use serde::Serialize;

use super::{
    Options,
    shape::{config, init_std},
    text::{About, Text},
};

#[derive(Serialize)]
struct Drawn {
    about: About,
    decoders: Vec<RandomWeights>,
}

pub(crate) fn carry_out(options: &Options, text: &Text, device: &Device) -> Result<(), Failure> {
    let mut shapes = Vec::new();
    // From one seed and without a window, llama, mistral and phi3 would be one and the same decoder.
    for (family, seed) in Family::ALL.into_iter().zip(options.seed..) {
        for &d_model in &options.widths {
            for &n_layers in &options.depths {
                let config = config(family, d_model, n_layers, text.about.vocab_size)?;
                let relu = config.clone().with_activation(Activation::Relu);
                let std = init_std(d_model);
                shapes.extend([config, relu].map(|config| RandomShape { family, config, std, seed }));
            }
        }
    }
    let bar = ProgressBar::new(shapes.len() as u64).with_message("random weights");
    bar.set_style(ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}")?);
    let told = &mut |_: &RandomWeights| bar.inc(1);
    let decoders = random_weights(&shapes, &text.prompts, options.threads, device, told)?;
    bar.finish_and_clear();
    options.tell(
        "family   activation  width  blocks  tightest tap  minimum     noise floor  ratio      verdict",
    )?;
    for decoder in &decoders {
        options.tell(&line(decoder))?;
    }
    let drawn = Drawn { about: text.about.clone(), decoders };
    write_csv(options, &drawn.decoders)?;
    figure(options, &drawn)?;
    options.keep("random", &drawn)
}

/// How often the noise floor goes into a minimum, at the tap where it goes least often.
fn ratio(decoder: &RandomWeights) -> Option<f64> {
    decoder.tightest().map(|tap| tap.minimum / tap.noise.largest())
}

fn line(decoder: &RandomWeights) -> String {
    let RandomWeights { family, activation, d_model, n_layers, .. } = decoder;
    let found = decoder.tightest().map_or_else(String::new, |tap| {
        format!(
            "{:<13} {:<11.3e} {:<12.3e} {:<10.3e} {}",
            tap.tap.to_string(),
            tap.minimum,
            tap.noise.largest(),
            tap.minimum / tap.noise.largest(),
            tap.verdict,
        )
    });
    format!("{family:<8} {activation:<11} {d_model:<6} {n_layers:<7} {found}")
}

fn write_csv(options: &Options, decoders: &[RandomWeights]) -> Result<(), Failure> {
    let mut csv = File::create(options.out.join("random.csv"))?;
    writeln!(csv, "family,activation,analytic,d_model,n_layers,tap,pairs,minimum,noise,verdict")?;
    for decoder in decoders {
        let RandomWeights { family, activation, analytic, d_model, n_layers, .. } = decoder;
        for tap in &decoder.taps {
            writeln!(
                csv,
                "{family},{activation},{analytic},{d_model},{n_layers},{},{},{},{},{}",
                tap.tap,
                tap.pairs,
                tap.minimum,
                tap.noise.largest(),
                tap.verdict,
            )?;
        }
    }
    Ok(())
}

/// Each decoder at its tightest tap, by family.
fn figure(options: &Options, drawn: &Drawn) -> Result<(), Failure> {
    let names = Family::ALL.map(|family| family.to_string());
    // Analytic a little to the left, ReLU a little to the right.
    let points = |analytic: bool, shift: f64| {
        let decoders = drawn.decoders.iter().filter(move |decoder| decoder.analytic == analytic);
        let names = &names;
        decoders.filter_map(move |decoder| {
            let column = names.iter().position(|name| *name == decoder.family)?;
            Some((column as f64 + shift, ratio(decoder)?))
        })
    };
    Figure::new(
        format!(
            "Random weights: closest pair of {} prompts, tightest tap of each decoder",
            drawn.about.prompts
        ),
        Axis::columns("family", names.clone()),
        Axis::log("smallest distance / noise floor"),
    )
    .with("the family's own activation, analytic", Mark::Dots, points(true, -0.12))
    .with("ReLU", Mark::Rings, points(false, 0.12))
    .with("verdict: separated above this", Mark::Line, [(-0.4, 2.0), (names.len() as f64 - 0.6, 2.0)])
    .write(&options.out, "random")
}
