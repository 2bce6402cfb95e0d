//! Starts with collisions built in.

use std::{fs::File, io::Write};

use burn::tensor::Device;
use indicatif::ProgressBar;
use inject_examples::Failure;
use inject_sipit::models::Family;
use inject_studies::{DegenerateOptions, DegenerateStudy, Fate, Optimiser, degenerate, degenerate_cases};
use serde::Serialize;

use super::{
    Options,
    shape::{config, init_std},
    text::{About, Text},
};

/// After so many steps the pairs are looked at.
const STEPS: [usize; 2] = [1, 10];

/// Every start of every family.
#[derive(Debug, Serialize)]
struct Starts {
    about: About,
    options: DegenerateOptions,
    d_model: usize,
    n_layers: usize,
    starts: Vec<Start>,
}

#[derive(Debug, Serialize)]
struct Start {
    family: String,
    #[serde(flatten)]
    study: DegenerateStudy,
}

pub(crate) fn carry_out(options: &Options, text: &Text, device: &Device) -> Result<(), Failure> {
    let how = DegenerateOptions {
        optimiser: Optimiser::FullBatch { learning_rate: 0.5 },
        steps: STEPS.to_vec(),
        seed: options.seed,
        threads: options.threads,
    };
    let (d_model, n_layers) = (options.width, options.layers);
    let mut found = Starts { about: text.about.clone(), options: how, d_model, n_layers, starts: Vec::new() };
    options.tell("family  start                              expected   equal at 0   smallest / largest after 1  found       as expected")?;
    for family in [Family::Gpt2, Family::Llama] {
        let config = config(family, d_model, n_layers, text.about.vocab_size)?;
        let cases = degenerate_cases(&config, &text.windows)?;
        let bar = ProgressBar::new(cases.len() as u64).with_message(family.to_string());
        for case in &cases {
            device.seed(options.seed);
            let drawn = config.init(init_std(d_model), device);
            let study = degenerate(&drawn, &text.windows, case, &found.options)?;
            bar.suspend(|| options.tell(&line(family, &study)))?;
            bar.inc(1);
            found.starts.push(Start { family: family.to_string(), study });
        }
        bar.finish_and_clear();
    }
    write_csv(options, &found)?;
    options.keep("degenerate", &found)
}

/// A case at its deepest tap.
fn line(family: Family, study: &DegenerateStudy) -> String {
    let deepest = study.taps.last();
    let at = |number: usize| deepest.and_then(|tap| tap.steps.get(number));
    let pairs = study.case.pairs.len();
    let equal = at(0).map_or(0, |start| start.equal);
    let [smallest, largest] = at(1).map_or([0.0; 2], |after| [after.smallest, after.largest]);
    format!(
        "{:<7} {:<34} {:<10} {:>5}/{:<5} {:>12.2e} / {:<12.2e} {:<11} {}\n        prompts that {}: {}",
        family.to_string(),
        study.case.start.to_string(),
        fate(Some(study.case.expected)),
        equal,
        pairs,
        smallest,
        largest,
        fate(at(1).and_then(|after| after.fate())),
        if study.as_expected { "yes" } else { "NO" },
        study.case.prompts,
        study.case.why,
    )
}

fn fate(fate: Option<Fate>) -> &'static str {
    match fate {
        Some(Fate::Kept) => "kept",
        Some(Fate::Dissolved) => "dissolved",
        None => "in part",
    }
}

fn write_csv(options: &Options, found: &Starts) -> Result<(), Failure> {
    let mut csv = File::create(options.out.join("degenerate.csv"))?;
    writeln!(
        csv,
        "family,start,prompts,expected,tap,step,pairs,equal,smallest,largest,noise,bound,found,as_expected"
    )?;
    for Start { family, study } in &found.starts {
        for tap in &study.taps {
            for at in &tap.steps {
                writeln!(
                    csv,
                    "{family},{},\"{}\",{},{},{},{},{},{},{},{},{},{},{}",
                    study.case.start,
                    study.case.prompts,
                    fate(Some(study.case.expected)),
                    tap.tap,
                    at.step,
                    study.case.pairs.len(),
                    at.equal,
                    at.smallest,
                    at.largest,
                    at.noise.largest(),
                    at.bound,
                    fate(at.fate()),
                    study.as_expected,
                )?;
            }
        }
    }
    Ok(())
}
