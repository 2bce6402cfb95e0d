//! The files of results of all shares, put together.

use std::path::{Path, PathBuf};

use inject_sipit::states::{
    ShareResult,
    durable::{JsonLines, JsonLinesError},
};
use serde_json::{Map, Value};

use super::{Options, jsonl, record::Record, share::ResultShare};
use crate::outcome::{Failure, Outcome};

/// Lines that are written together.
const TOGETHER: usize = 256;

/// A file of results of one share.
struct File<'a> {
    path: &'a Path,
    /// The JSON of the header, for comparison with the others.
    header: Value,
    share: ResultShare,
}

/// Puts files of results together. Neither the model nor the states are needed for it.
pub(super) fn run(options: &Options, paths: &[PathBuf]) -> Result<Outcome, Failure> {
    let Some(out) = &options.out else {
        return Err(Failure::usage("--merge: give --out FILE for the prompts of all shares"));
    };
    let files = paths.iter().map(|path| File::open(path)).collect::<Result<Vec<_>, _>>()?;
    let files = in_order(files)?;
    let Some(first) = files.first() else { return Err(Failure::usage("--merge: expected files of results")) };
    let all = first.prompts()?;
    let (mut output, mut tally) = jsonl::open(out, &first.common(), 0..all, "shares")?;
    for file in &files {
        let mut next = file.share.first_prompt;
        let mut records: Vec<Record> = Vec::new();
        let mut failed = None;
        let take = &mut |record: Record| {
            if record.prompt != next {
                return Err(format!("holds prompt {}, expected prompt {next}", record.prompt));
            }
            next += 1;
            if record.prompt < tally.next_prompt() || failed.is_some() {
                return Ok(());
            }
            tally.take(&record)?;
            records.push(record.into_written());
            if records.len() == TOGETHER {
                failed = output.append_all(&std::mem::take(&mut records)).err();
            }
            Ok(())
        };
        JsonLines::read(file.path, &file.header, take).map_err(JsonLinesError::of_a_share)?;
        match failed {
            None => output.append_all(&records)?,
            Some(error) => return Err(error.into()),
        }
        let (found, expected) = (next - file.share.first_prompt, file.share.prompts);
        if found != expected {
            return Err(Failure::new(format!(
                "{} is unfinished: it holds {found} of the {expected} prompts of share {}; run its command again to continue",
                file.path.display(),
                file.share.share
            )));
        }
    }
    tally.tell(options.json, out)
}

impl File<'_> {
    fn open(path: &Path) -> Result<File<'_>, Failure> {
        let shown = path.display();
        let header: Option<Value> = match JsonLines::header(path) {
            Err(JsonLinesError::Syntax { .. }) => None,
            other => other?,
        };
        let header = header.unwrap_or(Value::Null);
        let share = match header["job"].get("share") {
            Some(share) => serde_json::from_value(share.clone()).ok().filter(ResultShare::is_possible),
            None if header["job"].is_object() => {
                return Err(Failure::new(format!(
                    "{shown} is not a share: it is for all prompts of its job"
                )));
            }
            None => None,
        };
        let share = share
            .ok_or_else(|| Failure::new(format!("{shown} is not a file of results of inject invert")))?;
        Ok(File { path, header, share })
    }

    /// The job without the share: that of the whole.
    fn common(&self) -> Value {
        let mut job = self.header["job"].clone();
        if let Some(job) = job.as_object_mut() {
            job.remove("share");
        }
        job
    }

    /// The number of prompts of all shares.
    fn prompts(&self) -> Result<usize, Failure> {
        let prompts =
            self.header["job"]["prompts"].as_u64().and_then(|prompts| usize::try_from(prompts).ok());
        prompts.ok_or_else(|| {
            Failure::new(format!("{}: its header does not count the prompts", self.path.display()))
        })
    }
}

/// The files in the order of their prompts, if they are those of all shares of one job.
fn in_order(files: Vec<File<'_>>) -> Result<Vec<File<'_>>, Failure> {
    let Some(first) = files.first() else { return Ok(files) };
    for file in &files[1..] {
        let (found, expected) = (file.common(), first.common());
        // An older version did not record every field.
        let names = [&expected, &found].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
        let value = |of: &Value, name: &str| of.get(name).cloned().unwrap_or_default();
        let mut differences = names.filter(|name| value(&found, name) != value(&expected, name));
        if let Some(name) = differences.next() {
            let (path, other) = (file.path.display(), first.path.display());
            let (found, value) = (value(&found, name), value(&expected, name));
            return Err(Failure::new(format!(
                "{path} and {other} are not shares of one job: {name} is {found} in the first and {value} in the second"
            )));
        }
    }
    let result =
        |file: &File<'_>| ShareResult::new(file.path.to_owned(), file.share.share, file.share.range());
    let results: Vec<ShareResult> = files.iter().map(result).collect();
    let order = ShareResult::cover(&results, first.prompts()?, "prompts")?;
    let mut files: Vec<Option<File<'_>>> = files.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|at| files[at].take()).collect())
}
