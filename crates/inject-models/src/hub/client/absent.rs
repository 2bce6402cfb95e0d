//! Files that a commit is known to lack.
//!
//! A commit never changes, so an absence is for ever. But no hash shows that the answer was right, and one may be wrong by mistake. So
//! an absence counts as known when two fetches, each of which got a whole model or tokenizer, were told of it.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{below::Below, commit::Commit};

/// The fetches that must have been told of an absence.
const FETCHES: usize = 2;
/// Longest record that is read. One has a line of some twenty characters for each fetch and file.
const MAX_RECORD: u64 = 4 << 10;

/// The records of one repository's folder.
pub(super) struct Absent<'a> {
    below: &'a Below,
    repo: &'a Path,
}

impl<'a> Absent<'a> {
    pub(super) fn new(below: &'a Below, repo: &'a Path) -> Self {
        Absent { below, repo }
    }

    /// Whether enough fetches were told that the commit lacks the file.
    pub(super) fn is_known(&self, commit: &Commit, file: &str) -> bool {
        times(&self.read(commit), file) >= FETCHES
    }

    /// Records that a fetch was told of these absences. A cache that cannot be written is not an error here.
    pub(super) fn note(&self, commit: &Commit, files: &[String]) {
        let mut lines = self.read(commit);
        let known = lines.len();
        for file in files {
            if times(&lines, file) < FETCHES {
                lines.push(file.clone());
            }
        }
        if lines.len() > known {
            self.write(commit, &lines);
        }
    }

    /// Forgets what was said about a file that is there after all.
    pub(super) fn forget(&self, commit: &Commit, file: &str) {
        let mut lines = self.read(commit);
        if times(&lines, file) > 0 {
            lines.retain(|line| line != file);
            self.write(commit, &lines);
        }
    }

    /// A line for each fetch and file.
    fn read(&self, commit: &Commit) -> Vec<String> {
        let record = self.below.file(&self.record(commit)).ok().flatten();
        let mut text = String::new();
        let read = record.and_then(|record| {
            File::open(record).and_then(|file| file.take(MAX_RECORD).read_to_string(&mut text)).ok()
        });
        read.map_or(Vec::new(), |_| text.lines().map(str::to_owned).collect())
    }

    fn write(&self, commit: &Commit, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let _ = self.below.write(&self.record(commit), &text);
    }

    fn record(&self, commit: &Commit) -> PathBuf {
        self.repo.join(".absent").join(commit.as_str())
    }
}

fn times(lines: &[String], file: &str) -> usize {
    lines.iter().filter(|line| *line == file).count()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn commit() -> Commit {
        Commit::parse(&"c".repeat(40)).unwrap()
    }

    #[test]
    fn an_absence_is_known_when_two_fetches_were_told_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let below = Below::new(folder.path().to_owned());
        let absent = Absent::new(&below, Path::new("repo"));
        let files = ["a.json".to_owned(), "b.json".to_owned()];
        absent.note(&commit(), &files);
        assert!(!absent.is_known(&commit(), "a.json"));
        absent.note(&commit(), &files[..1]);
        assert!(absent.is_known(&commit(), "a.json") && !absent.is_known(&commit(), "b.json"));
        assert!(!absent.is_known(&Commit::parse(&"d".repeat(40)).unwrap(), "a.json"));
        absent.forget(&commit(), "a.json");
        absent.note(&commit(), &files);
        assert!(!absent.is_known(&commit(), "a.json") && absent.is_known(&commit(), "b.json"));
        let record = fs::read_to_string(folder.path().join("repo/.absent").join(commit().as_str())).unwrap();
        (0..10).for_each(|_| absent.note(&commit(), &files));
        assert!(record.lines().count() == 3 && absent.read(&commit()).len() == 4);
    }

    #[test]
    fn a_damaged_or_endless_record_says_nothing_or_what_is_left_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let below = Below::new(folder.path().to_owned());
        let absent = Absent::new(&below, Path::new("repo"));
        let path = folder.path().join("repo/.absent").join(commit().as_str());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for text in [b"".as_slice(), b"\xff\xff", b"a.jso\na.json", &vec![b'\n'; 1 << 20]] {
            fs::write(&path, text).unwrap();
            assert!(!absent.is_known(&commit(), "a.json"));
        }
    }
}
