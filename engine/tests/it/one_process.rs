//! The pieces of the study in one process: the bytes that the program writes, and what is refused.

use std::num::NonZeroUsize;

use inject_collisions::Metric;
use inject_engine::{
    EngineError, PairOptions, PieceDescriptor, PieceError, chain, fill_journal, measure_here,
};
use inject_studies::corpus::CorpusPiece;

use crate::{
    data::{self, TAPS},
    study::Study,
};

const BANDS: NonZeroUsize = NonZeroUsize::new(3).unwrap();
const CLOSEST: NonZeroUsize = NonZeroUsize::new(12).unwrap();

#[test]
fn the_files_are_those_of_the_study() {
    let folder = tempfile::tempdir().unwrap();
    let store = data::write(&folder.path().join("states"), 400, 24);
    for metric in [Metric::L2, Metric::Cosine] {
        let options = PairOptions::new(CLOSEST, metric, 1 << 28);
        let alone = Study::alone(&store, BANDS, options);
        let journal = folder.path().join(format!("{metric:?}.jsonl"));
        let found = fill_journal(&journal, &store, &TAPS, BANDS, options, measure_here).unwrap();
        assert!(found.complete);
        assert_eq!(Study::of_journal(&journal, &store, BANDS, options), alone);
    }
}

#[test]
fn a_journal_of_another_question_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = data::write(&folder.path().join("states"), 20, 3);
    let journal = folder.path().join("corpus.jsonl");
    let fill = |metric| {
        let options = PairOptions::new(CLOSEST, metric, 1 << 28);
        fill_journal(&journal, &store, &TAPS, BANDS, options, measure_here)
    };
    fill(Metric::L2).unwrap();
    let error = fill(Metric::Cosine).unwrap_err();
    assert!(matches!(error, EngineError::Study(_)), "{error}");
    assert!(chain(&error).contains("metric"), "{}", chain(&error));
}

#[test]
fn another_store_at_the_same_path_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = data::write(folder.path(), 20, 3);
    let options = PairOptions::new(CLOSEST, Metric::L2, 1 << 28);
    let mut pieces = PieceDescriptor::of_store(&store, &CorpusPiece::all(&TAPS, BANDS), options);
    assert_eq!(pieces.len(), 14);
    pieces[7].manifest.prompts_sha256 = "others".to_owned();
    let error = measure_here(&pieces).unwrap_err();
    assert!(matches!(&error, EngineError::Piece(PieceError::OtherStore { .. })), "{error}");
    assert!(error.to_string().contains(r#""prompts_sha256":"others""#), "{error}");
}
