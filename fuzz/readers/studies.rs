//! Readers of the journals of studies.

use std::fs;

use inject_studies::{
    StudyName,
    journal::{Description, Journal, study_of},
};

/// The readers, each with the name of its target and of its folder of seeds.
pub const READERS: &[(&str, fn(&[u8]))] = &[("journal", journal)];

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
