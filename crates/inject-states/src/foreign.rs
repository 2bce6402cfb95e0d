//! States that another program wrote, in safetensors, NumPy's or PyTorch's files.
//!
//! A file is named arrays: a header gives their names, shapes and places, and every size in it is checked against the length of the
//! file. One layer then reads these arrays as prompts, tokens and taps. If they can be read in two ways, the error lists the
//! readings, and [`ReadOptions`] decides. [`StatesFile::states_at`] reads the states of one tap exactly, because each
//! [`FloatFormat`] fits into F64.
//!
//! # Files
//!
//! | ending | arrays |
//! |---|---|
//! | `.safetensors` | its tensors |
//! | `.npy` | one without a name |
//! | `.npz` | its entries |
//! | `.pt`, `.pth`, `.bin`, `.ckpt` | the tensors in what `torch.save` wrote: a tensor, or lists, tuples and dictionaries of them, named by their path. Nothing in the file is run |
//! | `.gz` after any of them but the first | the same |
//!
//! # Layouts
//!
//! | shape | read as |
//! |---|---|
//! | `[a, d_model]` | `a` tokens at one tap |
//! | `[1, a, d_model]` | the same, with a batch axis |
//! | `[a, b, d_model]` | `a` tokens at `b` taps (vLLM), `a` taps of `b` tokens (stacked layers), or a batch of `a` prompts |
//! | four axes | the same with both an axis of prompts and one of taps |
//! | `[.., k * d_model]` | `k` taps side by side, if the width of the model is known (SpecForge) |
//!
//! The states are the tensor that [`ReadOptions::tensor`] names, or `states` or `hidden_states`, or a tensor for each layer
//! (`layer_0`, `model.layers.0`, `blocks.0.hook_resid_post`, entries of a list), or the only tensor of floats. A list of lists is what
//! `generate(output_hidden_states=True)` returns: the rows of its steps follow each other.
//!
//! Beside them may stand token ids (`token_ids`, `input_ids`, `prompt_token_ids`), an `attention_mask` or `seq_lens`, the sidecar
//! `.json` of vLLM-Hook, `positions` of rows that are incomplete or in another order, and in the metadata `taps` (names of [`Tap`], comma-separated, one for each column) or `tap` (one name).
//! Rows of zeros at the end of a prompt are padding. The files of a [store](crate::store) are of this kind.
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

mod arrays;
mod beside;
mod container;
mod encoding;
mod error;
mod layout;
#[cfg(test)]
mod malformed;
mod names;
mod npy;
mod npz;
mod options;
mod reading;
mod safetensors;
mod sidecar;
mod torch;
mod values;
mod zip_entries;

use std::path::{Path, PathBuf};

use inject_models::{FloatFormat, Tap};

use crate::{durable, states::States};

use arrays::Archive;
use beside::Beside;
use encoding::Encoding;
pub use error::{ForeignError, ForeignProblem};
pub use layout::{Axes, UnknownAxes};
pub use npy::write_npy;
pub use options::{ModelShape, ReadOptions};
use reading::{Piece, Prompt, Reading};
use sidecar::Sidecar;
pub use torch::PickleProblem;

/// A file of states whose header has been checked.
///
/// It has one or more columns. Each holds the states of all tokens of a prompt at one tap.
#[derive(Debug)]
pub struct StatesFile {
    path: PathBuf,
    archive: Archive,
    reading: Reading,
    /// The prompt whose states are read.
    prompt: usize,
    chosen: bool,
}

/// A choice among the columns of a [`StatesFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnChoice {
    /// The column of a file that has no other.
    Only,
    /// The column with this index, from 0.
    Index(usize),
    /// The column that the file names after this tap.
    Tap(Tap),
}

impl StatesFile {
    /// Opens a file and reads its header, its taps and its token ids.
    ///
    /// # Errors
    ///
    /// [`ForeignError`] if the file cannot be read, is malformed, or can be read in two ways. Of the values only those at the end of each
    /// prompt are read, which tell padding.
    pub fn open(path: impl AsRef<Path>) -> Result<StatesFile, ForeignError> {
        StatesFile::open_with(path, &ReadOptions::new())
    }

    /// Opens a file with facts that the caller knows and the file does not state.
    ///
    /// # Errors
    ///
    /// As [`StatesFile::open`], and if the file contradicts the options.
    pub fn open_with(path: impl AsRef<Path>, options: &ReadOptions) -> Result<StatesFile, ForeignError> {
        let path = path.as_ref();
        let read = || -> Result<StatesFile, ForeignProblem> {
            let mut archive = container::open(path)?;
            let sidecar = Sidecar::beside(path)?;
            let beside = Beside::read(&mut archive, sidecar.as_ref())?;
            let reading = Reading::of(&archive, beside, options)?;
            let (prompt, prompts) = (options.row.unwrap_or(0), reading.prompts.len());
            if prompt >= prompts {
                return Err(ForeignProblem::NoSuchPrompt { found: prompt, prompts });
            }
            let chosen = options.row.is_some() || prompts == 1;
            let mut file = StatesFile { path: path.to_owned(), archive, reading, prompt, chosen };
            (0..prompts).try_for_each(|prompt| file.cut_padding(prompt))?;
            Ok(file)
        };
        read().map_err(|problem| ForeignError { path: path.to_owned(), problem })
    }

