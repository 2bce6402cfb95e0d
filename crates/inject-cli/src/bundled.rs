//! The small model in the program.

use std::fs;

use inject_sipit::models::Origin;
use tempfile::TempDir;

use crate::outcome::Failure;

/// The files of the checkpoint.
const FILES: [(&str, &[u8]); 3] = [
    ("config.json", include_bytes!("../model/config.json")),
    ("model.safetensors", include_bytes!("../model/model.safetensors")),
    ("tokenizer.json", include_bytes!("../model/tokenizer.json")),
];

/// The small model as a checkpoint folder, which is removed when this is dropped. A signal may end the program at any time, so the
/// model is loaded at once and this is dropped.
pub(crate) struct Bundled {
    folder: TempDir,
}

impl Bundled {
    /// Writes the files into a temporary folder.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the files cannot be written.
    pub(crate) fn unpack() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("inject-model-").tempdir();
        let folder = folder.map_err(Failure::io("create a folder in", &std::env::temp_dir()))?;
        for (name, bytes) in FILES {
            let path = folder.path().join(name);
            fs::write(&path, bytes).map_err(Failure::io("write", &path))?;
        }
        Ok(Bundled { folder })
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::of_folder(self.folder.path()).with_id("bundled")
    }
}
