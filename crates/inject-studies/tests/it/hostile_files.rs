//! Gives every reader the seeds and the minimized findings of its fuzz target.

#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/corpus.rs"]
mod corpus;
#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/studies.rs"]
mod readers;

#[test]
fn every_reader_survives_its_corpus() {
    corpus::run(readers::READERS);
}

#[test]
#[ignore = "writes files into the repository"]
fn write_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let mut journal = inject_studies::journal::Journal::<u32, f64>::open(&path, &readers::about()).unwrap();
    journal.push(1, 0.1).unwrap();
    journal.push(2, 0.3).unwrap();
    corpus::write("journal", "two-units.jsonl", &std::fs::read(&path).unwrap());
}
