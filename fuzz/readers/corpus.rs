//! The files of `seeds/`, each given once to its reader.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The longest time for one file. A reader takes milliseconds; the rest is for a busy machine.
const LONGEST: Duration = Duration::from_secs(20);

/// Gives each reader the files in the folder of its name.
#[allow(clippy::print_stdout, reason = "the last name is shown if the test fails")]
pub fn run(readers: &[(&str, fn(&[u8]))]) {
    for (name, read) in readers {
        let folder = folder(name);
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no seeds for {name}");
        for path in paths {
            println!("{}", path.display());
            let (bytes, begin) = (fs::read(&path).unwrap(), Instant::now());
            read(&bytes);
            assert!(begin.elapsed() < LONGEST, "{} took {:?}", path.display(), begin.elapsed());
        }
    }
}

/// Writes a file into the corpus of a target.
#[allow(dead_code, reason = "the readers of models have seeds from a script only")]
pub fn write(target: &str, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder(target)).unwrap();
    fs::write(folder(target).join(name), bytes).unwrap();
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target)
}
