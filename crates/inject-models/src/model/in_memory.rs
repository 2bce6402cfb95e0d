//! The memory that a model takes, before it is loaded.

use burn::tensor::Device;

use super::{Model, Origin};
use crate::{
    checkpoint::{self, Checkpoint, Gguf, read_text},
    error::ModelError,
    families,
    precision::Precision,
};

impl Model {
    /// Returns the memory that the weights in a folder take as tensors once they are loaded. Weights that stay in mapped files do not
    /// count. Only the headers of the files are read.
    ///
    /// # Units
    ///
    /// Bytes.
    ///
    /// # Errors
    ///
    /// Fails as [`Model::load`] does before it reads weights.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use inject_models::{FloatFormat, Model, Origin, Precision};
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-bf16-shards");
    /// let origin = Origin::of_folder(&folder);
    /// let in_memory = |precision: Precision| Model::bytes_in_memory(&origin, precision, &Device::flex());
    /// assert_eq!(in_memory(FloatFormat::F32.into())?, 4 * 30_240); // all parameters, four bytes each
    /// assert_eq!(in_memory(Precision::default())?, 4 * 224); // seven norms
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn bytes_in_memory(
        origin: &Origin,
        precision: impl Into<Precision>,
        device: &Device,
    ) -> Result<u64, ModelError> {
        let Precision { hold, compute } = precision.into();
        let checkpoint = match Gguf::find(&origin.folder) {
            Some(path) => Gguf::open(path)?.checkpoint()?,
            None => {
                let path = origin.folder.join("config.json");
                let described = families::describe(&path, &read_text(&path)?)?;
                let (checkpoint, _) = Checkpoint::open(&origin.folder)?.unwrapped();
                checkpoint::dequantised(checkpoint, described.quantisation.as_ref())?
            }
        };
        Ok(checkpoint.bytes_as_tensors(hold.on(device, compute), compute))
    }
}
