//! A loaded checkpoint folder: decoder, tokenizer, and where they came from.

mod in_memory;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::Device;

use crate::{
    checkpoint::{self, Adapter, Checkpoint, Gguf, Instead, KnownHashes, Weights, read_text},
    config::{DecoderConfig, Head},
    decoder::Decoder,
    error::ModelError,
    families::{self, Described, Family},
    format::FloatFormat,
    note::Note,
    precision::Precision,
    tokenizer::{Built, Tokenizer, has_tiktoken},
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

/// The tokenizer of a model, which only texts need.
#[derive(Clone, Debug)]
enum OwnTokenizer {
    Usable(Box<Tokenizer>),
    /// There is one that cannot be used, for this reason.
    Unusable(Arc<ModelError>),
    Missing,
}

/// Where a model came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The Hub id, or the name of the folder.
    pub id: String,
    /// The commit, if the model came from the Hub.
    pub revision: Option<String>,
    /// The checkpoint folder, or the GGUF file.
    pub folder: PathBuf,
    /// The folder of a LoRA adapter that is merged into the weights.
    pub adapter: Option<PathBuf>,
    /// The place of a tokenizer that is used instead of the model's own, which is then not read.
    pub tokenizer: Option<PathBuf>,
}

impl Origin {
    /// Makes the origin of a model in a folder. Its id is the name of the folder.
    ///
    /// A folder of the Hub's cache, such as `models--openai-community--gpt2`, stands for its snapshot of `main`, or for its only
    /// one. The origin is then that of the repository.
    pub fn of_folder(folder: &Path) -> Self {
        if let Some(checkpoint::HubSnapshot { id, commit, folder }) = checkpoint::hub_snapshot(folder) {
            return Origin { id, revision: Some(commit), folder, adapter: None, tokenizer: None };
        }
        let name = folder
            .canonicalize()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Origin {
            id: name.unwrap_or_else(|| folder.display().to_string()),
            revision: None,
            folder: folder.to_owned(),
            adapter: None,
            tokenizer: None,
        }
    }

    /// Returns the same origin with another id.
    pub fn with_id(self, id: &str) -> Self {
        Origin { id: id.to_owned(), ..self }
    }

    /// Returns the origin of the same model, merged with the LoRA adapter in a folder: `adapter_config.json`, and
    /// `adapter_model.safetensors` or `adapter_model.bin`, as PEFT writes them. The id names both.
    pub fn with_adapter(self, folder: &Path) -> Self {
        let id = format!("{} + {}", self.id, Origin::of_folder(folder).id);
        Origin { id, adapter: Some(folder.to_owned()), ..self }
    }

    /// Returns the origin of the same model with a tokenizer from another place, of those that [`Model::with_tokenizer`] takes.
    /// The model's own may then be of a kind that is not read.
    pub fn with_tokenizer(self, place: &Path) -> Self {
        Origin { tokenizer: Some(place.to_owned()), ..self }
    }
}

