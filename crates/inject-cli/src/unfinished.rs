//! Files that are kept together or not at all.

use std::path::PathBuf;

use inject_sipit::states::durable;

/// Files that are removed, finished or not, unless all of them are finished.
pub(crate) struct Unfinished(Vec<PathBuf>);

impl Unfinished {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Unfinished(files)
    }

    pub(crate) fn finished(mut self) {
        self.0.clear();
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in &self.0 {
            // The error that led here is the one to report.
            let _ = durable::remove(path);
            let _ = durable::remove(&durable::partial(path));
        }
    }
}
