//! Every reader, over the seeds and the shrunk findings of its fuzz target.

#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/corpus.rs"]
mod corpus;
#[allow(unreachable_pub, reason = "the fuzz targets share it")]
#[path = "../../../../fuzz/readers/states.rs"]
mod readers;

#[test]
fn every_reader_survives_its_corpus() {
    corpus::run(readers::READERS);
}

#[test]
#[ignore = "writes files into the repository"]
fn write_seeds() {
    use inject_states::durable::JsonLines;

    let lines =
        [serde_json::json!({ "unit": 1, "result": 0.1 }), serde_json::json!({ "unit": 2, "result": 0.3 })];
    corpus::write("json_lines", "two-lines.jsonl", &JsonLines::text(&readers::JOURNAL, &lines));
    write_files(
        "store",
        ["finished", "unfinished"],
        &[readers::finished_store(), readers::unfinished_store()],
    );
    write_files("store_shares", ["first", "second"], &readers::shares());
}

/// Writes the files of stores, each after its number.
fn write_files(target: &str, kinds: [&str; 2], stores: &[Vec<(String, Vec<u8>)>]) {
    let files = kinds.iter().zip(stores).flat_map(|(kind, files)| files.iter().map(move |file| (kind, file)));
    for (number, (kind, (name, content))) in files.enumerate() {
        corpus::write(target, &format!("{kind}-{name}"), &[&[number as u8], content.as_slice()].concat());
    }
}
