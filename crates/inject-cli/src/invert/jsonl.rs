//! The file of results: its first line describes the job, and each further line holds one prompt, in the order of the store.

use std::{ops::Range, path::Path};

use inject_sipit::states::durable::{self, JsonLines, JsonLinesError, circumstances};
use serde_json::Value;

use super::{record::Record, tally::Tally};
use crate::{interrupt, options::out::check_file, outcome::Failure};

/// Begins a file of results, or continues one that was begun with the same job. The prompts that are there already are
/// counted in the tally. `all` are the prompts that the file is for, of `whole`, the store or the files. A file of another job
/// without any prompt, as a run with a wrong option leaves it, is begun again.
///
/// # Errors
///
/// [`Failure`] if the file belongs to another job or to none, if another process is writing it, or if a line is damaged, not
/// that of the next prompt, or one too many. The file is then as it was.
pub(super) fn open(
    path: &Path,
    job: &impl serde::Serialize,
    all: Range<usize>,
    whole: &str,
) -> Result<(JsonLines, Tally), Failure> {
    check_file(path)?;
    let mut header = serde_json::json!({ "job": job });
    leave_out_unrecorded(&mut header["job"], path);
    let mut tally = Tally::beginning_with(all.start);
    let mut open = || JsonLines::open(path, &header, &mut |record: Record| tally.take(&record));
    let output = match open() {
        Err(JsonLinesError::Header { unused: true, .. }) => {
            durable::remove(path)?;
            open()?
        }
        other => other?,
    };
    let all = all.len();
    if tally.prompts > all {
        let (path, found) = (path.display(), tally.prompts);
        return Err(Failure::new(format!(
            "{path} holds {found} prompts, expected the {all} of the {whole} at most"
        )));
    }
    interrupt::advise("finished prompts are in the file; the same command continues from there");
    Ok((output, tally))
}

/// Leaves out of a job the fields that the version which began the file did not know.
fn leave_out_unrecorded(job: &mut Value, path: &Path) {
    let Ok(Some(begun)) = JsonLines::header::<Value>(path) else { return };
    if let (Some(job), Some(begun)) = (job.as_object_mut(), begun["job"].as_object()) {
        circumstances::leave_out_unrecorded(job, begun);
    }
}
