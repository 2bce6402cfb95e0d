//! Gives the reader of chat templates the seeds and the minimized findings of its fuzz target.

#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/corpus.rs"]
mod corpus;
#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/cli.rs"]
mod readers;

#[test]
fn every_reader_survives_its_corpus() {
    corpus::run(readers::READERS);
}