    /// Returns whether the name of a file has an ending that is read.
    pub fn is_named(path: &Path) -> bool {
        container::is_known(path)
    }

    /// Returns the path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a fingerprint of the file: the XXH3 of its content, in hexadecimal, and of the sidecar beside it, if there is one.
    ///
    /// # Errors
    ///
    /// [`ForeignError`] if one of them cannot be read.
    pub fn fingerprint(&self) -> Result<String, ForeignError> {
        let of = |path: &Path| durable::fingerprint(path).map_err(|error| error.source);
        let read = || -> Result<String, ForeignProblem> {
            let content = of(&self.path)?;
            match Sidecar::beside(&self.path)? {
                None => Ok(content),
                Some(_) => Ok(format!("{content}+{}", of(&Sidecar::path(&self.path))?)),
            }
        };
        read().map_err(|problem| ForeignError { path: self.path.clone(), problem })
    }

    /// Returns the number of prompts.
    pub fn prompts(&self) -> usize {
        self.reading.prompts.len()
    }

    /// Chooses the prompt whose states are read.
    ///
    /// # Errors
    ///
    /// [`ForeignError`] if there is no such prompt.
    pub fn choose(&mut self, prompt: usize) -> Result<(), ForeignError> {
        let prompts = self.prompts();
        if prompt >= prompts {
            let problem = ForeignProblem::NoSuchPrompt { found: prompt, prompts };
            return Err(ForeignError { path: self.path.clone(), problem });
        }
        (self.prompt, self.chosen) = (prompt, true);
        Ok(())
    }

    /// Returns the number of rows of the prompt, without padding.
    pub fn rows(&self) -> usize {
        self.chosen_prompt().rows.len()
    }

    /// Returns the number of taps.
    pub fn columns(&self) -> usize {
        self.reading.columns.len()
    }

    /// Returns the tensor of each column, in words.
    pub fn origins(&self) -> Vec<String> {
        self.reading.columns.iter().map(|column| column.origin.clone()).collect()
    }

    /// Returns the width of a state.
    pub fn d_model(&self) -> usize {
        self.reading.d_model
    }

    /// Returns the format of the numbers in the file, to which they were rounded. Of several formats it is that of the first column.
    pub fn dtype(&self) -> FloatFormat {
        self.encoding(self.reading.columns[0].pieces[0]).format
    }

    /// Returns the tap of each column, if the file names them, or if the number of columns tells.
    pub fn taps(&self) -> Option<&[Tap]> {
        self.reading.taps.as_deref()
    }

    /// Returns the tokens of the prompt, if the file holds them.
    ///
    /// There may be more of them than rows: a server that has a prefix in its cache does not compute its states again.
    pub fn token_ids(&self) -> Option<&[u32]> {
        self.chosen_prompt().token_ids.as_deref()
    }

    /// Returns the position of each row, if the file has a tensor `positions` and they are not consecutive from 0.
    pub fn positions(&self) -> Option<&[usize]> {
        let prompt = self.chosen_prompt();
        prompt.positions.as_deref().map(|positions| &positions[..prompt.rows.len()])
    }

    /// Returns the way the file was read in words, if there was something to decide.
    pub fn taken(&self) -> Option<&str> {
        self.reading.taken.as_deref()
    }

    /// Reads the states at one tap of a model whose states have width `d_model`, without rounding.
    ///
    /// A file with one column that it does not name is taken to be that tap.
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
            let (tensor, found) = (self.tensor(0).to_owned(), self.d_model());
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
    /// [`ForeignError`] if there is no such column, the caller did not choose among several prompts, the file cannot be read, or a
    /// value is NaN or infinite. A row of nothing but NaN is not an error: it is the row of a missing state. An infinity of F16 is
    /// not an error: it is read as [`FloatFormat::within_range`] gives it.
    pub fn column(&mut self, choice: ColumnChoice) -> Result<States<f64>, ForeignError> {
        self.index_of(choice)
            .and_then(|column| self.read(column))
            .map_err(|problem| ForeignError { path: self.path.clone(), problem })
    }

    fn chosen_prompt(&self) -> &Prompt {
        &self.reading.prompts[self.prompt]
    }

    /// The name of the first tensor of a column.
    fn tensor(&self, column: usize) -> &str {
        &self.archive.arrays[self.reading.columns[column].pieces[0].array].name
    }

    fn encoding(&self, piece: Piece) -> Encoding {
        let encoding = self.archive.arrays[piece.array].encoding();
        encoding.expect("only floats are read as states")
    }

    fn index_of(&self, choice: ColumnChoice) -> Result<usize, ForeignProblem> {
        let columns = self.columns();
        match choice {
            _ if !self.chosen => Err(ForeignProblem::ManyPrompts { prompts: self.prompts() }),
            ColumnChoice::Only if columns == 1 => Ok(0),
            ColumnChoice::Only => Err(ForeignProblem::ManyColumns { columns, origins: self.origins() }),
            ColumnChoice::Index(index) if index < columns => Ok(index),
            ColumnChoice::Index(found) => Err(ForeignProblem::NoSuchColumn { found, columns }),
            ColumnChoice::Tap(tap) => {
                let taps = self.taps().ok_or(ForeignProblem::UnnamedColumns { tap })?;
                let index = taps.iter().position(|&known| known == tap);
                index.ok_or_else(|| ForeignProblem::NoSuchTap { tap, known: taps.to_vec() })
            }
        }
    }
}
