//! Files that a commit is known to lack.
//!
//! A commit never changes, so an absence is for ever. But no hash shows that the answer was right. One may be wrong by mistake, and all
//! answers of an hour may be, whichever processes ask. So an absence counts as known when two fetches, each of which got a whole model or
//! tokenizer, were told of it at times that are far apart.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{below::Below, commit::Commit};

/// The time between two answers that say the same independently of each other, in seconds.
const APART: u64 = 3600;
/// Longest record that is read. One has two lines of some thirty characters for each file.
const MAX_RECORD: u64 = 4 << 10;

/// The Hub's word that a commit lacks a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Absence {
    file: String,
    /// When it was said, in seconds since 1970.
    at: u64,
}

impl Absence {
    /// An absence that the Hub reports now.
    pub(super) fn now(file: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Absence { file: file.to_owned(), at: now.map_or(0, |since| since.as_secs()) }
    }

    fn parse(line: &str) -> Option<Self> {
        let (at, file) = line.split_once(' ')?;
        Some(Absence { file: file.to_owned(), at: at.parse().ok()? })
    }
}

/// The records of one repository's folder.
pub(super) struct Absent<'a> {
    below: &'a Below,
    repo: &'a Path,
}

impl<'a> Absent<'a> {
    pub(super) fn new(below: &'a Below, repo: &'a Path) -> Self {
        Absent { below, repo }
    }

    /// Whether answers that are far apart said that the commit lacks the file.
    pub(super) fn is_known(&self, commit: &Commit, file: &str) -> bool {
        first_and_last(&self.read(commit), file).is_some_and(|(first, last)| last - first >= APART)
    }

    /// Records what a fetch was told. A cache that cannot be written is not an error here.
    pub(super) fn note(&self, commit: &Commit, told: &[Absence]) {
        let mut lines = self.read(commit);
        let mut is_new = false;
        for absence in told {
            let counts = match first_and_last(&lines, &absence.file) {
                None => true,
                Some((first, last)) => last - first < APART && absence.at.abs_diff(first) >= APART,
            };
            if counts {
                lines.push(absence.clone());
                is_new = true;
            }
        }
        if is_new {
            self.write(commit, &lines);
        }
    }

    /// Forgets what was said about a file that is there after all.
    pub(super) fn forget(&self, commit: &Commit, file: &str) {
        let mut lines = self.read(commit);
        if first_and_last(&lines, file).is_some() {
            lines.retain(|line| line.file != file);
            self.write(commit, &lines);
        }
    }

    /// A line for each fetch and file. One that is not understood says nothing.
    fn read(&self, commit: &Commit) -> Vec<Absence> {
        let record = self.below.file(&self.record(commit)).ok().flatten();
        let mut text = String::new();
        let read = record.and_then(|record| {
            File::open(record).and_then(|file| file.take(MAX_RECORD).read_to_string(&mut text)).ok()
        });
        read.map_or(Vec::new(), |_| text.lines().filter_map(Absence::parse).collect())
    }

    fn write(&self, commit: &Commit, lines: &[Absence]) {
        let text: String = lines.iter().map(|Absence { file, at }| format!("{at} {file}\n")).collect();
        let _ = self.below.write(&self.record(commit), &text);
    }

    fn record(&self, commit: &Commit) -> PathBuf {
        self.repo.join(".absent").join(commit.as_str())
    }
}

/// When it was said first, and last, that a file is absent.
fn first_and_last(lines: &[Absence], file: &str) -> Option<(u64, u64)> {
    let times = || lines.iter().filter(|line| line.file == file).map(|line| line.at);
    times().min().zip(times().max())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn commit() -> Commit {
        Commit::parse(&"c".repeat(40)).unwrap()
    }

    fn told(file: &str, at: u64) -> Absence {
        Absence { file: file.to_owned(), at }
    }

    #[test]
    fn an_absence_is_known_when_two_fetches_were_told_of_it_at_different_times() {
        const NOW: u64 = 1_800_000_000;
        let folder = tempfile::tempdir().unwrap();
        let below = Below::new(folder.path().to_owned());
        let absent = Absent::new(&below, Path::new("repo"));
        let both = |at| [told("a.json", at), told("b.json", at)];
        absent.note(&commit(), &both(NOW));
        // Parallel fetches, and those that try again at once, are told by the same Hub in the same state.
        for at in [NOW, NOW + 1, NOW - APART + 1, NOW + APART - 1] {
            absent.note(&commit(), &both(at));
            assert!(!absent.is_known(&commit(), "a.json"), "{at}");
        }
        absent.note(&commit(), &both(NOW + APART)[..1]);
        assert!(absent.is_known(&commit(), "a.json") && !absent.is_known(&commit(), "b.json"));
        assert!(!absent.is_known(&Commit::parse(&"d".repeat(40)).unwrap(), "a.json"));
        absent.forget(&commit(), "a.json");
        absent.note(&commit(), &both(NOW + APART));
        assert!(!absent.is_known(&commit(), "a.json") && absent.is_known(&commit(), "b.json"));
        // A clock that was wrong says no less.
        absent.note(&commit(), &both(NOW));
        assert!(absent.is_known(&commit(), "a.json"));
        (0..10).for_each(|hour| absent.note(&commit(), &both(NOW + hour * APART)));
        assert_eq!(absent.read(&commit()).len(), 4);
    }

    #[test]
    fn a_damaged_or_endless_record_says_nothing_or_what_is_left_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let below = Below::new(folder.path().to_owned());
        let absent = Absent::new(&below, Path::new("repo"));
        let path = folder.path().join("repo/.absent").join(commit().as_str());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let texts = [
            b"".as_slice(),
            b"\xff\xff",
            b"1 a.jso\n99999 a.json",
            b"a.json\na.json\n",
            b"x a.json\n99999 a.json\n",
            &vec![b'\n'; 1 << 20],
        ];
        for text in texts {
            fs::write(&path, text).unwrap();
            assert!(!absent.is_known(&commit(), "a.json"));
        }
    }
}
