//! Gives every reader the seeds and the minimized findings of its fuzz target.

use std::{num::NonZeroUsize, path::Path};

use inject_sipit::{
    collisions::{Metric, measure_noise_floors},
    models::{FloatFormat, Tap},
};
use inject_studies::{
    Run, corpus,
    corpus::{CorpusStates, CorpusStudy},
    tap_distances::TapOptions,
};

use super::{model, prompts, store};

#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/corpus.rs"]
mod files;
#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/studies.rs"]
mod readers;

#[test]
fn every_reader_survives_its_corpus() {
    files::run(readers::READERS);
}

#[test]
#[ignore = "writes files into the repository"]
fn write_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let mut journal = inject_studies::journal::Journal::<u32, f64>::open(&path, &readers::about()).unwrap();
    journal.push(1, 0.1).unwrap();
    journal.push(2, 0.3).unwrap();
    files::write("journal", "two-units.jsonl", &std::fs::read(&path).unwrap());
    let result = serde_json::to_string(&made_corpus(&folder.path().join("states"))).unwrap();
    files::write("corpus_result", "made.json", result.as_bytes());
}

/// The study of the states of some prompts.
fn made_corpus(states: &Path) -> CorpusStudy {
    let (model, prompts, taps) =
        (model("gpt2", FloatFormat::F32), prompts(12), [Tap::Block(1), Tap::FinalNorm]);
    let store = store(&model, &taps, &prompts, states);
    let sample = NonZeroUsize::new(4).unwrap();
    let noise = measure_noise_floors(Metric::L2, &model.decoder, None, &taps, &prompts, sample).unwrap();
    let states = CorpusStates::new(&store, model.decoder.config().n_layers(), &noise);
    corpus(&states, &taps, &TapOptions::default(), &model.decoder.device(), Run::silent()).unwrap()
}
