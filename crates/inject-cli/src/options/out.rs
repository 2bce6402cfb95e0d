//! The folder for results.

use std::{
    cell::RefCell,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{number, outcome::Failure};

/// A folder for results that is known to be writable. It is opened before the work, so that a wrong name costs nothing.
///
/// Folders that this made and nothing was written to are removed with this value.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    path: PathBuf,
    /// The folders that were made, the innermost first.
    made: Vec<PathBuf>,
    access: Access,
    written: RefCell<Vec<String>>,
}

/// The operations that the files of a folder permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    /// The folder is on a read-only medium, or belongs to another user.
    Read,
}

impl OutputFolder {
    /// Opens a folder, or makes it.
    ///
    /// # Errors
    ///
    /// [`Failure`] if something else has this name, or the folder cannot be made or written to.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let made = match fs::metadata(path) {
            Ok(found) if found.is_dir() => Vec::new(),
            Ok(_) => {
                return Err(Failure::usage(format!(
                    "--out {}: expected a folder, found a file",
                    path.display()
                )));
            }
            Err(_) => {
                let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
                let missing = path.ancestors().take_while(missing).map(Path::to_owned).collect();
                fs::create_dir_all(path).map_err(Failure::io("make the folder", path))?;
                missing
            }
        };
        let folder =
            OutputFolder { path: path.to_owned(), made, access: Access::Write, written: RefCell::default() };
        tempfile::tempfile_in(path).map_err(Failure::io("write to the folder", path))?;
        Ok(folder)
    }

    /// The failure of a command that needs an empty folder.
    pub(crate) fn not_empty(&self, found: &OsStr) -> Failure {
        let (path, found) = (self.path.display(), found.to_string_lossy());
        Failure::usage(format!("--out {path}: expected a new or empty folder, found `{found}` in it"))
    }

    /// As [`OutputFolder::open`]. A folder with files that cannot be written to opens too: what is finished in it can be shown,
    /// and nothing is written.
    ///
    /// # Errors
    ///
    /// As [`OutputFolder::open`], except for such a folder.
    pub(crate) fn open_or_read(path: &Path) -> Result<Self, Failure> {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};

        let holds_files = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        match tempfile::tempfile_in(path) {
            Err(error) if holds_files && matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => {
                let (path, made, written) = (path.to_owned(), Vec::new(), RefCell::default());
                Ok(OutputFolder { path, made, access: Access::Read, written })
            }
            _ => OutputFolder::open(path),
        }
    }

    /// Whether files can be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.access == Access::Write
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into the folder, if that is possible.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        if !self.is_writable() {
            return Ok(());
        }
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(Failure::io("write", &path))?;
        self.record(name);
        Ok(())
    }

    /// Remembers that a file was written.
    pub(crate) fn record(&self, name: &str) {
        let mut written = self.written.borrow_mut();
        if !written.iter().any(|known| known == name) {
            written.push(name.to_owned());
        }
    }

    /// The last line of a run: the files written, and where they are. Pictures are named once for both formats.
    pub(crate) fn summary(&self) -> String {
        if !self.is_writable() {
            return format!("wrote nothing: {} is read-only", self.path.display());
        }
        let written = self.written.borrow();
        let mut names: Vec<String> = Vec::new();
        for name in written.iter() {
            match name.rsplit_once('.') {
                Some((stem, "svg" | "png")) => {
                    let both = format!("{stem}.svg/png");
                    if !names.contains(&both) {
                        names.push(both);
                    }
                }
                _ => names.push(name.clone()),
            }
        }
        let files = number::counted(written.len(), "file");
        format!("wrote {files} to {}: {}", self.path.display(), names.join(", "))
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        for folder in &self.made {
            // Fails where something is in the folder, as it should.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Refuses a file name that is not that of an ordinary file, existing or not.
///
/// # Errors
///
/// [`Failure`] for a folder, a device or a pipe.
pub(crate) fn check_file(path: &Path) -> Result<(), Failure> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(Failure::usage(format!("--out {}: expected a file, found a folder", path.display())))
        }
        Ok(found) if !found.is_file() => Err(Failure::usage(format!(
            "--out {}: expected an ordinary file, found a device or a pipe",
            path.display()
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_stays_only_if_something_is_written_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        drop(OutputFolder::open(&path).unwrap());
        assert!(!dir.path().join("a").exists());
        let folder = OutputFolder::open(&path).unwrap();
        for name in ["a.csv", "a.svg", "a.png"] {
            folder.write(name, "1").unwrap();
        }
        assert_eq!(folder.summary(), format!("wrote 3 files to {}: a.csv, a.svg/png", path.display()));
        drop(folder);
        assert!(path.join("a.csv").is_file());
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(
            OutputFolder::open(&path).unwrap_err().to_string().contains("expected a folder, found a file")
        );
        assert!(check_file(dir.path()).unwrap_err().to_string().contains("found a folder"));
        check_file(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_refused() {
        for path in ["/dev/full", "/dev/null"].map(Path::new) {
            assert!(check_file(path).unwrap_err().to_string().contains("a device or a pipe"));
            let refused = OutputFolder::open(path).unwrap_err().to_string();
            assert!(refused.contains("expected a folder, found a file"), "{refused}");
        }
    }
}
