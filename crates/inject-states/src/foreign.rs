//! States that another program wrote, in `.safetensors` or `.npy`.
//!
//! Opening a file checks every size in its header against the length of the file. [`StatesFile::states_at`] then reads the
//! states of one tap exactly, because each [`FloatFormat`] fits into F64.
//!
//! # Layouts
//!
//! | shape | read as |
//! |---|---|
//! | `[a, d_model]` | `a` tokens at one tap |
//! | `[a, b, d_model]` | `a` tokens at `b` taps (vLLM), or `a` taps of `b` tokens (stacked layers) |
//! | `[1, b, d_model]` | the same; the second reading is also a batch of one prompt |
//!
//! A three-dimensional tensor is read in the way that fits the number of token ids and of tap names beside it.
//! If both ways fit (as many tokens as taps, or nothing beside the tensor, as always in `.npy`), the file
//! is refused, and the caller decides with [`StatesFile::open_as`].
//!
//! In `.safetensors` the tensor is called `states` or `hidden_states`. Beside it may stand `token_ids`,
//! `[token]` or `[1, token]` of any integer dtype, and in the metadata `taps` (names of [`Tap`],
//! comma-separated, one for each column) or `tap` (one name). Other tensors and other metadata are ignored.
//! The files of a [store](crate::store) are of this kind.
//!
//! # Example
//!
//! ```
//! use inject_states::{foreign::{StatesFile, write_npy}, models::Tap};
//! use ndarray::array;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("states.npy");
//! write_npy(&path, array![[0.5, -1.0, 2.0], [0.25, 0.0, 3.0]].view())?;
//!
//! let mut file = StatesFile::open(&path)?;
//! assert_eq!((file.rows(), file.columns(), file.d_model()), (2, 1, 3));
//! let states = file.states_at(Tap::Block(7), 3)?; // the caller knows the tap, since the file does not name it
//! assert_eq!(states.state(1), [0.25, 0.0, 3.0]);
//! assert!(file.states_at(Tap::Block(7), 768).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod encoding;
mod error;
mod layout;
#[cfg(test)]
mod malformed;
mod npy;
mod safetensors;

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use inject_models::{FloatFormat, Tap};
use ndarray::Array2;

use crate::states::States;

use encoding::Encoding;
pub use error::{ForeignError, ForeignProblem};
pub use layout::Axes;
use layout::{Layout, MemoryOrder};
pub use npy::write_npy;

/// The endings [`StatesFile::open`] knows.
const ENDINGS: &str = "`.safetensors`, `.npy`";

/// A file of states whose header has been checked.
///
/// It has one or more columns. Each holds the states of all tokens at one tap.
#[derive(Debug)]
pub struct StatesFile {
    path: PathBuf,
    file: File,
    header: Header,
    layout: Layout,
}

/// A choice among the columns of a [`StatesFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnChoice {
    /// The only column.
    Only,
    /// The column with this index, from 0.
    Index(usize),
    /// The column that the file names after this tap.
    Tap(Tap),
}

/// The contents of a file before the first value, in either format.
#[derive(Debug)]
struct Header {
    /// The tensor's name, for errors.
    tensor: &'static str,
    encoding: Encoding,
    order: MemoryOrder,
    shape: Vec<usize>,
    /// The offset of the first value in the file.
    start: u64,
    taps: Option<Vec<Tap>>,
    token_ids: Option<Vec<u32>>,
}

impl StatesFile {
    /// Opens a file and reads its header, its taps and its token ids.
    ///
    /// # Errors
    ///
    /// [`ForeignError`] if the file cannot be read, is malformed, or can be read in two ways. The values
    /// are not read yet.
    pub fn open(path: impl AsRef<Path>) -> Result<StatesFile, ForeignError> {
        StatesFile::open_with(path.as_ref(), None)
    }

    /// Opens a file whose three-dimensional tensor is known to have these axes.
    ///
    /// The token ids and tap names in the file must still fit. A two-dimensional tensor has only one reading,
    /// whatever `axes` is.
    ///
    /// # Errors
    ///
    /// As [`StatesFile::open`], except that no file can be read in two ways.
    pub fn open_as(path: impl AsRef<Path>, axes: Axes) -> Result<StatesFile, ForeignError> {
        StatesFile::open_with(path.as_ref(), Some(axes))
    }

    fn open_with(path: &Path, axes: Option<Axes>) -> Result<StatesFile, ForeignError> {
        let read = || -> Result<StatesFile, ForeignProblem> {
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            let read_header = match ending.to_ascii_lowercase().as_str() {
                "npy" => npy::read_header,
                "safetensors" => safetensors::read_header,
                _ => return Err(ForeignProblem::UnknownEnding { found: ending, known: ENDINGS }),
            };
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            let header = read_header(&mut file, length)?;
            let layout = Layout::detect(&header, axes)?;
            Ok(StatesFile { path: path.to_owned(), file, header, layout })
        };
        read().map_err(|problem| ForeignError { path: path.to_owned(), problem })
    }

    /// Returns the path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of tokens.
    pub fn rows(&self) -> usize {
        self.layout.rows.length
    }

    /// Returns the number of taps.
    pub fn columns(&self) -> usize {
        self.layout.columns.length
    }

