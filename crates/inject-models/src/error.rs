//! The errors of loading a model and of asking it for something.
//!
//! One enum, so that a caller matches one type. It is long because each variant has its text, its fields and their meaning beside it. The
//! parts that occur as lists, and the faults of one kind of file, are types of their own.

mod config_problem;
mod tensor_fault;

use std::{
    error::Error,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::config_problem::ConfigProblem;
use self::config_problem::listed;
pub use self::tensor_fault::TensorFault;

use crate::{
    checkpoint::{AdapterError, Damage, Instead, OtherFormat},
    families::Family,
    format::{NumberFormat, UnknownFormat},
    note::causes,
    tap::TapError,
    tokenizer::{NoTokenizerHere, advice},
};

/// An error while loading a model or computing with it.
///
/// Every variant about a file names the file, the key or tensor in it, what was found and what was expected. The cause
/// of an error is its [`source`](Error::source) and is not repeated in its text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder that cannot be read.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file could not be mapped, because too few addresses are free.
    #[error(
        "cannot map {}: it takes {bytes} bytes of addresses, and the limit of this process leaves fewer: raise it (`ulimit -v`)",
        path.display()
    )]
    Map {
        /// The file that cannot be mapped.
        path: PathBuf,
        /// The length of the file.
        bytes: u64,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Path of the file that was to be written.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A JSON file is not valid JSON, or not of the expected form.
    #[error("{} is not valid", path.display())]
    Json {
        /// Path of the malformed file.
        path: PathBuf,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// Several files of a model are at fault. The text has the causes of both errors.
    #[error("{}; {}", causes(&**first), causes(&**second))]
    Several {
        /// The error of one file.
        first: Box<ModelError>,
        /// The error of another file.
        second: Box<ModelError>,
    },
    /// A config file does not describe a model that this crate computes.
    #[error("{}: {}", path.display(), listed(problems))]
    Config {
        /// Path of the config file.
        path: PathBuf,
        /// All its problems, in the order of the keys that were read.
        problems: Vec<ConfigProblem>,
    },
    /// The folder holds no weight file of a known name.
    #[error(
        "{} holds no weights: expected model.safetensors or pytorch_model.bin, or the index of one of them",
        folder.display()
    )]
    NoWeights {
        /// The folder that was searched.
        folder: PathBuf,
    },
    /// The folder holds something other than a checkpoint.
    #[error("{} holds {found}", folder.display())]
    Instead {
        /// The folder that was to hold a checkpoint.
        folder: PathBuf,
        /// The contents that were recognised.
        found: Instead,
    },
    /// A clone without Git LFS has a pointer instead of the file.
    #[error("{} is a Git LFS pointer and not the file itself: run `git lfs pull` in its folder", path.display())]
    LfsPointer {
        /// Path of the Git LFS pointer.
        path: PathBuf,
    },
    /// The weights are quantised in a way that is not read.
    #[error(
        "{}: the weights are quantised ({method}), which is not read: give the unquantised checkpoint",
        path.display()
    )]
    Quantised {
        /// The weight file or index.
        path: PathBuf,
        /// The method and the bits.
        method: String,
    },
    /// The weights are pickled, but their quantisation is read from safetensors files only.
    #[error(
        "{}: the weights are quantised ({method}), which is read from safetensors files only: load the model in transformers and save it \
         with `save_pretrained`",
        path.display()
    )]
    PickledCodes {
        /// The pickled file.
        path: PathBuf,
        /// The method and the bits.
        method: &'static str,
    },
    /// A pickled tensor is stored negated or conjugated, which its reader does not undo.
    #[error(
        "{}: a tensor is marked `{bit}`, so its values differ from the stored ones: save it after \
         `.resolve_{bit}()`",
        path.display()
    )]
    LazyBit {
        /// The pickled file.
        path: PathBuf,
        /// The name of the bit in the tensor's metadata.
        bit: &'static str,
    },
    /// The config announces quantised weights, and no tensor shows them, as after a merge that left the config as it was.
    #[error(
        "{}: config.json says that the weights are quantised ({method}), and none has the scales of this method: if they are plain \
         numbers, remove `quantization_config` from config.json",
        path.display()
    )]
    NotQuantised {
        /// The weight file or index.
        path: PathBuf,
        /// The method and the bits.
        method: String,
    },
    /// The checkpoint holds the weights of an adapter beside those it is to be added to.
    #[error(
        "{}: tensor `{tensor}` belongs to an adapter that is not merged: merge it first, with PEFT's `merge_and_unload`",
        path.display()
    )]
    Unmerged {
        /// Path of the weight file.
        path: PathBuf,
        /// A tensor of the adapter.
        tensor: String,
    },
    /// The embedding or the head has more rows than the config says.
    #[error(
        "{}: tensor `{tensor}` has {found} rows, and vocab_size is {vocab_size}: if the rest are padding, set vocab_size to {found} \
         in config.json",
        path.display()
    )]
    PaddedVocabulary {
        /// Path of the weight file.
        path: PathBuf,
        /// Name of the embedding or the head.
        tensor: String,
        /// The number of its rows.
        found: usize,
        /// The `vocab_size` of the config.
        vocab_size: usize,
    },
    /// An adapter cannot be merged.
    #[error("the adapter {} cannot be merged", folder.display())]
    Adapter {
        /// Folder of the adapter that does not fit.
        folder: PathBuf,
        /// The fault of the adapter.
        source: AdapterError,
    },
    /// Logits were requested, and the checkpoint has no head.
    #[error("the model has no head: it has states and no logits")]
    NoHead,
    /// The contents of a weight file contradict its own table of contents or the index.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Path of the weight file.
        path: PathBuf,
        /// The contradiction in the file.
        source: Damage,
    },
    /// A weight file is of another format than its name says.
    #[error("{} is {found}", path.display())]
    OtherFormat {
        /// Path of the weight file.
        path: PathBuf,
        /// The format that its first bytes show.
        found: OtherFormat,
    },
    /// A shard named by the index does not exist.
    #[error(
        "{}: the index places tensor `{tensor}` in `{shard}`, which does not exist{}: fetch what is missing into the folder",
        index.display(),
        others.iter().map(|other| format!(", nor does `{other}`")).collect::<String>()
    )]
    MissingShard {
        /// Path of the index file.
        index: PathBuf,
        /// A tensor assigned to the shard.
        tensor: String,
        /// File name of the missing shard.
        shard: String,
        /// File names of other shards that are missing.
        others: Vec<String>,
    },
    /// An index names a shard outside its own folder.
    #[error("{}: shard `{shard}` of tensor `{tensor}`, expected a path below the index's own folder", index.display())]
    UnsafeShard {
        /// Path of the index file.
        index: PathBuf,
        /// A tensor assigned to the shard.
        tensor: String,
        /// The shard's name in the index.
        shard: String,
    },
    /// A tensor that the family needs is missing from the checkpoint.
    #[error("{}: tensor `{tensor}` is missing, expected shape {expected:?}", path.display())]
    MissingTensor {
        /// The weight file, index or folder.
        path: PathBuf,
        /// Name of the missing tensor.
        tensor: String,
        /// The shape that the config implies.
        expected: Vec<usize>,
    },
    /// A quantised weight cannot be restored without a tensor that is missing.
    #[error(
        "{}: tensor `{tensor}` is missing, and `{weight}`, which is quantised ({method}), cannot be restored without it",
        path.display()
    )]
    MissingBeside {
        /// The weight file, index or folder.
        path: PathBuf,
        /// Name of the missing tensor, such as that of the scales.
        tensor: String,
        /// Name of the quantised weight.
        weight: String,
        /// The method and the bits.
        method: &'static str,
    },
    /// The checkpoint holds a tensor that a model of this config does not have.
    #[error("{}: tensor `{tensor}` {found:?} is not part of a `{family}` model of this config", path.display())]
    SurplusTensor {
        /// Path of the weight file.
        path: PathBuf,
        /// Name of the first such tensor.
        tensor: String,
        /// The shape of the tensor.
        found: Vec<usize>,
        /// The family whose model was expected.
        family: Family,
    },
    /// The shape of a tensor contradicts the config.
    #[error("{}: tensor `{tensor}` has shape {found:?}, expected {expected:?}", path.display())]
    TensorShape {
        /// Path of the weight file.
        path: PathBuf,
        /// Name of the tensor with the wrong shape.
        tensor: String,
        /// The shape of the stored tensor.
        found: Vec<usize>,
        /// The shape that the config implies.
        expected: Vec<usize>,
    },
    /// The names of all tensors have the same unknown step before those of the model.
    #[error(
        "{}: the names of all tensors begin with `{step}.`, and would be those of a `{family}` model without it: take it off",
        path.display()
    )]
    Within {
        /// The weight file, index or folder.
        path: PathBuf,
        /// The first step of the names.
        step: String,
        /// The family whose names the rest are.
        family: Family,
    },
    /// Several tensors are not those of a model of this config.
    #[error("{}: {}", path.display(), tensor_fault::listed(faults))]
    Tensors {
        /// The weight file, index or folder.
        path: PathBuf,
        /// All faults, in the order in which a pass through the model uses the tensors, and then those that it does not use.
        faults: Vec<TensorFault>,
    },
    /// A tensor is stored in a number format that is not supported.
    #[error("{}: tensor `{tensor}` is stored as {found}, expected F32, F16, BF16 or F64", path.display())]
    TensorDtype {
        /// Path of the weight file.
        path: PathBuf,
        /// Name of the tensor in an unsupported format.
        tensor: String,
        /// The format of the stored numbers.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("{}: tensor `{tensor}` holds {found} at element {element}, expected finite weights", path.display())]
    NotFinite {
        /// Path of the weight file.
        path: PathBuf,
        /// Name of the tensor with the NaN or infinity.
        tensor: String,
        /// The position of the value in the tensor, in row-major order.
        element: usize,
        /// The NaN or infinity that it holds.
        found: f64,
    },
    /// The tokenizer file cannot be used.
    #[error("{}: expected a tokenizer as the tokenizers library writes it", path.display())]
    Tokenizer {
        /// Path of the tokenizer file.
        path: PathBuf,
        /// The error of the tokenizers library.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The tokenizers library could not encode a text or decode ids.
    #[error("{}: the tokenizer failed", path.display())]
    Tokenize {
        /// Path of the tokenizer file.
        path: PathBuf,
        /// The error of the tokenizers library.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A text has a token whose id exceeds the model's vocabulary.
    #[error(
        "{}: the text has token `{token}` with id {found}, expected ids below the model's vocab_size {expected}",
        path.display()
    )]
    TokenizerVocabulary {
        /// Path of the tokenizer file.
        path: PathBuf,
        /// The token as the tokenizer spells it.
        token: String,
        /// The id of the token.
        found: u32,
        /// The number of tokens that the model has.
        expected: usize,
    },
    /// A text is to be encoded for a model without a tokenizer.
    #[error(
        "{} holds no {}{}: give token ids instead of text, or another tokenizer (`--tokenizer`)",
        folder.display(),
        if folder.is_file() { "tokenizer (`tokenizer.ggml.model`)" } else { "tokenizer.json" },
        if *tiktoken { ", and its tokenizer.model is a list of ranks (tiktoken), which is not read" } else { "" }
    )]
    NoTokenizer {
        /// Folder of the model, or the path of its GGUF file.
        folder: PathBuf,
        /// Whether its `tokenizer.model` is a list of ranks, which is not read.
        tiktoken: bool,
    },
    /// The place named for a tokenizer has no tokenizer that can be read.
    #[error(
        "{} {found}: expected a tokenizer.json, a vocab.json with its merges.txt, a tokenizer.model of SentencePiece, a GGUF file, or a \
         folder with one of them{}",
        place.display(),
        advice(instead.as_ref())
    )]
    NotATokenizer {
        /// The place that was named.
        place: PathBuf,
        /// The content found instead.
        found: NoTokenizerHere,
        /// The tokenizer that lies beside it, if there is one.
        instead: Option<PathBuf>,
    },
    /// A text is to be encoded, and the model's tokenizer cannot be used.
    #[error(
        "the tokenizer cannot be used: give token ids instead of text, or another tokenizer (`--tokenizer`)"
    )]
    UnusableTokenizer {
        /// The error that makes it unusable.
        source: Arc<ModelError>,
    },
    /// Prompts are to begin with BOS, but the config does not say which token that is.
    #[error("{} names no bos_token_id: use `auto` or `no`, or give token ids", path.display())]
    NoBos {
        /// Path of the config file.
        path: PathBuf,
    },
    /// A text is not the name of a [`Bos`](crate::Bos) setting.
    #[error("unknown BOS setting `{found}`: expected `auto`, `yes` or `no`")]
    UnknownBos {
        /// The text that was given.
        found: String,
    },
    /// A text names neither a folder nor a repository of the Hub.
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    /// A repository of the Hub is to be loaded, but only folders can be.
    #[error(
        "{repo} is on the Hub: fetch it first with `ModelSource::fetch`, which the feature `hub` provides"
    )]
    NotFetched {
        /// The repository that was named.
        repo: crate::hub::HubRepo,
    },
    /// A text is not the name of a number format.
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    /// A number format is too wide or too narrow for its purpose.
    #[error("{purpose} in {found}, expected {expected}")]
    UnsupportedFormat {
        /// The purpose, such as computing.
        purpose: &'static str,
        /// The format that was given.
        found: NumberFormat,
        /// The formats that serve the purpose.
        expected: &'static str,
    },
    /// A parameter is too large for a number format.
    #[error("a parameter is {found}, expected a magnitude within {format}")]
    BeyondFormat {
        /// The format that is too narrow.
        format: NumberFormat,
        /// The value of the parameter.
        found: f64,
    },
    /// The model does not have the tap.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// There is no prompt, or a prompt has no tokens.
    #[error("prompt {prompt} is empty: expected at least one token")]
    EmptyPrompt {
        /// Index of the prompt within the batch.
        prompt: usize,
    },
    /// A token id exceeds the vocabulary.
    #[error(
        "prompt {prompt}, position {position}: token id {found}, expected ids below vocab_size {vocab_size}"
    )]
    TokenId {
        /// Index of the prompt within the batch.
        prompt: usize,
        /// Position of the token within the prompt, from 0.
        position: usize,
        /// The token id that was given.
        found: u32,
        /// The number of rows of the embedding.
        vocab_size: usize,
    },
    /// A window of text is too short to have a next token.
    #[error("window {window}: expected at least 2 tokens, one and the one after it, found {found}")]
    ShortWindow {
        /// Index of the window within the batch.
        window: usize,
        /// The number of tokens in the window.
        found: usize,
    },
    /// A sequence is longer than the table of learned positions. Models with rotary positions have no such limit: see
    /// [`DecoderConfig::max_len`](crate::DecoderConfig::max_len).
    #[error("a sequence of {found} tokens, expected at most {max_len} (the model's table of positions)")]
    TooLong {
        /// The number of tokens in the sequence.
        found: usize,
        /// The number of rows in the table.
        max_len: usize,
    },
    /// Prompts of one batch use different rotary frequencies.
    #[error(
        "prompts of {shorter} and {longer} tokens use different rotary frequencies and cannot share a batch"
    )]
    MixedRotary {
        /// The shortest length in the batch.
        shorter: usize,
        /// The longest length in the batch.
        longer: usize,
    },
    /// Points of the embedding space have another width than the model.
    #[error("the embeddings have {found} coordinates, expected the model's d_model {expected}")]
    EmbeddingWidth {
        /// The number of coordinates of each given embedding.
        found: usize,
        /// The `d_model` of the model.
        expected: usize,
    },
    /// More tokens than the prefix cache has room for.
    #[error("the cache holds {held} of {capacity} positions: {more} more do not fit")]
    CacheFull {
        /// The number of positions that are filled.
        held: usize,
        /// The number of positions that fit.
        capacity: usize,
        /// The number of positions that were to be added.
        more: usize,
    },
    /// A prefix cache is used in a way that it was not made for.
    #[error("the cache was made for {expected}, but {found} was asked for")]
    CacheMismatch {
        /// The use that was attempted.
        found: String,
        /// The use that the cache was made for.
        expected: String,
    },
    /// An alternative lies outside its run.
    #[error("an alternative has the place {place} in a run of {tokens} tokens")]
    NoSuchPlace {
        /// Place of the alternative in the run, from 0.
        place: usize,
        /// The number of tokens of the run.
        tokens: usize,
    },
    /// The device failed while computing or while values were read back.
    #[error("the device failed: {reason}")]
    Device {
        /// The message of the backend.
        reason: String,
    },
    /// Fetching from the Hub failed.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
}

