//! `progress.json`: the job of an unfinished store and the number of prompts on disk.

use std::path::Path;

use crate::{
    durable,
    store::{
        error::StoreError,
        ids::extent::{self, PromptIter},
        manifest::{Manifest, json},
    },
};

pub(crate) const FILE: &str = "progress.json";

/// A record of the durable part of an unfinished store. Anything in the files beyond that part does not count.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Journal {
    /// The manifest of the store when it is finished.
    pub(crate) job: Manifest,
    /// The number of whole prompts on disk. While it is 0, the other files may be missing or incomplete.
    pub(crate) prompts_done: usize,
    /// The number of their rows.
    pub(crate) rows_done: usize,
}

impl Journal {
    pub(crate) fn begin(job: Manifest) -> Self {
        Journal { job, prompts_done: 0, rows_done: 0 }
    }

    /// Reads the journal of a folder. Returns `None` if it has none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, StoreError> {
        json::read_versioned(&dir.join(FILE), |json| &json["job"])
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let path = dir.join(FILE);
        Ok(durable::replace(&path, &json::to_json(self, &path)?)?)
    }

    /// Shortens the durable part so that it ends before the prompt to which a row belongs.
    pub(crate) fn go_back<'a>(&mut self, prompts: impl PromptIter<'a>, row: usize) {
        (self.prompts_done, self.rows_done) = extent::prompt_of_row(prompts, self.job.spec.positions, row);
    }

    /// Removes the journal, and any file that an interrupted write of it left.
    pub(crate) fn remove(dir: &Path) -> Result<(), StoreError> {
        let path = dir.join(FILE);
        durable::remove(&path)?;
        Ok(durable::remove(&durable::partial(&path))?)
    }

    /// Checks that this is the journal of `job` and that its counts are possible.
    ///
    /// # Errors
    ///
    /// [`StoreError::DifferentJob`] with the first field that differs; [`StoreError::Field`].
    pub(crate) fn check<'a>(
        &self,
        dir: &Path,
        job: &Manifest,
        prompts: impl PromptIter<'a>,
    ) -> Result<(), StoreError> {
        if let Some(difference) = job.difference_of_job(&self.job) {
            return Err(StoreError::different_job(dir, difference));
        }
        let wrong = |field: &str, found: usize, expected: String| StoreError::Field {
            path: dir.join(FILE),
            field: field.to_owned(),
            found: found.to_string(),
            expected,
        };
        if self.prompts_done > job.prompt_count {
            let expected = format!("at most {}", job.prompt_count);
            return Err(wrong("prompts_done", self.prompts_done, expected));
        }
        let rows = extent::rows(prompts.take(self.prompts_done), job.spec.positions);
        if self.rows_done != rows {
            return Err(wrong("rows_done", self.rows_done, rows.to_string()));
        }
        Ok(())
    }
}
