//! The folder for results.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use crate::{Failure, number};

/// A folder for results that is known to be writable. It is opened before the work, so that a wrong name costs nothing.
///
/// Folders that this made and nothing was written to are removed with this value.
#[derive(Debug)]
pub(crate) struct OutputFolder {
    path: PathBuf,
    /// The folders that were made, the innermost first.
    made: Vec<PathBuf>,
    written: RefCell<Vec<String>>,
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
        let folder = OutputFolder { path: path.to_owned(), made, written: RefCell::default() };
        tempfile::tempfile_in(path).map_err(Failure::io("write to the folder", path))?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
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
            assert!(OutputFolder::open(path).is_err());
        }
    }
}
