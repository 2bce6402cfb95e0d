//! Whole studies on the tiny models, compared with naive computations.

#![allow(missing_docs, reason = "tests are named as sentences")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod decoding;
mod exhaustive;
mod formats;
mod hostile_files;
mod killed;
mod lengths;
mod margins;
mod recovery;
mod repeats;
mod stress;
#[cfg(feature = "training")]
mod training;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use inject_sipit::{
    NoiseModel,
    collisions::norm,
    models::{Decoder, FloatFormat, Model, Origin, Tap},
    states::{
        Extraction, Share, extract_to_store,
        store::{Positions, Store, StoreSpec},
    },
};
use inject_studies::{ChosenPositions, Completeness, Run};

fn model(name: &str, precision: FloatFormat) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures").join(name);
    Model::load(Origin::of_folder(&folder), precision, &inject_testing::any_device()).unwrap()
}

/// Returns prompts of different lengths over the tiny vocabulary. Some occur twice.
fn prompts(count: u32) -> Vec<Vec<u32>> {
    let id = |prompt: u32, position: u32| 3 + (prompt * 31 + position * 17 + prompt * position) % 90;
    let prompt = |prompt: u32| (0..3 + prompt % 4).map(|position| id(prompt, position)).collect();
    (0..count).map(|number| prompt(number % (count - 3))).collect()
}

fn every(first: usize, every: usize) -> ChosenPositions {
    ChosenPositions::new(first, NonZeroUsize::new(every).unwrap())
}

fn spec(model: &Model, taps: &[Tap]) -> StoreSpec {
    let (id, weight_hash) = (&model.origin().id, model.weight_hash().unwrap());
    StoreSpec::new(id, weight_hash, taps.to_vec(), Positions::Last, model.decoder.config().d_model)
}

fn store(model: &Model, taps: &[Tap], prompts: &[Vec<u32>], dir: &Path) -> Store {
    let extraction = Extraction::new(taps.to_vec(), Positions::Last).unwrap();
    extract_to_store(&extraction, &model.decoder, prompts, dir, spec(model, taps), &mut |_| ()).unwrap()
}

/// Returns an upper bound of the difference between two computations of the distance of two states. Two computations of one state
/// are within the bound of the model's noise.
fn noise_of_a_distance(decoder: &Decoder, tap: Tap, sequence_len: usize, [a, b]: [&[f32]; 2]) -> f64 {
    let noise = NoiseModel::measure(decoder, tap, sequence_len).unwrap();
    noise.bound(norm(a), 0.0) + noise.bound(norm(b), 0.0)
}

/// Runs a study in three parts, in reverse order and each with its own journal, and then merges them.
fn in_parts<S>(folder: &Path, completeness: impl Fn(&S) -> &Completeness, study: impl Fn(Run<'_>) -> S) -> S {
    const PARTS: usize = 3;
    let journal = |part: usize| -> PathBuf { folder.join(format!("part-{part}.jsonl")) };
    for part in (0..PARTS).rev() {
        let run = Run::silent();
        let result = study(run.with_journal(journal(part)).with_share(Share::new(part, PARTS).unwrap()));
        assert!(!completeness(&result).complete, "one part of several is not the whole");
        let text = std::fs::read_to_string(journal(part)).unwrap();
        assert!(text.lines().count() > 1, "every part has a unit to compute");
    }
    let mut others: Vec<PathBuf> = (0..PARTS).map(journal).collect();
    // A merge of all journals computes nothing. A merge that lacks a part lists the units of that part as missing.
    let whole = study(Run::silent().with_other_journals(others.clone()));
    assert!(completeness(&whole).complete);
    others.pop();
    let two = Run::silent().with_other_journals(others).with_share(Share::new(0, PARTS).unwrap());
    let two = study(two);
    let lacking = std::fs::read_to_string(journal(PARTS - 1)).unwrap().lines().count() - 1;
    assert_eq!(completeness(&two).missing.len(), lacking, "the units of the part that was left out");
    whole
}
