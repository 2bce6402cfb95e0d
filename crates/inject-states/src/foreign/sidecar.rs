//! The file that vLLM-Hook writes beside its states.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::ForeignProblem;

/// The longest sidecar that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// The file `hidden_states.json` that lies beside `hidden_states.safetensors`.
#[derive(Debug, Deserialize)]
pub(super) struct Sidecar {
    /// The length of each prompt of the batch.
    pub(super) seq_lens: Option<Vec<usize>>,
    /// Which states of each prompt are there.
    hs_mode: Option<String>,
}

impl Sidecar {
    /// Returns the path of the sidecar of a file of states.
    pub(super) fn path(states: &Path) -> PathBuf {
        states.with_extension("json")
    }

    /// Reads the sidecar of a file of states, if there is one.
    pub(super) fn beside(states: &Path) -> Result<Option<Self>, ForeignProblem> {
        let path = Self::path(states);
        if !path.is_file() {
            return Ok(None);
        }
        let Ok(file) = File::open(path) else { return Ok(None) };
        let mut text = Vec::new();
        if file.take(LONGEST + 1).read_to_end(&mut text)? as u64 > LONGEST {
            return Ok(None);
        }
        // Another JSON of that name is none of ours.
        let sidecar: Option<Self> = serde_json::from_slice(&text).ok();
        Ok(sidecar.filter(|sidecar| sidecar.seq_lens.is_some() || sidecar.hs_mode.is_some()))
    }

    /// Whether the states are those of the last token of each prompt.
    pub(super) fn is_of_last_tokens(&self) -> bool {
        self.hs_mode.as_deref() == Some("last_token")
    }
}