    /// Returns the width of a state.
    pub fn d_model(&self) -> usize {
        self.layout.dimensions.length
    }

    /// Returns the format of the numbers in the file, to which they were rounded.
    pub fn dtype(&self) -> FloatFormat {
        self.header.encoding.format
    }

    /// Returns the tap of each column, if the file names them.
    pub fn taps(&self) -> Option<&[Tap]> {
        self.header.taps.as_deref()
    }

    /// Returns the token of each row, if the file holds them.
    pub fn token_ids(&self) -> Option<&[u32]> {
        self.header.token_ids.as_deref()
    }

    /// Reads the states at one tap of a model whose states have width `d_model`, without rounding.
    ///
    /// A file with one column that it does not name is taken at the caller's word.
    ///
    /// # Shapes
    ///
    /// `[row, d_model]`.
    ///
    /// # Errors
    ///
    /// [`ForeignError`] if the file names other taps, has several columns without names or states of another width, and the
    /// errors of [`StatesFile::column`].
    pub fn states_at(&mut self, tap: Tap, d_model: usize) -> Result<States<f64>, ForeignError> {
        if self.d_model() != d_model {
            let (tensor, found) = (self.header.tensor, self.d_model());
            let problem = ForeignProblem::Width { tensor, found, expected: d_model };
            return Err(ForeignError { path: self.path.clone(), problem });
        }
        match self.taps() {
            None if self.columns() == 1 => self.column(ColumnChoice::Only),
            _ => self.column(ColumnChoice::Tap(tap)),
        }
    }

    /// Reads the states of one column, without rounding.
    ///
    /// # Shapes
    ///
    /// `[row, d_model]`.
    ///
    /// # Errors
    ///
    /// [`ForeignError`] if there is no such column, the file cannot be read, or a value is NaN or infinite. An infinity of F16 is not an
    /// error: it is read as [`FloatFormat::within_range`] gives it.
    pub fn column(&mut self, choice: ColumnChoice) -> Result<States<f64>, ForeignError> {
        self.index_of(choice)
            .and_then(|column| self.read(column))
            .map_err(|problem| ForeignError { path: self.path.clone(), problem })
    }

    fn index_of(&self, choice: ColumnChoice) -> Result<usize, ForeignProblem> {
        let columns = self.columns();
        match choice {
            ColumnChoice::Only if columns == 1 => Ok(0),
            ColumnChoice::Only => Err(ForeignProblem::ManyColumns { columns }),
            ColumnChoice::Index(index) if index < columns => Ok(index),
            ColumnChoice::Index(found) => Err(ForeignProblem::NoSuchColumn { found, columns }),
            ColumnChoice::Tap(tap) => {
                let taps = self.taps().ok_or(ForeignProblem::UnnamedColumns { tap })?;
                let index = taps.iter().position(|&known| known == tap);
                index.ok_or_else(|| ForeignProblem::NoSuchTap { tap, known: taps.to_vec() })
            }
        }
    }

    /// Reads one contiguous span of the file per row or, in Fortran order, per dimension.
    fn read(&mut self, column: usize) -> Result<States<f64>, ForeignProblem> {
        let Layout { rows, columns, dimensions } = self.layout;
        let by_row = dimensions.stride <= rows.stride;
        let (outer, inner) = if by_row { (rows, dimensions) } else { (dimensions, rows) };
        let encoding = self.header.encoding;
        let size = encoding.format.bytes();
        let mut span = zeros::<u8>(((inner.length - 1) * inner.stride + 1) * size)?;
        let states = zeros::<f64>(rows.length * dimensions.length)?;
        let shape = (rows.length, dimensions.length);
        let mut states = Array2::from_shape_vec(shape, states).map_err(|_| ForeignProblem::OutOfMemory)?;

        let base = self.header.start + (column * columns.stride * size) as u64;
        let mut reader = BufReader::with_capacity(1 << 16, &mut self.file);
        let mut position = reader.seek(SeekFrom::Start(base))?;
        for i in 0..outer.length {
            let start = base + (i * outer.stride * size) as u64;
            // Unlike `seek`, this keeps what is buffered; both offsets lie inside the file, so the difference
            // fits.
            reader.seek_relative(start as i64 - position as i64)?;
            reader.read_exact(&mut span)?;
            position = start + span.len() as u64;
            for (j, bytes) in span.chunks_exact(size).step_by(inner.stride).enumerate() {
                let value = encoding.format.within_range(encoding.decode(bytes));
                let (row, dimension) = if by_row { (i, j) } else { (j, i) };
                if !value.is_finite() {
                    let tensor = self.header.tensor;
                    return Err(ForeignProblem::NotFinite { tensor, column, row, dimension, value });
                }
                states[[row, dimension]] = value;
            }
        }
        Ok(states.into())
    }
}

/// Does what `vec![0; length]` does, for a length that a (sparse) file claims.
fn zeros<T: Clone + Default>(length: usize) -> Result<Vec<T>, ForeignProblem> {
    let mut values = Vec::new();
    values.try_reserve_exact(length).map_err(|_| ForeignProblem::OutOfMemory)?;
    values.resize(length, T::default());
    Ok(values)
}
