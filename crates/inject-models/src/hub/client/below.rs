//! A folder that no path leads out of.
//!
//! Names are checked before they become paths. This is the second line: whatever lies in the folder already, a symbolic link
//! included, is resolved before it is opened, and refused if it leads out. A process that exchanges files at the same time is
//! not defended against: it could write outside by itself.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::whole_file;

/// The reason for which something in the folder cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The operating system refuses to read or write it.
    Io { path: PathBuf, source: io::Error },
    /// A link leads out of the folder.
    LeadsOut { path: PathBuf, target: PathBuf },
    /// Another process holds a lock and makes no progress.
    Busy { path: PathBuf, waited: Duration },
}

impl Trouble {
    /// Turns the error of an operation on `path` into one that names its cause.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Trouble {
        move |source| Trouble::Io { path: path.to_owned(), source }
    }
}

/// The folder. Every path is given relative to it, and made of plain names.
pub(super) struct Below {
    folder: PathBuf,
}

impl Below {
    pub(super) fn new(folder: PathBuf) -> Self {
        Below { folder }
    }

    /// The path as it is written, without a look at the disk.
    pub(super) fn join(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Returns the real path of a file or folder. `None` if there is none, or if a link leads to nothing.
    pub(super) fn resolve(&self, path: &Path) -> Result<Option<PathBuf>, Trouble> {
        let path = self.join(path);
        let real = |path: &Path| match fs::canonicalize(path) {
            Ok(real) => Ok(Some(real)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(Trouble::at(path)(error)),
        };
        let (Some(target), Some(root)) = (real(&path)?, real(&self.folder)?) else { return Ok(None) };
        if target.starts_with(root) { Ok(Some(target)) } else { Err(Trouble::LeadsOut { path, target }) }
    }

    /// The real path of a file, or `None` for anything else: a pipe would keep its reader waiting.
    pub(super) fn file(&self, path: &Path) -> Result<Option<PathBuf>, Trouble> {
        Ok(self.resolve(path)?.filter(|real| real.is_file()))
    }

    /// Makes a folder and those above it. None of them may be a link out.
    pub(super) fn make_folder(&self, path: &Path) -> Result<PathBuf, Trouble> {
        fs::create_dir_all(&self.folder).map_err(Trouble::at(&self.folder))?;
        let mut made = PathBuf::new();
        for name in path {
            made.push(name);
            let whole = self.join(&made);
            match fs::create_dir(&whole) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Trouble::at(&whole)(error));
                }
                _ => self.resolve(&made)?,
            };
        }
        Ok(self.join(path))
    }

    /// Opens a file for reading and writing, and creates it if it does not exist. Something else of that name is removed, and so is a file
    /// that has another name besides, which may lie outside.
    pub(super) fn open(&self, path: &Path) -> Result<File, Trouble> {
        self.make_folder(path.parent().unwrap_or(Path::new("")))?;
        let path = self.join(path);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file() || has_other_names(&found)) {
            fs::remove_file(&path).map_err(Trouble::at(&path))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).open(&path).map_err(Trouble::at(&path))
    }

    /// Writes a small file so that it is there whole or not at all. A link of that name is replaced, not followed.
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<(), Trouble> {
        self.make_folder(path.parent().unwrap_or(Path::new("")))?;
        let path = self.join(path);
        whole_file::replace(&path, text.as_bytes()).map_err(Trouble::at(&path))
    }

    /// Removes a file or a link, never the target of a link.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Trouble> {
        if let Some(parent) = path.parent()
            && self.resolve(parent)?.is_none()
        {
            return Ok(());
        }
        let path = self.join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Trouble::at(&path)(error)),
            _ => Ok(()),
        }
    }
}

/// Whether a file is one of several hard links.
#[cfg(unix)]
fn has_other_names(file: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(file) > 1
}

/// The number of links is not known elsewhere.
#[cfg(not(unix))]
fn has_other_names(_file: &Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::{io::Write, os::unix::fs::symlink};

    /// A folder with a link `out` to a folder beside it that holds `secret`, and with a link `file` to that file.
    fn with_links() -> (tempfile::TempDir, Below) {
        let outer = tempfile::tempdir().unwrap();
        let [inside, outside] = ["inside", "outside"].map(|name| outer.path().join(name));
        [&inside, &outside].iter().for_each(|folder| fs::create_dir(folder).unwrap());
        fs::write(outside.join("secret"), "untouched").unwrap();
        symlink(&outside, inside.join("out")).unwrap();
        symlink("../outside/secret", inside.join("file")).unwrap();
        // A folder whose path begins with that of the folder.
        fs::create_dir(outer.path().join("inside-too")).unwrap();
        symlink("../inside-too", inside.join("beside")).unwrap();
        symlink("nothing", inside.join("dangling")).unwrap();
        (outer, Below::new(inside))
    }

    fn leads_out<T>(outcome: Result<T, Trouble>) -> bool {
        matches!(outcome, Err(Trouble::LeadsOut { .. }))
    }

    #[test]
    fn a_link_that_leads_out_is_refused() {
        let (_outer, below) = with_links();
        for path in ["out", "out/secret", "file", "beside"] {
            assert!(leads_out(below.resolve(Path::new(path))), "{path}");
        }
        assert!(leads_out(below.make_folder(Path::new("out/new"))));
        assert!(leads_out(below.write(Path::new("out/new"), "")));
        assert!(leads_out(below.open(Path::new("out/secret"))));
        assert!(leads_out(below.remove(Path::new("out/secret"))));
        assert_eq!(below.resolve(Path::new("dangling")).unwrap(), None);
        assert_eq!(below.resolve(Path::new("none/at/all")).unwrap(), None);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_replaced_and_not_followed() {
        let (outer, below) = with_links();
        below.write(Path::new("file"), "new").unwrap();
        assert_eq!(fs::read_to_string(below.join(Path::new("file"))).unwrap(), "new");
        symlink("../outside/secret", below.join(Path::new("second"))).unwrap();
        below.open(Path::new("second")).unwrap().write_all(b"new").unwrap();
        symlink("../outside/secret", below.join(Path::new("third"))).unwrap();
        below.remove(Path::new("third")).unwrap();
        assert_eq!(fs::read_to_string(outer.path().join("outside/secret")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(outer.path().join("outside")).unwrap().count(), 1);
    }

    #[test]
    fn a_hard_link_is_replaced_and_not_written_through() {
        let (outer, below) = with_links();
        let secret = outer.path().join("outside/secret");
        fs::hard_link(&secret, below.join(Path::new("hard"))).unwrap();
        below.open(Path::new("hard")).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(secret).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(below.join(Path::new("hard"))).unwrap(), "new");
    }

    #[test]
    fn the_folder_itself_may_be_a_link() {
        let (outer, _) = with_links();
        symlink("inside", outer.path().join("alias")).unwrap();
        let below = Below::new(outer.path().join("alias"));
        below.write(Path::new("a/b"), "text").unwrap();
        assert!(below.resolve(Path::new("a/b")).unwrap().is_some());
    }
}
