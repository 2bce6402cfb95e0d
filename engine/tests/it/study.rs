//! The two files of the study, as the program writes them.

use std::{collections::BTreeMap, fs, num::NonZeroUsize, path::Path};

use burn::tensor::Device;
use inject_collisions::{NoiseFloor, states::store::Store};
use inject_engine::PairOptions;
use inject_studies::{Run, corpus, corpus::CorpusStates};

use crate::data::TAPS;

/// The bytes of `corpus.jsonl` and of `corpus.json`.
#[derive(Debug, PartialEq)]
pub(crate) struct Study {
    pub(crate) journal: String,
    result: String,
}

impl Study {
    /// Carries out the study in this process.
    pub(crate) fn alone(store: &Store, bands: NonZeroUsize, options: PairOptions) -> Study {
        let folder = tempfile::tempdir().unwrap();
        Study::of_journal(&folder.path().join("corpus.jsonl"), store, bands, options)
    }

    /// Carries out what a journal lacks.
    pub(crate) fn of_journal(
        journal: &Path,
        store: &Store,
        bands: NonZeroUsize,
        options: PairOptions,
    ) -> Study {
        let noise: BTreeMap<_, _> = TAPS.map(|tap| (tap, NoiseFloor::of_batches(0.0))).into();
        let options = options.study().with_tiles(bands);
        let states = CorpusStates::new(store, 1, &noise);
        let run = Run::silent().with_journal(journal);
        let found = corpus(&states, &TAPS, &options, &Device::flex(), run).unwrap();
        assert!(found.completeness.complete);
        Study {
            journal: fs::read_to_string(journal).unwrap(),
            result: serde_json::to_string_pretty(&found).unwrap(),
        }
    }
}
