//! Errors of files of states.

use std::{error::Error, fmt, io, path::PathBuf};

use inject_models::{Tap, TapError, checkpoint::HeaderError};

use super::Axes;

/// A file that cannot be read as states.
#[derive(Debug)]
#[non_exhaustive]
pub struct ForeignError {
    /// The file.
    pub path: PathBuf,
    /// The problem.
    pub problem: ForeignProblem,
}

impl fmt::Display for ForeignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl Error for ForeignError {
    /// Returns the source of the problem. The problem itself is part of this error's text.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

/// The problem with a file of states.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignProblem {
    /// The file cannot be opened, read or written.
    #[error("input or output failed")]
    Io(#[from] io::Error),
    /// The ending of the file's name is not that of a known format.
    #[error("unknown ending `{found}`: expected one of {known}")]
    UnknownEnding {
        /// The ending, without the dot.
        found: String,
        /// The known endings.
        known: &'static str,
    },
    /// The file ends before its header does.
    #[error("the file is {found} bytes long, but its header needs {expected}")]
    HeaderCutOff {
        /// The length of the file.
        found: u64,
        /// The length it needs at least.
        expected: u64,
    },
    /// A header of a length that no writer needs.
    #[error("the header claims {found} bytes, more than the {limit} allowed")]
    HeaderTooLong {
        /// The length the file claims.
        found: u64,
        /// The longest one that is read.
        limit: u64,
    },
    /// The header of a `.safetensors` file is not what the format asks for.
    #[error("not a safetensors header")]
    SafetensorsHeader {
        /// The cause.
        source: HeaderError,
    },
    /// The file does not begin as a `.npy` file.
    #[error("not a .npy file: it does not begin with \\x93NUMPY")]
    NpyMagic,
    /// A version of the `.npy` format that does not exist yet.
    #[error("unknown .npy version {major}.{minor}: expected 1.0, 2.0 or 3.0")]
    NpyVersion {
        /// The major version.
        major: u8,
        /// The minor version.
        minor: u8,
    },
    /// The header of a `.npy` file is not the dictionary the format asks for.
    #[error("malformed .npy header at byte {at}: expected {expected}, found `{found}`")]
    NpyHeader {
        /// The offset in the header.
        at: usize,
        /// The expected text.
        expected: &'static str,
        /// The text found.
        found: String,
    },
    /// The file is longer or shorter than its header says.
    #[error("the header describes {expected} bytes, but the file has {found}")]
    Length {
        /// The length of the whole file by its header.
        expected: u128,
        /// The length of the whole file.
        found: u64,
    },
    /// No tensor is named like states.
    #[error("no tensor `states` or `hidden_states`; the file has {found:?}")]
    NoStates {
        /// The tensors of the file.
        found: Vec<String>,
    },
    /// Two tensors are named like states.
    #[error("both a tensor `states` and a tensor `hidden_states`: expected one of them")]
    TwoStates,
    /// A dtype that is not accepted.
    #[error("`{tensor}` has dtype {found}: expected {expected}")]
    Dtype {
        /// The tensor's name.
        tensor: &'static str,
        /// The dtype as the file spells it.
        found: String,
        /// The accepted dtypes.
        expected: &'static str,
    },
    /// A shape with too many or too few axes.
    #[error("`{tensor}` has shape {shape:?}: expected [token, d_model] or three axes with d_model last")]
    Dimensions {
        /// The tensor's name.
        tensor: &'static str,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor without values.
    #[error("`{tensor}` of shape {shape:?} is empty")]
    Empty {
        /// The tensor's name.
        tensor: &'static str,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The shape fits neither reading.
    #[error("`{tensor}` has shape {shape:?}, which does not fit {}", beside(*n_tokens, *n_taps, *axes))]
    Mismatch {
        /// The tensor's name.
        tensor: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// The number of token ids beside it.
        n_tokens: Option<usize>,
        /// The number of tap names beside it.
        n_taps: Option<usize>,
        /// The axes the caller asked for.
        axes: Option<Axes>,
    },
    /// The shape fits both readings.
    #[error(
        "`{tensor}` of shape {shape:?} can be read as [token, tap, d_model] and as [tap, token, d_model] (a \
         batch of one prompt is the latter), and nothing in the file decides: the caller must say which"
    )]
    Ambiguous {
        /// The tensor's name.
        tensor: &'static str,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Token ids of another shape.
    #[error("`token_ids` has shape {shape:?}: expected [token] or [1, token]")]
    TokenIdsShape {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A token id out of range.
    #[error("token id {found} at position {position} is not in 0..=4294967295")]
    TokenId {
        /// The position in the prompt, from 0.
        position: usize,
        /// The id in the file.
        found: i128,
    },
    /// A name in the metadata that is not that of a tap.
    #[error("the metadata does not name a tap")]
    TapName {
        /// The name and the expected ones.
        #[from]
        source: TapError,
    },
    /// Two columns of the same tap.
    #[error("the metadata names tap {tap} twice")]
    RepeatedTap {
        /// The tap.
        tap: Tap,
    },
    /// Two keys that name taps.
    #[error("the metadata has both `tap` and `taps`")]
    TapAndTaps,
    /// The only column was requested, but there are several.
    #[error("the file has {columns} columns: the caller must say which")]
    ManyColumns {
        /// The number of columns.
        columns: usize,
    },
    /// A column beyond the last was requested.
    #[error("no column {found}: the file has {columns}, counted from 0")]
    NoSuchColumn {
        /// The requested index.
        found: usize,
        /// The number of columns.
        columns: usize,
    },
    /// A tap was requested, but the file does not name its columns.
    #[error("the file does not say which column is tap {tap}: the caller must say it by index")]
    UnnamedColumns {
        /// The requested tap.
        tap: Tap,
    },
    /// A tap was requested that the file does not have.
    #[error("no tap {tap}: the file has {}", crate::tap_names(known))]
    NoSuchTap {
        /// The requested tap.
        tap: Tap,
        /// The taps of the file.
        known: Vec<Tap>,
    },
    /// States of another width than the model's.
    #[error("`{tensor}` holds states of width {found}, expected {expected}")]
    Width {
        /// The tensor's name.
        tensor: &'static str,
        /// The width in the file.
        found: usize,
        /// The width asked for.
        expected: usize,
    },
    /// A value that is NaN or infinite.
    #[error("`{tensor}` has {value} at row {row}, dimension {dimension} of column {column}")]
    NotFinite {
        /// The tensor's name.
        tensor: &'static str,
        /// The column.
        column: usize,
        /// The row.
        row: usize,
        /// The dimension within the state.
        dimension: usize,
        /// NaN or an infinity.
        value: f64,
    },
    /// The states do not fit into memory.
    #[error("not enough memory for the states of one column")]
    OutOfMemory,
}

/// Joins the conditions that the shape should fit.
fn beside(n_tokens: Option<usize>, n_taps: Option<usize>, axes: Option<Axes>) -> String {
    let tokens = n_tokens.map(|n| format!("{n} token ids"));
    let taps = n_taps.map(|n| format!("{n} tap names"));
    let axes = axes.map(|axes| format!("the axes {axes:?}"));
    [tokens, taps, axes].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
