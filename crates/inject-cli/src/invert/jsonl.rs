//! The file of results: its first line describes the job, and each further line holds one prompt, in the order of the store.

use std::path::Path;

use inject_sipit::states::durable::{self, JsonLines, JsonLinesError};

use super::tally::{Record, Tally};
use crate::{Failure, options::out::check_file};

/// Begins a file of results, or goes on with one that was begun with the same job. The prompts that are there already are
/// counted in `tally`. A file of another job without any prompt, as a run with a wrong option leaves it, is begun again.
///
/// # Errors
///
/// [`Failure`] if the file belongs to another job or to none, if another process is writing it, or if a line is damaged or not
/// that of the next prompt. The file is then as it was.
pub(super) fn open(
    path: &Path,
    job: &impl serde::Serialize,
    tally: &mut Tally,
) -> Result<JsonLines, Failure> {
    check_file(path)?;
    let header = serde_json::json!({ "job": job });
    let mut open = || JsonLines::open(path, &header, &mut |record: Record| tally.take(&record));
    match open() {
        Err(JsonLinesError::Header { unused: true, .. }) => {
            durable::remove(path)?;
            Ok(open()?)
        }
        other => Ok(other?),
    }
}