impl ModelError {
    /// Joins two results, and their errors if both are errors.
    pub(crate) fn both<A, B>(first: Result<A, Self>, second: Result<B, Self>) -> Result<(A, B), Self> {
        match (first, second) {
            (Ok(first), Ok(second)) => Ok((first, second)),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
            (Err(first), Err(second)) => {
                Err(ModelError::Several { first: Box::new(first), second: Box::new(second) })
            }
        }
    }

    /// A file could not be mapped.
    pub(crate) fn of_map(path: &Path, file: &File, source: io::Error) -> Self {
        let path = path.to_owned();
        match (source.kind(), file.metadata()) {
            (io::ErrorKind::OutOfMemory, Ok(metadata)) => {
                ModelError::Map { path, bytes: metadata.len(), source }
            }
            _ => ModelError::Read { path, source },
        }
    }

    /// A key of a file of settings is missing.
    pub(crate) fn missing_key(path: &Path, key: &str, expected: &str) -> Self {
        let problem = ConfigProblem::Missing { key: key.to_owned(), expected: expected.to_owned() };
        ModelError::Config { path: path.to_owned(), problems: vec![problem] }
    }

    /// A key of a file of settings has a value that is not supported.
    pub(crate) fn bad_key(path: &Path, key: &str, found: &str, expected: &str) -> Self {
        let (key, found, expected) = (key.to_owned(), found.to_owned(), expected.to_owned());
        let problem = ConfigProblem::Value { key, found, expected };
        ModelError::Config { path: path.to_owned(), problems: vec![problem] }
    }
}
