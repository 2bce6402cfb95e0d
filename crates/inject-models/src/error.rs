//! Everything that can be wrong with a checkpoint or with what is asked of a model.

use std::path::PathBuf;

use crate::TapError;

/// Why a model could not be loaded, or could not compute what was asked.
///
/// Every variant about a file names the file, the key or tensor in it, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A JSON file is not valid JSON, or not of the expected form.
    #[error("{} is not valid: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The checkpoint belongs to no known family.
    #[error("{}: `model_type` is `{found}`, expected one of {expected}", path.display())]
    UnknownFamily {
        /// The config file.
        path: PathBuf,
        /// Its `model_type`.
        found: String,
        /// The known ones.
        expected: String,
    },
    /// A key the computation needs is not there.
    #[error("{}: key `{key}` is missing, expected {expected}", path.display())]
    MissingKey {
        /// The config file.
        path: PathBuf,
        /// The key, with dots for nesting.
        key: String,
        /// What it should hold.
        expected: String,
    },
    /// A key holds a value that is malformed or that asks for a computation this crate does not know.
    #[error("{}: key `{key}` is {found}, expected {expected}", path.display())]
    BadKey {
        /// The config file.
        path: PathBuf,
        /// The key, with dots for nesting.
        key: String,
        /// Its value.
        found: String,
        /// What is supported.
        expected: String,
    },
    /// A key that is neither read nor known to be without influence.
    ///
    /// Ignoring it could change the function computed, so loading stops.
    #[error(
        "{}: unknown key `{key}` = {found}; expected only keys known for `{family}` (a key set to null is ignored)",
        path.display()
    )]
    UnknownKey {
        /// The config file.
        path: PathBuf,
        /// The key, with dots for nesting.
        key: String,
        /// Its value.
        found: String,
        /// The family whose keys are known.
        family: String,
    },
    /// The folder holds none of the weight files looked for.
    #[error(
        "{} holds no weights: expected model.safetensors, model.safetensors.index.json or pytorch_model.bin",
        folder.display()
    )]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// A weight file's own table of contents is wrong.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The weight file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// A shard named by the index is not in the folder.
    #[error("{}: tensor `{tensor}` is said to be in `{shard}`, which is not there", index.display())]
    MissingShard {
        /// The index file.
        index: PathBuf,
        /// A tensor assigned to the shard.
        tensor: String,
        /// The shard's file name.
        shard: String,
    },
    /// An index names a shard outside its own folder.
    #[error("{}: shard `{shard}` of tensor `{tensor}`, expected a path below the index's own folder", index.display())]
    UnsafeShard {
        /// The index file.
        index: PathBuf,
        /// A tensor assigned to the shard.
        tensor: String,
        /// The name as given.
        shard: String,
    },
    /// A tensor the family needs is not in the checkpoint.
    #[error("{}: tensor `{tensor}` is missing, expected shape {expected:?}", path.display())]
    MissingTensor {
        /// The weight file, index or folder.
        path: PathBuf,
        /// The name looked for.
        tensor: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// The checkpoint holds a tensor that the family has no use for.
    #[error("{}: tensor `{tensor}` {found:?} is not part of a `{family}` model of this config", path.display())]
    SurplusTensor {
        /// The weight file.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The family.
        family: String,
    },
    /// A tensor has another shape than the config implies.
    #[error("{}: tensor `{tensor}` has shape {found:?}, expected {expected:?}", path.display())]
    TensorShape {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape the config implies.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a number format that is not supported.
    #[error("{}: tensor `{tensor}` is stored as {found}, expected F32, F16 or BF16", path.display())]
    TensorDtype {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its format.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("{}: tensor `{tensor}` holds {found} at element {element}, expected finite weights", path.display())]
    NotFinite {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Position in row-major order.
        element: usize,
        /// The value.
        found: f64,
    },
    /// The tokenizer file cannot be used.
    #[error("{}: {reason}", path.display())]
    Tokenizer {
        /// The tokenizer file.
        path: PathBuf,
        /// What the tokenizer library said.
        reason: String,
    },
    /// The tokenizer can produce ids that the model has no row for.
    #[error(
        "{}: token `{token}` has id {found}, expected ids below the model's vocab_size {expected}",
        path.display()
    )]
    TokenizerVocabulary {
        /// The tokenizer file.
        path: PathBuf,
        /// The token with the largest id.
        token: String,
        /// That id.
        found: u32,
        /// The model's vocabulary.
        expected: usize,
    },
    /// Text was given for a model without a tokenizer.
    #[error("{} holds no tokenizer.json: give token ids instead of text", folder.display())]
    NoTokenizer {
        /// The model's folder.
        folder: PathBuf,
    },
    /// BOS was asked for, but nothing says which token that is.
    #[error("{} names no bos_token_id: use `auto` or `no`, or give token ids", path.display())]
    NoBos {
        /// The config file.
        path: PathBuf,
    },
    /// Not the name of a BOS policy.
    #[error("unknown BOS policy `{found}`: expected `auto`, `yes` or `no`")]
    UnknownBos {
        /// The text as given.
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
        /// The repository.
        repo: crate::hub::HubRepo,
    },
    /// Not the name of a number format of weights.
    #[error("unknown weight format `{found}`: expected `f16`, `bf16`, `int8`, `int4`, `nf4` or `fp4`")]
    UnknownWeightFormat {
        /// The text as given.
        found: String,
    },
    /// A parameter too large for a number format.
    #[error("a parameter is {found}: {format} has no such finite number")]
    BeyondFormat {
        /// The format.
        format: crate::WeightFormat,
        /// The value.
        found: f64,
    },
    /// A tap the model does not have.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// No prompt, or a prompt without tokens.
    #[error("prompt {prompt} is empty: expected at least one token")]
    EmptyPrompt {
        /// Index of the prompt within the batch.
        prompt: usize,
    },
    /// A token id the model has no row for.
    #[error(
        "prompt {prompt}, position {position}: token id {found}, expected ids below vocab_size {vocab_size}"
    )]
    TokenId {
        /// Index of the prompt within the batch.
        prompt: usize,
        /// Position within the prompt.
        position: usize,
        /// The id.
        found: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// A window of text too short to have a next token.
    #[error("window {window} has {found} tokens, expected at least 2: one and the one after it")]
    ShortWindow {
        /// Index of the window within the batch.
        window: usize,
        /// Its tokens.
        found: usize,
    },
    /// A sequence beyond the table of learned positions, for which there is nothing to compute with. Models with rotary positions have no such
    /// end: see [`DecoderConfig::max_len`](crate::DecoderConfig::max_len).
    #[error("a sequence of {found} tokens, expected at most {max_len} (the model's table of positions)")]
    TooLong {
        /// Its length.
        found: usize,
        /// The table's rows.
        max_len: usize,
    },
    /// Prompts whose rotary frequencies differ cannot share a batch.
    #[error(
        "prompts of {shorter} and {longer} tokens use different rotary frequencies and cannot share a batch"
    )]
    MixedRotary {
        /// The shortest length in the batch.
        shorter: usize,
        /// The longest.
        longer: usize,
    },
    /// Points of the embedding space of another width than the model's.
    #[error("the embeddings have {found} coordinates, expected the model's d_model {expected}")]
    EmbeddingWidth {
        /// Width of the rows.
        found: usize,
        /// The model's `d_model`.
        expected: usize,
    },
    /// More tokens than the prefix cache was made for.
    #[error("the cache holds {held} of {capacity} positions: {more} more do not fit")]
    CacheFull {
        /// Positions filled.
        held: usize,
        /// Positions there are.
        capacity: usize,
        /// Positions asked for.
        more: usize,
    },
    /// A prefix cache used in a way it was not made for.
    #[error("the cache was made for {expected}, but {found} was asked for")]
    CacheMismatch {
        /// What was asked.
        found: String,
        /// What it was made for.
        expected: String,
    },
    /// An alternative to a token that a run does not have.
    #[error("an alternative stands in place {place} of a run of {tokens} tokens")]
    NoSuchPlace {
        /// The place, from 0.
        place: usize,
        /// Tokens of the run.
        tokens: usize,
    },
    /// The device failed while computing or while values were read back.
    #[error("the device failed: {reason}")]
    Device {
        /// What the backend said.
        reason: String,
    },
    /// Fetching from the Hub failed.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
}
