//! A checkpoint folder, loaded: decoder, tokenizer, and where they came from.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};

use crate::{
    Decoder, Family, ModelError, Tokenizer,
    checkpoint::{self, Checkpoint, Weights, read_text},
    families,
};

/// A model as published: everything one checkpoint folder says.
#[derive(Clone, Debug)]
pub struct Model {
    /// The transformer itself.
    pub decoder: Decoder,
    /// Text to ids, where the folder holds a tokenizer.json.
    tokenizer: Option<Tokenizer>,
    family: Family,
    bos_token_id: Option<u32>,
    origin: Origin,
}

/// Where a model came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Hub id, or the name of the folder.
    pub id: String,
    /// The commit the Hub resolved, where it came from there.
    pub revision: Option<String>,
    /// The folder that was read.
    pub folder: PathBuf,
}

impl Origin {
    /// A folder that nothing more is known about.
    pub fn of_folder(folder: &Path) -> Self {
        let name = folder
            .canonicalize()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Origin {
            id: name.unwrap_or_else(|| folder.display().to_string()),
            revision: None,
            folder: folder.to_owned(),
        }
    }
}

/// The number format a model computes in. Weights stored as F16 or BF16 are widened, which is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: the ordinary choice.
    #[default]
    F32,
    /// 64 bits: for reference values. Not every device has it.
    F64,
}

impl Model {
    /// Loads a checkpoint folder: config.json, weights, and tokenizer.json if it is there. Never touches the network.
    ///
    /// Memory peaks little above the size of the parameters in `precision`, whatever the file holds; a pickled
    /// `pytorch_model.bin` adds its largest tensor.
    ///
    /// # Errors
    ///
    /// [`ModelError`], naming the file and the key or tensor.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use inject_models::{Logits, Model, Origin, Precision, Tap, TokenBatch};
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama");
    /// let model = Model::load(Origin::of_folder(&folder), Precision::F32, &Device::flex())?;
    /// let prompt = TokenBatch::new(&[[3, 1, 4, 1, 5]])?;
    /// let states = model.decoder.forward(&prompt, &[Tap::Block(2)], Logits::None)?.states;
    /// assert_eq!(states[&Tap::Block(2)].dims(), [1, 5, 32]);
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn load(origin: Origin, precision: Precision, device: &Device) -> Result<Self, ModelError> {
        let config_path = origin.folder.join("config.json");
        let description = families::describe(&config_path, &read_text(&config_path)?)?;
        // Before the weights: reading a large tokenizer.json takes as much memory again as keeping it, and that is free
        // for the weights afterwards.
        let tokenizer_path = origin.folder.join("tokenizer.json");
        let (vocab_size, bos_token_id) = (description.config.vocab_size, description.bos_token_id);
        let tokenizer = tokenizer_path
            .is_file()
            .then(|| Tokenizer::load(&tokenizer_path, vocab_size, bos_token_id, &config_path))
            .transpose()?;
        let checkpoint = Checkpoint::open(&origin.folder)?;
        let dtype = match precision {
            Precision::F32 => DType::F32,
            Precision::F64 => DType::F64,
        };
        let weights = Weights::new(&checkpoint, description.family, device, dtype);
        let decoder = Decoder::load(description.config, weights)?;
        Ok(Model { decoder, tokenizer, family: description.family, bos_token_id, origin })
    }

    /// The tokenizer.
    ///
    /// # Errors
    ///
    /// [`ModelError::NoTokenizer`] where the folder has none.
    pub fn tokenizer(&self) -> Result<&Tokenizer, ModelError> {
        self.tokenizer.as_ref().ok_or_else(|| ModelError::NoTokenizer { folder: self.origin.folder.clone() })
    }

    /// The family it belongs to.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The token a prompt begins with, where config.json names one.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.bos_token_id
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// SHA-256 of the weights, in hexadecimal: of the one weight file (the checksum the Hub shows), or of the sorted
    /// `name:checksum` lines of several shards. Reads the files once more.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when a file cannot be read any more.
    pub fn weight_hash(&self) -> Result<String, ModelError> {
        checkpoint::weight_hash(&self.origin.folder)
    }
}
