//! Trainings as lines, as a table and as plots.

use std::{fs::File, io::Write, path::Path};

use inject_examples::{Axis, Failure, Figure, Mark};
use inject_sipit::models::Tap;
use inject_studies::{Optimiser, Snapshot, TapSnapshot};

use super::run::{Training, Trainings};

/// One line a snapshot, at the last block.
pub(crate) fn training_lines(training: &Training) -> Vec<String> {
    let Training { model, activation, study, n_layers, .. } = training;
    let last = Tap::Block(*n_layers);
    let heading = format!(
        "{model} ({activation}), {} with a rate of {}, at {last}\n  step   loss  held out  closest pair  noise      \
         least margin  median     inverted",
        study.options.optimiser,
        study.options.optimiser.learning_rate(),
    );
    let line = |snapshot: &Snapshot| {
        let tap = at(snapshot, last)?;
        let exact: usize = snapshot.inversions.iter().map(|tally| tally.exact).sum();
        let prompts: usize = snapshot.inversions.iter().map(|tally| tally.prompts).sum();
        Some(format!(
            "{:>6} {:>6.3} {:>9.3}  {:<13.3e} {:<10.1e} {:<13.3e} {:<10.3e} {exact}/{prompts}",
            snapshot.step,
            snapshot.loss,
            snapshot.held_out_loss,
            tap.closest.minimum,
            tap.closest.noise.largest(),
            tap.margins.quantile(0.0)?,
            tap.margins.quantile(0.5)?,
        ))
    };
    std::iter::once(heading).chain(study.snapshots.iter().filter_map(line)).collect()
}

fn at(snapshot: &Snapshot, tap: Tap) -> Option<&TapSnapshot> {
    snapshot.taps.iter().find(|found| found.closest.tap == tap)
}

/// Writes training.csv and the figures.
pub(crate) fn write_trainings(folder: &Path, trainings: &Trainings) -> Result<(), Failure> {
    let mut csv = File::create(folder.join("training.csv"))?;
    writeln!(
        csv,
        "model,activation,optimiser,learning_rate,step,loss,held_out_loss,tap,closest_pair,noise,verdict,least_margin,\
         margin_05,median_margin,largest_margin,margin_noise,margin_verdict,inverted,exact"
    )?;
    for run in &trainings.runs {
        for snapshot in &run.study.snapshots {
            for TapSnapshot { closest, margins } in &snapshot.taps {
                let quantile = |share: f64| margins.quantile(share).unwrap_or(f64::NAN);
                let tally = snapshot.inversions.iter().find(|tally| tally.tap == closest.tap);
                let tally = tally
                    .map_or_else(|| ",".to_owned(), |tally| format!("{},{}", tally.prompts, tally.exact));
                writeln!(
                    csv,
                    "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{tally}",
                    run.model,
                    run.activation,
                    run.study.options.optimiser,
                    run.study.options.optimiser.learning_rate(),
                    snapshot.step,
                    snapshot.loss,
                    snapshot.held_out_loss,
                    closest.tap,
                    closest.minimum,
                    closest.noise.largest(),
                    closest.verdict,
                    quantile(0.0),
                    quantile(0.05),
                    quantile(0.5),
                    quantile(1.0),
                    margins.noise.largest(),
                    margins.verdict,
                )?;
            }
        }
    }
    let mut models: Vec<&str> = trainings.runs.iter().map(|run| run.model.as_str()).collect();
    models.dedup();
    for model in models {
        let runs: Vec<&Training> = trainings.runs.iter().filter(|run| run.model == model).collect();
        figures(folder, model, &runs, trainings.about.prompts)?;
    }
    Ok(())
}

