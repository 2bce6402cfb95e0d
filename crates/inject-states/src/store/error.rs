//! Errors of stores.

use std::{io, path::Path, path::PathBuf};

use inject_models::{FloatFormat, Tap, checkpoint::HeaderError};

use crate::{
    difference::Difference,
    durable::{FileError, JsonLinesError},
    share::CoverError,
    tap_names,
};

/// The reason why a store cannot be written, resumed or read.
///
/// Nothing on disk is deleted or overwritten if opening a folder returns one of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The text does not name a policy for BOS.
    #[error("unknown policy for BOS `{found}`: expected `auto`, `yes`, `no` or `as given`")]
    UnknownBosPolicy {
        /// The text that names no policy.
        found: String,
    },
    /// The text is neither `last` nor `all`.
    #[error("unknown choice of positions `{found}`: expected `last` or `all`")]
    UnknownPositions {
        /// The text that names no choice of positions.
        found: String,
    },
    /// A field of a [`StoreSpec`](super::StoreSpec) is impossible.
    #[error("a store cannot have {field} = {found}: expected {expected}")]
    InvalidSpec {
        /// The name of the field.
        field: &'static str,
        /// The value of the field, as text.
        found: String,
        /// A description of the possible values.
        expected: &'static str,
    },
    /// The list of prompts is empty.
    #[error("no prompts: expected at least one")]
    NoPrompts,
    /// A prompt has no tokens.
    #[error("prompt {prompt} has no tokens, expected at least one")]
    EmptyPrompt {
        /// The prompt, counted from 0.
        prompt: usize,
    },
    /// A count exceeds the limit of the format.
    #[error("{found} {what}: a store holds at most {limit}")]
    TooLarge {
        /// The plural noun for the counted items.
        what: &'static str,
        /// The number of items found.
        found: u128,
        /// The largest number that a store supports.
        limit: u128,
    },
    /// A token id does not fit into I32.
    #[error("prompt {prompt} has the token id {found} at position {position}: ids go up to {}", i32::MAX)]
    TokenTooLarge {
        /// The prompt, counted from 0.
        prompt: usize,
        /// The position in it, counted from 0.
        position: usize,
        /// The token id that does not fit.
        found: u32,
    },

    /// A folder contains neither a manifest nor the journal of an unfinished store.
    #[error("`{path}` is not a store of hidden states: it has no manifest.json")]
    NotAStore {
        /// The path of the folder.
        path: PathBuf,
    },
    /// The writing of a store was interrupted.
    #[error(
        "`{path}` is unfinished: {prompts_done} of {prompts} prompts are written; run the same command again to continue"
    )]
    Unfinished {
        /// The path of the folder.
        path: PathBuf,
        /// The number of prompts that are on disk.
        prompts_done: usize,
        /// The number of prompts of the job.
        prompts: usize,
    },
    /// A folder is not empty and does not contain a store.
    #[error(
        "`{path}` is not empty and not a store of hidden states (it holds `{found}`): choose another folder"
    )]
    AlienFolder {
        /// The path of the folder.
        path: PathBuf,
        /// The name of a file in it.
        found: String,
    },
    /// Another process is writing this store.
    #[error("`{path}` is being written by another process")]
    Busy {
        /// The path of the folder.
        path: PathBuf,
    },
    /// A folder holds the store of another job, finished or not.
    #[error(
        "`{path}` holds another store: its {field} is {found}, expected {expected}: choose another folder"
    )]
    DifferentJob {
        /// The path of the folder.
        path: PathBuf,
        /// The first field that differs.
        field: String,
        /// Its value in the folder, as JSON.
        found: String,
        /// Its value in this job, as JSON.
        expected: String,
    },

    /// A block has more prompts than the store still needs.
    #[error("the block holds {found} prompts, expected at most the {left} that are missing")]
    BlockTooLong {
        /// The number of prompts in the block.
        found: usize,
        /// The number of missing prompts.
        left: usize,
    },
    /// The taps of a block differ from those of the store.
    #[error("the block holds the taps {}, the store {}", tap_names(found), tap_names(expected))]
    BlockTaps {
        /// The taps of the block, in its order.
        found: Vec<Tap>,
        /// The taps of the store, in the order of computation.
        expected: Vec<Tap>,
    },
    /// The number of values in a block is not the number of rows times the width.
    #[error(
        "the block holds {found} values at tap `{tap}`, expected {expected} ({rows} rows of width {d_model})"
    )]
    BlockSize {
        /// The tap of the states.
        tap: Tap,
        /// The number of values in the block.
        found: usize,
        /// The number of rows times the width.
        expected: usize,
        /// The number of rows of the block.
        rows: usize,
        /// The width of a state.
        d_model: usize,
    },
    /// A state is NaN or infinite.
    #[error(
        "the state of prompt {prompt} at position {position}, tap `{tap}`, is not finite: it holds {found}"
    )]
    NotFinite {
        /// The prompt, counted from 0.
        prompt: usize,
        /// The position in it, counted from 0.
        position: usize,
        /// The tap of the states.
        tap: Tap,
        /// The first NaN or infinity of the state.
        found: f32,
    },
    /// A finite state rounds to infinity in the format of the store.
    #[error(
        "the state of prompt {prompt} at position {position}, tap `{tap}`, holds {found}, too large for {dtype}"
    )]
    Overflow {
        /// The prompt, counted from 0.
        prompt: usize,
        /// The position in it, counted from 0.
        position: usize,
        /// The tap of the states.
        tap: Tap,
        /// The first such value of the state.
        found: f32,
        /// The format of the store.
        dtype: FloatFormat,
    },
    /// Noise floors belong to other taps than the store's, or one is negative or not finite.
    #[error("the noise floor at tap `{tap}` is {found}: expected {expected}")]
    NoiseFloor {
        /// The tap of the states.
        tap: Tap,
        /// The noise floor, or the missing one, as text.
        found: String,
        /// A description of the possible values.
        expected: &'static str,
    },

    /// An I/O operation failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// The path of the file or folder.
        path: PathBuf,
        /// The operation that failed, as a verb.
        action: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A manifest or journal is not valid JSON.
    #[error("`{path}` is damaged")]
    Json {
        /// The path of the file.
        path: PathBuf,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// A safetensors header is malformed.
    #[error("the safetensors header of `{path}` is damaged")]
    Header {
        /// The path of the file.
        path: PathBuf,
        /// The fault in the header.
        source: HeaderError,
    },
    /// A store has an unsupported format version.
    #[error("`{path}` has format version {found}: this version of the crate reads {expected}")]
    FormatVersion {
        /// The path of the file.
        path: PathBuf,
        /// The format version of the store, as JSON.
        found: String,
        /// The version this crate reads and writes.
        expected: u32,
    },
    /// The description of a store changed after it was written.
    #[error("`{path}` does not agree with its checksum: it was damaged after it was written")]
    Checksum {
        /// The path of the file.
        path: PathBuf,
    },
    /// The value of a field is invalid or contradicts the manifest.
    #[error("`{path}`: {field} is {found}, expected {expected}")]
    Field {
        /// The path of the file.
        path: PathBuf,
        /// The name of the field.
        field: String,
        /// The value of the field, as text.
        found: String,
        /// A description of the expected value.
        expected: String,
    },
    /// A file is shorter or longer than its header says, or an unfinished file is missing.
    #[error("`{path}` has {found} bytes, expected {expected}")]
    FileSize {
        /// The path of the file.
        path: PathBuf,
        /// The length of the file, in bytes.
        found: u64,
        /// The length that the header implies, in bytes.
        expected: u64,
    },
    /// The names, dtypes or shapes of a file's tensors differ from those that the manifest describes.
    #[error("`{path}` holds {found}, expected {expected}")]
    Tensors {
        /// The path of the file.
        path: PathBuf,
        /// The tensors that the file contains.
        found: String,
        /// The tensors that the manifest describes.
        expected: String,
    },
    /// The checksums of the states are damaged, or belong to another store.
    #[error(
        "the checksums of the store cannot be read: without their file, states are not compared with them"
    )]
    Checksums(#[from] JsonLinesError),
    /// States changed after they were written.
    #[error(
        "the states at tap `{tap}` in `{path}` are damaged: rows {first_row} to {last_row} do not agree with their \
         checksum; run the same extraction again to recompute them"
    )]
    DamagedBlock {
        /// The path of the file.
        path: PathBuf,
        /// The tap of the states.
        tap: Tap,
        /// The first row of the block.
        first_row: usize,
        /// The last row of the block.
        last_row: usize,
    },
    /// A tensor is not aligned, so it cannot be read in place.
    #[error("tensor `{tensor}` of `{path}` begins at byte {found}, expected a multiple of {expected}")]
    Misaligned {
        /// The path of the file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: &'static str,
        /// The offset of its data in the file.
        found: usize,
        /// The size of one element.
        expected: usize,
    },
    /// An id or offset has an invalid value.
    #[error("`{path}`: {tensor}[{index}] is {found}, expected {expected}")]
    Value {
        /// The path of the file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: &'static str,
        /// The index of the element, counted from 0.
        index: usize,
        /// The value of the element.
        found: i64,
        /// A description of the expected value.
        expected: String,
    },
    /// Stores are not those of all shares of a job, each once.
    #[error(transparent)]
    Shares(#[from] CoverError),
    /// A store that is to be merged holds all of its job.
    #[error("`{path}` is not a share: it holds all prompts of its job")]
    NotAShare {
        /// The path of the folder.
        path: PathBuf,
    },
    /// Two stores are shares of different jobs.
    #[error(
        "`{path}` and `{other}` are not shares of one job: {field} is {found} in the first and {expected} in the second"
    )]
    DifferentShare {
        /// The folder of one store.
        path: PathBuf,
        /// The folder of the other.
        other: PathBuf,
        /// The first field that differs.
        field: String,
        /// Its value in the one store, as JSON.
        found: String,
        /// Its value in the other store, as JSON.
        expected: String,
    },
    /// The store does not hold a tap.
    #[error("the store `{path}` has no tap `{tap}`: it holds {}", tap_names(stored))]
    NoSuchTap {
        /// The path of the folder.
        path: PathBuf,
        /// The tap that was requested.
        tap: Tap,
        /// The taps that the store contains.
        stored: Vec<Tap>,
    },
}

impl From<FileError> for StoreError {
    fn from(FileError { action, path, source }: FileError) -> Self {
        StoreError::Io { path, action, source }
    }
}

impl StoreError {
    /// Creates the error for a difference between a folder's job and the requested one.
    pub(crate) fn different_job(dir: &Path, difference: Difference) -> StoreError {
        let field = difference.name().to_owned();
        let Difference { found, expected, .. } = difference;
        StoreError::DifferentJob { path: dir.to_owned(), field, found, expected }
    }

    /// Makes an error of the difference between two stores that should be shares of one job.
    pub(crate) fn different_share(path: &Path, other: &Path, difference: Difference) -> StoreError {
        let field = difference.name().to_owned();
        let Difference { found, expected, .. } = difference;
        StoreError::DifferentShare { path: path.to_owned(), other: other.to_owned(), field, found, expected }
    }

    /// Returns a function for `map_err` that adds the action and the path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Io { path, action, source }
    }
}
