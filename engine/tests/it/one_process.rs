//! The search in one process: what the study of the program finds, and what is refused.

use std::{collections::BTreeMap, num::NonZeroUsize};

use burn::tensor::Device;
use inject_collisions::{Metric, NoiseFloor};
use inject_engine::{EngineError, PairOptions, TileDescriptor, TileError, closest_pairs_here};
use inject_studies::{Run, corpus, corpus::CorpusStates, tap_distances::TapOptions};

use crate::data::{self, TAPS};

const BANDS: NonZeroUsize = NonZeroUsize::new(3).unwrap();
const CLOSEST: NonZeroUsize = NonZeroUsize::new(12).unwrap();

#[test]
fn the_study_of_the_program_finds_the_same_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let store = data::write(folder.path(), 400, 24);
    for metric in [Metric::L2, Metric::Cosine] {
        let noise: BTreeMap<_, _> = TAPS.map(|tap| (tap, NoiseFloor::of_batches(0.0))).into();
        let options = TapOptions::default().with_metric(metric).with_closest(CLOSEST).with_tiles(BANDS);
        let states = CorpusStates::new(&store, 1, &noise);
        let study = corpus(&states, &TAPS, &options, &Device::flex(), Run::silent()).unwrap();
        let options = PairOptions::new(CLOSEST, metric, options.memory_budget);
        let tiles = TileDescriptor::of_store(folder.path(), &[], BANDS, options).unwrap();
        let found = closest_pairs_here(&tiles).unwrap();
        assert_eq!(study.taps.len(), TAPS.len());
        for (found, study) in found.iter().zip(&study.taps) {
            let (pairs, of_study) = (&found.closest, &study.distances);
            assert_eq!((found.tap, &pairs.pairs), (study.tap, &of_study.closest));
            assert_eq!((pairs.decided, pairs.computed), (of_study.pairs, of_study.computed));
        }
    }
}

#[test]
fn another_store_at_the_same_path_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    data::write(folder.path(), 20, 3);
    let options = PairOptions::new(CLOSEST, Metric::L2, 1 << 28);
    let mut tiles = TileDescriptor::of_store(folder.path(), &TAPS, BANDS, options).unwrap();
    assert_eq!(tiles.len(), 12);
    tiles[7].manifest.prompts_sha256 = "others".to_owned();
    let error = closest_pairs_here(&tiles).unwrap_err();
    assert!(matches!(&error, EngineError::Tile(TileError::OtherStore { .. })), "{error}");
    assert!(error.to_string().contains(r#""prompts_sha256":"others""#), "{error}");
}

#[test]
fn no_tiles_are_refused() {
    assert!(matches!(closest_pairs_here(&[]), Err(EngineError::NoTiles)));
}
