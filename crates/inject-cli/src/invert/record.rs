//! A line of the file of results.

use serde::{Deserialize, Serialize};

use super::report::Recovered;

/// A line of the file of results: one prompt of the store, the batch or the folder. The first line of the file is a header of its own.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The number of the prompt among all, from 0.
    pub(super) prompt: usize,
    /// The name of the file that holds its states; absent for the prompts of a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The number of the prompt in that file, from 0; absent if it is the only one there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row: Option<usize>,
    /// The numbers of prompts and positions recovered.
    pub(super) recovered: Recovered,
    /// The XXH3 of the line without this member, which is its last one.
    #[serde(rename = "xxh3", default, skip_serializing_if = "Option::is_none")]
    _xxh3: Option<String>,
}

impl Record {
    pub(super) fn new(prompt: usize, recovered: Recovered) -> Self {
        // The file adds the checksum.
        Record { prompt, file: None, row: None, recovered, _xxh3: None }
    }

    /// The record of a prompt in a file of states.
    pub(super) fn of_file(self, file: String, row: Option<usize>) -> Self {
        Record { file: Some(file), row, ..self }
    }

    /// The record as it is written: without the checksum, and without the times and calibrations that older versions recorded.
    pub(super) fn into_written(self) -> Self {
        Record { recovered: self.recovered.of_states_alone(), _xxh3: None, ..self }
    }
}
