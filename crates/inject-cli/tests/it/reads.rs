//! Every read from a device passes through `inject_models::host`, which counts it.

use std::{fs, path::Path};

/// Methods of tensors that read their values.
const READING: [&str; 12] = [
    ".into_data()",
    ".to_data()",
    ".try_into_data()",
    ".try_to_data()",
    ".into_data_as",
    ".to_data_as",
    ".try_into_data_as",
    ".try_to_data_as",
    ".into_scalar",
    ".try_into_vec_as",
    ".try_to_vec_as",
    "Transaction::",
];

/// The module itself, and computations on states in the memory of the processor.
const EXEMPT: [&str; 3] = [
    "inject-models/src/host.rs",
    "inject-models/src/decoder/mapped.rs",
    "inject-models/src/decoder/rowwise.rs",
];

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The lines of a file that are neither comments nor tests, which stand at its end.
fn shipped(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    code.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn every_read_of_a_library_is_counted() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let mut looked_at = 0;
    for name in ["inject-models", "inject-states", "inject-collisions", "inject-sipit", "inject-studies"] {
        let mut files = Vec::new();
        sources(&crates.join(name).join("src"), &mut files);
        for file in files {
            let within = file.strip_prefix(&crates).unwrap().to_string_lossy().replace('\\', "/");
            if EXEMPT.contains(&within.as_str()) || within.ends_with("/tests.rs") {
                continue;
            }
            looked_at += 1;
            for line in shipped(&fs::read_to_string(&file).unwrap()) {
                let reading = READING.iter().find(|method| line.contains(*method));
                assert_eq!(reading, None, "{within}: read by inject_models::host instead: {}", line.trim());
            }
        }
    }
    assert!(looked_at > 100, "{looked_at} files");
}
