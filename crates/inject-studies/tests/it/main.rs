//! Whole studies on the tiny models, against naive answers.

#![allow(missing_docs, reason = "tests are named as sentences")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod decoding;
mod exhaustive;
mod formats;
mod killed;
mod lengths;
mod margins;
mod recovery;
mod repeats;
mod stress;
#[cfg(feature = "training")]
mod training;

use std::path::{Path, PathBuf};

use inject_sipit::{
    models::{Model, Origin, Precision, Tap},
    states::{
        Extraction, extract_to_store,
        store::{Positions, StateDtype, Store, StoreSpec},
    },
};
use inject_studies::{Run, Share};

fn model(name: &str, precision: Precision) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures").join(name);
    Model::load(Origin::of_folder(&folder), precision, &inject_testing::compiled().remove(0)).unwrap()
}

/// Prompts of different lengths over the tiny vocabulary; some come twice.
fn prompts(count: u32) -> Vec<Vec<u32>> {
    let id = |prompt: u32, position: u32| 3 + (prompt * 31 + position * 17 + prompt * position) % 90;
    let prompt = |prompt: u32| (0..3 + prompt % 4).map(|position| id(prompt, position)).collect();
    (0..count).map(|number| prompt(number % (count - 3))).collect()
}

fn spec(model: &Model, taps: &[Tap]) -> StoreSpec {
    StoreSpec {
        model_id: model.origin().id.clone(),
        revision: None,
        weight_hash: model.weight_hash().unwrap(),
        tokenizer_hash: None,
        taps: taps.to_vec(),
        dtype: StateDtype::F32,
        bos: "as given".to_owned(),
        bos_added: false,
        positions: Positions::Last,
        d_model: model.decoder.config().d_model,
    }
}

fn store(model: &Model, taps: &[Tap], prompts: &[Vec<u32>], dir: &Path) -> Store {
    let extraction = Extraction::new(taps.to_vec(), Positions::Last).unwrap();
    extract_to_store(&extraction, &model.decoder, prompts, dir, spec(model, taps), &mut |_| ()).unwrap()
}

/// Runs a study in three parts, each with a journal of its own and in another order, and then puts these together.
fn in_parts<S>(folder: &Path, study: impl Fn(Run<'_>) -> S) -> S {
    const PARTS: usize = 3;
    let journal = |part: usize| -> PathBuf { folder.join(format!("part-{part}.jsonl")) };
    for part in (0..PARTS).rev() {
        study(Run {
            journal: Some(journal(part)),
            others: Vec::new(),
            share: Share { part, parts: PARTS },
            progress: &mut |_| (),
        });
    }
    let others = (0..PARTS).map(journal).collect();
    let mut units = None;
    let whole = study(Run {
        journal: None,
        others,
        share: Share::WHOLE,
        progress: &mut |told| units = Some(told.units),
    });
    assert!(units.unwrap() >= PARTS, "every part had something to do");
    whole
}
