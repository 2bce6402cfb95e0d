//! The file that vLLM-Hook writes beside its states.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IgnoredAny};

use super::{ForeignProblem, SidecarProblem};

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

    /// Reads the sidecar of a file of states, if there is one. Other JSON of that name is none.
    pub(super) fn beside(states: &Path) -> Result<Option<Self>, ForeignProblem> {
        let path = Self::path(states);
        if !path.is_file() {
            return Ok(None);
        }
        let read = || -> Result<Option<Self>, SidecarProblem> {
            let mut text = Vec::new();
            File::open(&path)?.take(LONGEST + 1).read_to_end(&mut text)?;
            if text.len() as u64 > LONGEST {
                return Err(SidecarProblem::TooLong { limit: LONGEST });
            }
            if !text.trim_ascii_start().starts_with(b"{") {
                serde_json::from_slice::<IgnoredAny>(&text)?;
                return Ok(None);
            }
            let sidecar: Self = serde_json::from_slice(&text)?;
            Ok(Some(sidecar).filter(|sidecar| sidecar.seq_lens.is_some() || sidecar.hs_mode.is_some()))
        };
        read().map_err(|source| ForeignProblem::Sidecar { path: path.clone(), source })
    }

    /// Whether the states are those of the last token of each prompt.
    pub(super) fn is_of_last_tokens(&self) -> bool {
        self.hs_mode.as_deref() == Some("last_token")
    }
}
