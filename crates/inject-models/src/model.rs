//! A loaded checkpoint folder: decoder, tokenizer, and where they came from.

mod files;
mod origin;
mod own_tokenizer;

use std::{path::Path, sync::Arc};

use burn::tensor::Device;

use self::own_tokenizer::{OwnTokenizer, no_tokenizer, opened};
pub use self::{files::ModelFiles, origin::Origin};
use crate::{
    checkpoint::{self, KnownHashes},
    decoder::Decoder,
    error::ModelError,
    families::Family,
    note::Note,
    precision::Precision,
    tokenizer::{Bos, Tokenizer},
};

/// A model as published, with everything its checkpoint folder says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Model {
    /// The transformer, which computes states and logits.
    pub decoder: Decoder,
    tokenizer: OwnTokenizer,
    family: Family,
    bos_token_id: Option<u32>,
    origin: Origin,
    notes: Vec<Note>,
}

impl Model {
    /// Loads a checkpoint folder: `config.json`, the weights, and `tokenizer.json` if there is one. This never uses the
    /// network.
    ///
    /// A tokenizer that cannot be used is [noted](Model::notes). It is an error only where a text is to be encoded.
    ///
    /// A GGUF file holds all three, and can be given instead of a folder. If a folder has no `config.json` and one GGUF file, that file is
    /// loaded. It must not change while the model is in use, because it is mapped into memory.
    ///
    /// The [`Precision`] gives the formats of the weights and of the computation. The default is the ordinary choice. F64 gives
    /// reference values, and not every device has it. F16 and BF16 round every result, as [`Decoder::computing_in`] does. Widening
    /// stored weights to F32 is exact.
    ///
    /// An adapter ([`Origin::with_adapter`]) is merged into the weights, as PEFT's `merge_and_unload` does.
    ///
    /// The peak of memory is little more than the parameters take as they are held, whatever the file holds. A pickled
    /// `pytorch_model.bin` adds its largest tensor.
    ///
    /// # Errors
    ///
    /// Fails for a folder that is not a complete checkpoint of a known family. The error names
    /// the file and the key or tensor.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use inject_models::{Logits, Model, Origin, Precision, Tap, TokenBatch};
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama");
    /// let model = Model::load(Origin::of_folder(&folder), Precision::default(), &Device::flex())?;
    /// let prompt = TokenBatch::new(&[[3, 1, 4, 1, 5]])?;
    /// let states = model.decoder.forward(&prompt, &[Tap::Block(2)], Logits::None)?.states;
    /// assert_eq!(states[&Tap::Block(2)].dims(), [1, 5, 32]);
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn load(
        origin: Origin,
        precision: impl Into<Precision>,
        device: &Device,
    ) -> Result<Self, ModelError> {
        ModelFiles::open(origin)?.load(precision, device)
    }

    /// Returns the same model with a tokenizer from another place: a folder, a `tokenizer.json`, a `vocab.json` beside its
    /// `merges.txt`, a `tokenizer.model` of SentencePiece, or a GGUF file.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::NotATokenizer`] if there is none, and as [`Model::load`] does if it cannot be used.
    pub fn with_tokenizer(mut self, place: &Path) -> Result<Self, ModelError> {
        let vocab_size = self.decoder.config().vocab_size;
        let config_path = self.origin.folder.join("config.json");
        let tokenizer = opened(place, vocab_size, self.bos_token_id, &config_path)?;
        self.notes.retain(|note| {
            !matches!(
                note,
                Note::TokensBeyond { .. }
                    | Note::OtherBos { .. }
                    | Note::UnusableTokenizer { .. }
                    | Note::PartsReplaced { .. }
                    | Note::OtherTokenizerClass { .. }
                    | Note::OwnTokenizerCode { .. }
            )
        });
        self.notes.extend(tokenizer.notes());
        Ok(Model { tokenizer: OwnTokenizer::from(tokenizer), ..self })
    }

    /// Returns the tokenizer.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::NoTokenizer`] if the folder has none, and with [`ModelError::UnusableTokenizer`] if the one that it
    /// has cannot be used.
    pub fn tokenizer(&self) -> Result<&Tokenizer, ModelError> {
        match &self.tokenizer {
            OwnTokenizer::Usable(tokenizer) => Ok(tokenizer),
            OwnTokenizer::Unusable(reason) => {
                Err(ModelError::UnusableTokenizer { source: Arc::clone(reason) })
            }
            OwnTokenizer::Missing => Err(no_tokenizer(&self.origin.folder)),
        }
    }

    /// Returns the family that the model belongs to.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Returns the BOS token, if `config.json` names one. An id outside the vocabulary is none, and is [noted](Model::notes).
    pub fn bos_token_id(&self) -> Option<u32> {
        self.bos_token_id
    }

    /// Returns the token that the tokenizer puts before every text, such as BOS. `None` if it puts none there, or the model has no
    /// tokenizer that can be used.
    pub fn first_token(&self) -> Option<u32> {
        self.tokenizer().ok()?.first_token(Bos::Auto).ok()?
    }

    /// Returns the facts that a user should know about the checkpoint.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns where the model came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Computes the SHA-256 of the weights, in hexadecimal: of the one weight file (the checksum that the Hub shows), or of the
    /// sorted `name:checksum` lines of several shards. With an adapter, it is that of the model's checksum and the `name:checksum`
    /// lines of the adapter's two files. This reads the files once more.
    ///
    /// # Errors
    ///
    /// Fails if a file can no longer be read.
    pub fn weight_hash(&self) -> Result<String, ModelError> {
        self.hash(None)
    }

    /// Returns [`Model::weight_hash`], without reading large files that were hashed before and have not been changed since.
    ///
    /// # Errors
    ///
    /// Fails if a file can no longer be read.
    pub fn weight_hash_known(&self, known: &KnownHashes) -> Result<String, ModelError> {
        self.hash(Some(known))
    }

    fn hash(&self, known: Option<&KnownHashes>) -> Result<String, ModelError> {
        let model = checkpoint::weight_hash(&self.origin.folder, known)?;
        match &self.origin.adapter {
            None => Ok(model),
            Some(folder) => checkpoint::hash_with_adapter(&model, folder),
        }
    }
}
