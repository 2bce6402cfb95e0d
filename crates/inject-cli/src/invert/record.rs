//! A line of the file of results.

use serde::{Deserialize, Serialize};

use super::report::Recovered;

/// A line of the file of results: one prompt of the store. The first line of the file is a header of its own.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The number of the prompt in the store, from 0.
    pub(super) prompt: usize,
    /// The numbers of prompts and positions recovered.
    pub(super) recovered: Recovered,
    /// The XXH3 of the line without this member, which is its last one.
    #[serde(rename = "xxh3", default, skip_serializing_if = "Option::is_none")]
    _xxh3: Option<String>,
}

impl Record {
    pub(super) fn new(prompt: usize, recovered: Recovered) -> Self {
        // The file adds the checksum.
        Record { prompt, recovered, _xxh3: None }
    }

    /// The record as it is written: without the checksum, and without the times and calibrations that older versions recorded.
    pub(super) fn into_written(self) -> Self {
        Record { recovered: self.recovered.of_states_alone(), _xxh3: None, ..self }
    }
}
