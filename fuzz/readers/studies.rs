//! Readers of the journals and the results of studies.

use std::fs;

use inject_studies::{
    StudyName, between_models,
    corpus::CorpusStudy,
    journal::{Description, Journal, study_of},
};

/// The readers, each with the name of its target and of its folder of seeds.
pub const READERS: &[(&str, fn(&[u8]))] = &[("corpus_result", corpus_result), ("journal", journal)];

/// The description of the study that the journals are of.
pub fn about() -> Description {
    Description::new(StudyName::Lengths, serde_json::json!({ "count": 3 }))
}

/// The journal of another part, and then the study's own.
pub fn journal(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    fs::write(&path, bytes).unwrap();
    let _ = study_of(&path);
    let mut part = Journal::<u32, f64>::in_memory(&about());
    let absorbed = part.absorb(&path);
    assert_eq!(fs::read(&path).unwrap(), bytes, "the journal of another part stays as it is");
    if let Ok(mut journal) = Journal::<u32, f64>::open(&path, &about()) {
        if absorbed.is_ok() {
            for unit in 0..4 {
                assert_eq!(part.result(&unit).is_some(), journal.result(&unit).is_some());
            }
        }
        journal.push(3, 0.25).unwrap();
    }
}

/// The `corpus.json` of one model, compared with itself.
pub fn corpus_result(bytes: &[u8]) {
    if let Ok(study) = serde_json::from_slice::<CorpusStudy>(bytes) {
        let compared = between_models(&study, &study);
        assert!(compared.taps.len() <= study.taps.len());
        serde_json::to_string(&compared).unwrap();
    }
}
