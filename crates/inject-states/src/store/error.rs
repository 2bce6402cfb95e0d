//! Everything that can be wrong with a store, or with what is put into one.

use std::{io, path::Path, path::PathBuf};

use inject_models::{FloatFormat, Tap};

use crate::{difference::Difference, durable::{FileError, JsonLinesError}, tap_names};

/// Why a store cannot be written, gone on with, or read.
///
/// Nothing on disk is deleted or overwritten when one of these is returned from opening a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The text does not name a policy for BOS.
    #[error("unknown policy for BOS `{found}`: expected `auto`, `yes`, `no` or `as given`")]
    UnknownBosPolicy {
        /// The text as given.
        found: String,
    },
    /// Not the name of a choice of positions.
    #[error("unknown choice of positions `{found}`: expected `last` or `all`")]
    UnknownPositions {
        /// The text as given.
        found: String,
    },
    /// A field of a [`StoreSpec`](super::StoreSpec) that no store can have.
    #[error("a store cannot have {field} = {found}: expected {expected}")]
    InvalidSpec {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// There is nothing to store.
    #[error("there are no prompts to store states of")]
    NoPrompts,
    /// A prompt without tokens has no hidden state.
    #[error("prompt {prompt} has no tokens, so it has no hidden state")]
    EmptyPrompt {
        /// The prompt, counted from 0.
        prompt: usize,
    },
    /// More of something than the format can count.
    #[error("{found} {what}: a store holds at most {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: u128,
        /// How many fit.
        limit: u128,
    },
    /// A token id that I32 cannot hold.
    #[error("prompt {prompt} has the token id {found} at position {position}: ids go up to {}", i32::MAX)]
    TokenTooLarge {
        /// The prompt, counted from 0.
        prompt: usize,
        /// The position in it, counted from 0.
        position: usize,
        /// The id.
        found: u32,
    },

    /// No manifest, and no journal of an unfinished store either.
    #[error("`{path}` is not a store of hidden states: it has no manifest.json")]
    NotAStore {
        /// The folder.
        path: PathBuf,
    },
    /// A store whose writing was interrupted.
    #[error(
        "`{path}` is unfinished: {prompts_done} of {prompts} prompts are written; run the same command again to go on"
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
        /// How many prompts are on disk.
        prompts_done: usize,
        /// How many there will be.
        prompts: usize,
    },
    /// A folder that holds something else.
    #[error(
        "`{path}` is not empty and no store of hidden states (it holds `{found}`): choose another folder"
    )]
    AlienFolder {
        /// The folder.
        path: PathBuf,
        /// One thing in it.
        found: String,
    },
    /// Another process is writing this store.
    #[error("`{path}` is being written by another process")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds the store, finished or not, of another job.
    #[error("`{path}` holds another store: its {field} is {found}, not {expected}; choose another folder")]
    DifferentJob {
        /// The folder.
        path: PathBuf,
        /// The first field that differs.
        field: String,
        /// Its value in the folder, as JSON.
        found: String,
        /// Its value in this job, as JSON.
        expected: String,
    },

    /// A block with more prompts than are still missing.
    #[error("the block holds {found} prompts, but only {left} are still missing")]
    BlockTooLong {
        /// Prompts of the block.
        found: usize,
        /// Prompts still missing.
        left: usize,
    },
    /// A block with other taps than the store.
    #[error("the block holds the taps {}, the store {}", tap_names(found), tap_names(expected))]
    BlockTaps {
        /// The taps of the block, in its order.
        found: Vec<Tap>,
        /// The taps of the store, in the order of computation.
        expected: Vec<Tap>,
    },
    /// States of another size than rows x width.
    #[error(
        "the block holds {found} values at tap `{tap}`, expected {expected} ({rows} rows of width {d_model})"
    )]
    BlockSize {
        /// The tap.
        tap: Tap,
        /// How many values there are.
        found: usize,
        /// How many there should be.
        expected: usize,
        /// The rows of the block.
        rows: usize,
        /// The width of a state.
        d_model: usize,
    },
    /// A state that is NaN or infinite.
    #[error(
        "the state of prompt {prompt} at position {position}, tap `{tap}`, is not finite: it holds {found}"
    )]
    NotFinite {
        /// The prompt, counted from 0.
        prompt: usize,
        /// The position in it, counted from 0.
        position: usize,
        /// The tap.
        tap: Tap,
        /// The first such value.
        found: f32,
    },
    /// A finite state that rounds to infinity in the dtype of the store.
    #[error(
        "the state of prompt {prompt} at position {position}, tap `{tap}`, holds {found}, too large for {dtype}"
    )]
    Overflow {
        /// The prompt, counted from 0.
        prompt: usize,
        /// The position in it, counted from 0.
        position: usize,
        /// The tap.
        tap: Tap,
        /// The first such value.
        found: f32,
        /// The dtype of the store.
        dtype: FloatFormat,
    },
    /// Noise floors of other taps than the store's, or one that is no length.
    #[error("the noise floor at tap `{tap}` is {found}: expected {expected}")]
    NoiseFloor {
        /// The tap.
        tap: Tap,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },

    /// The operating system refused.
    #[error("cannot {action} `{path}`")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's own words.
        source: io::Error,
    },
    /// A manifest or journal that cannot be read.
    #[error("`{path}` is damaged")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A safetensors header that cannot be read.
    #[error("the safetensors header of `{path}` is damaged")]
    Header {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A store of another version of the format.
    #[error("`{path}` has format version {found}: this version of the crate reads {expected}")]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// Its version, as JSON.
        found: String,
        /// The version this crate reads and writes.
        expected: u32,
    },
    /// A field that contradicts the manifest, or itself.
    #[error("`{path}`: {field} is {found}, expected {expected}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Its value.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A file shorter or longer than its header says; or an unfinished one that is missing or was changed.
    #[error("`{path}` has {found} bytes, expected {expected}")]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The length its header asks for.
        expected: u64,
    },
    /// Tensors of other names, dtypes or shapes than the manifest asks for.
    #[error("`{path}` holds {found}, expected {expected}")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// Its tensors.
        found: String,
        /// The tensors the manifest asks for.
        expected: String,
    },
    /// The checksums of the states cannot be read, or belong to another store.
    #[error("the checksums of the store cannot be read: without their file, states are not compared with them")]
    Checksums(#[from] JsonLinesError),
    /// States that changed after they were written.
    #[error(
        "the states at tap `{tap}` in `{path}` are damaged: rows {first_row} to {last_row} do not agree with their \
         checksum; run the same extraction again to recompute them"
    )]
    DamagedBlock {
        /// The file.
        path: PathBuf,
        /// The tap.
        tap: Tap,
        /// The first row of the block.
        first_row: usize,
        /// The last row of the block.
        last_row: usize,
    },
    /// A tensor that cannot be read in place.
    #[error("tensor `{tensor}` of `{path}` begins at byte {found}, no multiple of {expected}")]
    Misaligned {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: &'static str,
        /// Where its data begins in the file.
        found: usize,
        /// The size of one element.
        expected: usize,
    },
    /// An id or offset that cannot be.
    #[error("`{path}`: {tensor}[{index}] is {found}, expected {expected}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: &'static str,
        /// Which of its elements, counted from 0.
        index: usize,
        /// The element.
        found: i64,
        /// What it should be.
        expected: String,
    },
    /// A tap that the store does not hold.
    #[error("the store `{path}` has no tap `{tap}`: it holds {}", tap_names(stored))]
    NoSuchTap {
        /// The folder.
        path: PathBuf,
        /// The tap asked for.
        tap: Tap,
        /// The taps it holds.
        stored: Vec<Tap>,
    },
}

impl From<FileError> for StoreError {
    fn from(FileError { action, path, source }: FileError) -> Self {
        StoreError::Io { path, action, source }
    }
}

impl StoreError {
    /// Makes an error of the difference between a folder's job and another.
    pub(crate) fn different_job(dir: &Path, difference: Difference) -> StoreError {
        let Difference { field, found, expected } = difference;
        StoreError::DifferentJob { path: dir.to_owned(), field, found, expected }
    }

    /// Returns a function for `map_err` that adds the action and the path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Io { path, action, source }
    }
}