impl Model {
    /// Loads a checkpoint folder: `config.json`, the weights, and `tokenizer.json` if there is one. This never uses the
    /// network.
    ///
    /// A tokenizer that cannot be used is [noted](Model::notes). It is an error only where a text is to be encoded.
    ///
    /// A GGUF file holds all three, and is loaded in place of a folder. So is the only one in a folder without `config.json`.
    /// It must not change while it is loaded, because it is mapped into memory.
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
        let mut precision = precision.into();
        let wanted = precision.compute;
        precision.hold = precision.hold.on(device, wanted);
        if wanted != FloatFormat::F64 {
            precision.compute = FloatFormat::F32;
        }
        // Before the model, which takes longer.
        let adapter = origin.adapter.as_deref().map(Adapter::open).transpose()?;
        let mut model = Self::load_base(origin, precision, device)?;
        if let Some(adapter) = adapter {
            model.decoder = model.decoder.merged(&adapter, model.family)?;
        }
        if wanted != precision.compute {
            model.decoder = model.decoder.computing_in(wanted);
        }
        Ok(model)
    }

    fn load_base(origin: Origin, precision: Precision, device: &Device) -> Result<Self, ModelError> {
        if let Some(path) = Gguf::find(&origin.folder) {
            return Self::load_gguf(Gguf::open(path.clone())?, &path, origin, precision, device);
        }
        let config_path = origin.folder.join("config.json");
        if !config_path.is_file() {
            // Weights under whatever name are not what is missing.
            match Instead::look(&origin.folder) {
                None
                | Some(
                    Instead::OtherNames { .. }
                    | Instead::ShardsWithoutIndex { .. }
                    | Instead::OtherFramework { .. },
                ) => {}
                Some(found) => return Err(ModelError::Instead { folder: origin.folder, found }),
            }
        }
        let Described { mut description, quantisation, mut notes } =
            families::describe(&config_path, &read_text(&config_path)?)?;
        // Before the weights: reading a large tokenizer.json takes as much memory again as keeping it, and that memory is
        // then free for the weights.
        let (vocab_size, bos_token_id) = (description.config.vocab_size, description.bos_token_id);
        let tokenizer = match &origin.tokenizer {
            Some(place) => OwnTokenizer::from(opened(place, vocab_size, bos_token_id, &config_path)?),
            None => Tokenizer::open(&origin.folder, vocab_size, bos_token_id, &config_path).into(),
        };
        let (checkpoint, unwrapped) = Checkpoint::open(&origin.folder)?.unwrapped();
        checkpoint.refuse_unmerged()?;
        let checkpoint = checkpoint::dequantised(checkpoint, quantisation.as_ref())?;
        notes.extend(unwrapped);
        notes.extend(tokenizer.notes());
        let applied = origin.adapter.as_deref() == Some(&origin.folder);
        if !applied && origin.folder.join("adapter_config.json").is_file() {
            notes.push(Note::AdapterBeside { base: checkpoint::base_of_adapter(&origin.folder) });
        }
        let weights = Weights::new(&checkpoint, description.family, device, precision);
        judge_head(&mut description.config, &weights, &mut notes)?;
        let decoder = Decoder::load(description.config, weights)?;
        Ok(Model { decoder, tokenizer, family: description.family, bos_token_id, origin, notes })
    }

    /// Loads a GGUF file: its metadata take the place of `config.json` and `tokenizer.json`.
    fn load_gguf(
        file: Gguf,
        path: &Path,
        origin: Origin,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let Described { mut description, mut notes, .. } = families::describe(path, &file.config()?)?;
        let (vocab_size, bos_token_id) = (description.config.vocab_size, description.bos_token_id);
        let tokenizer = match &origin.tokenizer {
            Some(place) => OwnTokenizer::from(opened(place, vocab_size, bos_token_id, path)?),
            None => {
                let built = file.tokenizer();
                let tokenizer = |built: Built| {
                    Tokenizer::new(built.tokenizer, built.hash, path, vocab_size, bos_token_id, path)
                };
                built.map(|built| built.map(tokenizer)).into()
            }
        };
        notes.extend(tokenizer.notes());
        let checkpoint = file.checkpoint()?;
        let weights = Weights::new(&checkpoint, description.family, device, precision);
        judge_head(&mut description.config, &weights, &mut notes)?;
        let decoder = Decoder::load(description.config, weights)?;
        Ok(Model { decoder, tokenizer, family: description.family, bos_token_id, origin, notes })
    }

    /// Returns the same model with a tokenizer from another place: a folder, a `tokenizer.json`, a `vocab.json` beside its
    /// `merges.txt`, a `tokenizer.model` of SentencePiece, or a GGUF file.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::NoTokenizer`] if there is none, and as [`Model::load`] does if it cannot be used.
    pub fn with_tokenizer(mut self, place: &Path) -> Result<Self, ModelError> {
        let vocab_size = self.decoder.config().vocab_size;
        let config_path = self.origin.folder.join("config.json");
        let tokenizer = opened(place, vocab_size, self.bos_token_id, &config_path)?;
        self.notes.retain(|note| {
            !matches!(
                note,
                Note::TokensBeyond { .. } | Note::OtherBos { .. } | Note::UnusableTokenizer { .. }
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

    /// Returns the BOS token, if `config.json` names one.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.bos_token_id
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

impl From<Result<Option<Tokenizer>, ModelError>> for OwnTokenizer {
    fn from(opened: Result<Option<Tokenizer>, ModelError>) -> Self {
        match opened {
            Ok(Some(tokenizer)) => OwnTokenizer::from(tokenizer),
            Ok(None) => OwnTokenizer::Missing,
            Err(reason) => OwnTokenizer::Unusable(Arc::new(reason)),
        }
    }
}

impl From<Tokenizer> for OwnTokenizer {
    fn from(tokenizer: Tokenizer) -> Self {
        OwnTokenizer::Usable(Box::new(tokenizer))
    }
}

impl OwnTokenizer {
    fn notes(&self) -> Vec<Note> {
        match self {
            OwnTokenizer::Usable(tokenizer) => tokenizer.notes(),
            OwnTokenizer::Unusable(reason) => vec![Note::unusable_tokenizer(reason)],
            OwnTokenizer::Missing => Vec::new(),
        }
    }
}

/// Compares the head that the config describes with the one in the checkpoint. One that is missing is not an error: states
/// need none.
fn judge_head(
    config: &mut DecoderConfig,
    weights: &Weights<'_>,
    notes: &mut Vec<Note>,
) -> Result<(), ModelError> {
    match (config.head, weights.stored_head()) {
        (Head::Untied, None) => {
            config.head = Head::Absent;
            notes.push(Note::NoHead);
        }
        (Head::Tied, Some(tensor)) if weights.head_differs()? => notes.push(Note::OtherHead { tensor }),
        _ => {}
    }
    Ok(())
}

/// Opens the tokenizer in a place that must have one.
fn opened(
    place: &Path,
    vocab_size: usize,
    bos_token_id: Option<u32>,
    config_path: &Path,
) -> Result<Tokenizer, ModelError> {
    Tokenizer::open(place, vocab_size, bos_token_id, config_path)?.ok_or_else(|| no_tokenizer(place))
}

fn no_tokenizer(place: &Path) -> ModelError {
    ModelError::NoTokenizer { folder: place.to_owned(), tiktoken: has_tiktoken(place) }
}
