//! Every reader, over the seeds and the shrunk findings of its fuzz target.

#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/corpus.rs"]
mod corpus;
#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/sipit.rs"]
mod readers;

#[test]
fn every_reader_survives_its_corpus() {
    corpus::run(readers::READERS);
}

#[test]
#[ignore = "writes files into the repository"]
fn write_seeds() {
    corpus::write("lens", "made.safetensors", &readers::made_lens());
    corpus::write("lens_share", "made.safetensors", &readers::made_share());
    corpus::write("calibration", "made.safetensors", &readers::made_calibration());
}