/// Loss, closest pair and margins of one model under every rule, and all taps under the first.
fn figures(folder: &Path, model: &str, runs: &[&Training], prompts: usize) -> Result<(), Failure> {
    let Some(first) = runs.first() else { return Ok(()) };
    let last = Tap::Block(first.n_layers);
    let steps = || Axis::log("steps taken + 1");
    let distance = || Axis::log("L2 distance of states");
    let of_loss = |run: &Training, loss: fn(&Snapshot) -> f64| {
        run.study.snapshots.iter().map(|snapshot| (place(snapshot), loss(snapshot))).collect::<Vec<_>>()
    };
    let mut figure =
        Figure::new(format!("Loss of {model} on generated text"), steps(), Axis::linear("nats a token"));
    for run in runs {
        let rule = rule(run);
        figure = figure.with(rule, Mark::Line, of_loss(run, |snapshot| snapshot.loss)).with(
            format!("{rule}, held out"),
            Mark::Line,
            of_loss(run, |snapshot| snapshot.held_out_loss),
        );
    }
    figure.write(folder, &format!("{model}-loss"))?;

    let mut figure =
        Figure::new(format!("Closest pair of {prompts} prompts, {model}, {last}"), steps(), distance());
    for run in runs {
        let rule = rule(run);
        figure = figure.with(rule, Mark::Line, series(run, last, |tap| Some(tap.closest.minimum))).with(
            format!("{rule} noise floor"),
            Mark::Dots,
            series(run, last, |tap| Some(tap.closest.noise.largest())),
        );
    }
    figure.write(folder, &format!("{model}-closest"))?;

    let mut figure = Figure::new(
        format!("Least margin between true and other tokens, {model}, {last}"),
        steps(),
        distance(),
    );
    for run in runs {
        let rule = rule(run);
        figure = figure.with(rule, Mark::Line, series(run, last, |tap| tap.margins.quantile(0.0))).with(
            format!("{rule} noise floor"),
            Mark::Dots,
            series(run, last, |tap| Some(tap.margins.noise.largest())),
        );
    }
    figure.write(folder, &format!("{model}-margins"))?;

    let rule = first.study.options.optimiser;
    let mut figure = Figure::new(
        format!("Margins between true and other tokens, {model}, {rule}, {last}"),
        steps(),
        distance(),
    );
    for (name, share) in [("least", 0.0), ("5 % below", 0.05), ("median", 0.5), ("largest", 1.0)] {
        figure = figure.with(name, Mark::Line, series(first, last, |tap| tap.margins.quantile(share)));
    }
    figure
        .with("noise floor", Mark::Dots, series(first, last, |tap| Some(tap.margins.noise.largest())))
        .write(folder, &format!("{model}-margin-spread"))?;

    let mut figure = Figure::new(
        format!("Closest pair of {prompts} prompts, {model}, {}", first.study.options.optimiser),
        steps(),
        distance(),
    );
    for tap in [Tap::Block(1), last, Tap::FinalNorm] {
        figure = figure
            .with(tap.to_string(), Mark::Line, series(first, tap, |tap| Some(tap.closest.minimum)))
            .with(
                format!("{tap} noise floor"),
                Mark::Dots,
                series(first, tap, |tap| Some(tap.closest.noise.largest())),
            );
    }
    figure.write(folder, &format!("{model}-taps"))
}

/// On a logarithmic axis the start has a place only so.
fn place(snapshot: &Snapshot) -> f64 {
    snapshot.step as f64 + 1.0
}

fn series(run: &Training, tap: Tap, value: impl Fn(&TapSnapshot) -> Option<f64>) -> Vec<(f64, f64)> {
    let point = |snapshot: &Snapshot| Some((place(snapshot), value(at(snapshot, tap)?)?));
    run.study.snapshots.iter().filter_map(point).collect()
}

/// A short name for a legend.
fn rule(run: &Training) -> &'static str {
    match run.study.options.optimiser {
        Optimiser::FullBatch { .. } => "full batch",
        Optimiser::Sgd { .. } => "SGD",
        Optimiser::Adam { .. } => "Adam",
    }
}
