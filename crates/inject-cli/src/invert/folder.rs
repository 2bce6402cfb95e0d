//! The files of states in a folder and in the folders within it.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
};

use inject_sipit::states::foreign::StatesFile;

use crate::{number::counted, outcome::Failure, output::note};

/// The levels of folders that are read: programs write `RUN/tp_rank_0/hidden_states.pt` and `rows_0-2000/data_0.ckpt`.
const DEEPEST: usize = 4;

/// Whether a folder is a store.
pub(super) fn is_store(folder: &Path) -> bool {
    folder.join("manifest.json").exists()
}

/// Returns the files of states in a folder that is not a store, in the order of their names: numbers within names count as numbers.
///
/// Links within a folder in it are not followed, nor are links to folders: they may lead anywhere. Hidden folders and stores are left out.
pub(super) fn files_of_states(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Found::default();
    found.collect(folder, 1)?;
    let left_out = [(found.links, "link"), (found.stores, "store"), (found.deeper, "deeper folder")];
    for (count, what) in left_out.into_iter().filter(|(count, _)| *count > 0) {
        note(&format!("left out in {}: {}", folder.display(), counted(count, what)));
    }
    found.files.sort_by(|a, b| in_natural_order(&relative(a, folder), &relative(b, folder)));
    Ok(found.files)
}

/// The name of a file in a folder, with those of the folders between. A moved folder holds the same files.
pub(super) fn relative(path: &Path, folder: &Path) -> String {
    let within = path.strip_prefix(folder).ok().filter(|rest| rest.file_name().is_some());
    let name = within.unwrap_or_else(|| Path::new(path.file_name().unwrap_or_default()));
    let parts = name.iter().map(|part| {
        // Unlike a lossy text, the escaped one is different for different names.
        part.to_str().map_or_else(|| format!("{part:?}"), str::to_owned)
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The files of states, and the number of entries that were left out.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    links: usize,
    stores: usize,
    deeper: usize,
}

impl Found {
    fn collect(&mut self, folder: &Path, level: usize) -> Result<(), Failure> {
        for entry in fs::read_dir(folder).map_err(Failure::io("read", folder))? {
            let entry = entry.map_err(Failure::io("read", folder))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(Failure::io("read", folder))?);
            let is_named = StatesFile::is_named(&path);
            if kind.is_symlink() {
                // The links in the folder itself are the user's choice of files.
                match path.is_file() && is_named && level == 1 {
                    true => self.files.push(path),
                    false if is_named || path.is_dir() => self.links += 1,
                    false => {}
                }
            } else if kind.is_file() && is_named {
                self.files.push(path);
            } else if kind.is_dir() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
                match () {
                    () if is_store(&path) => self.stores += 1,
                    () if level == DEEPEST => self.deeper += 1,
                    () => self.collect(&path, level + 1)?,
                }
            }
        }
        Ok(())
    }
}

/// Compares names: `data_2` comes before `data_10`.
pub(super) fn in_natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (digits, others) = (number(left), number(right));
        let order = match (digits, others) {
            ("", _) | (_, "") => match (left.chars().next(), right.chars().next()) {
                // Equal numbers may be written differently.
                (None, None) => return a.cmp(b),
                (one, other) if one == other => {
                    let length = one.map_or(0, char::len_utf8);
                    (left, right) = (&left[length..], &right[length..]);
                    continue;
                }
                (one, other) => return one.cmp(&other),
            },
            (digits, others) => {
                let [digits, others] = [digits, others].map(|digits| digits.trim_start_matches('0'));
                digits.len().cmp(&others.len()).then_with(|| digits.cmp(others))
            }
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (&left[digits.len()..], &right[others.len()..]);
    }
}

/// The digits at the beginning of a text.
fn number(text: &str) -> &str {
    &text[..text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        files_of_states(folder).unwrap().iter().map(|path| relative(path, folder)).collect()
    }

    fn write(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
    }

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = [
            "rows_10-20/data_0",
            "b",
            "rows_2-10/data_10",
            "rows_2-10/data_9",
            "data_02",
            "data_2",
            "a",
            "ä1",
        ];
        names.sort_by(|a, b| in_natural_order(a, b));
        let expected = [
            "a",
            "b",
            "data_02",
            "data_2",
            "rows_2-10/data_9",
            "rows_2-10/data_10",
            "rows_10-20/data_0",
            "ä1",
        ];
        assert_eq!(names, expected);
        let long = "9".repeat(60);
        assert_eq!(in_natural_order(&long, &format!("1{long}")), Ordering::Less);
        assert_eq!(in_natural_order("a1", "a"), Ordering::Greater);
    }

    #[test]
    fn folders_within_a_folder_are_read_and_stores_hidden_and_deep_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let written = [
            "rows_0-2000/data_10.ckpt",
            "rows_0-2000/data_2.ckpt",
            "run/tp_rank_0/hidden_states.pt",
            "run/tp_rank_0/notes.txt",
            "last.npy",
            ".git/object.bin",
            "store/manifest.json",
            "store/states.safetensors",
            "1/2/3/fourth.npy",
            "1/2/3/4/fifth.npy",
        ];
        write(folder.path(), &written);
        let expected = [
            "1/2/3/fourth.npy",
            "last.npy",
            "rows_0-2000/data_2.ckpt",
            "rows_0-2000/data_10.ckpt",
            "run/tp_rank_0/hidden_states.pt",
        ];
        assert_eq!(names(folder.path()), expected);
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_and_within_folders_are_not_followed() {
        use std::os::unix::fs::symlink;
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(outside.path(), &["a.npy"]);
        write(folder.path(), &["run/b.npy"]);
        symlink(outside.path(), folder.path().join("elsewhere")).unwrap();
        symlink(folder.path(), folder.path().join("run/again")).unwrap();
        symlink(outside.path().join("a.npy"), folder.path().join("run/a.npy")).unwrap();
        symlink(outside.path().join("a.npy"), folder.path().join("chosen.npy")).unwrap();
        assert_eq!(names(folder.path()), ["chosen.npy", "run/b.npy"]);
    }
}
