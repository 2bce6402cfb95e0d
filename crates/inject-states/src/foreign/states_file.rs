//! A file of states, and the choice of a prompt and a column in it.

use std::path::{Path, PathBuf};

use inject_models::{FloatFormat, Tap};

use super::{
    Axes,
    arrays::Archive,
    beside::{Beside, Within},
    container,
    encoding::Encoding,
    error::{ForeignError, ForeignProblem},
    options::ReadOptions,
    reading::{Piece, Prompt, Reading},
    sidecar::Sidecar,
};
use crate::{durable, states::States};

/// A file of states whose header has been checked.
///
/// It has one or more columns. Each holds the states of all tokens of a prompt at one tap.
#[derive(Debug)]
pub struct StatesFile {
    pub(super) path: PathBuf,
    pub(super) archive: Archive,
    pub(super) reading: Reading,
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
    /// prompt are read, to find padding.
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
            let mut archive = container::open(path, options.most_unpacked)?;
            // The caller names a tensor as the file does.
            if options.tensor.as_ref().is_none_or(|name| archive.position(name).is_none()) {
                archive.states_of_dictionaries();
            }
            archive.rows_of_lists();
            let sidecar = Sidecar::beside(path)?;
            if let Some(array) =
                archive.arrays.first().filter(|_| sidecar.as_ref().is_some_and(Sidecar::is_of_last_tokens))
            {
                return Err(ForeignProblem::LastStates { tensor: array.name.clone() });
            }
            let reading = Reading::default();
            let mut file = StatesFile { path: path.to_owned(), archive, reading, prompt: 0, chosen: false };
            // Ids within dictionaries may be those of something else.
            if let Err(problem) = file.interpret(sidecar.as_ref(), options, Within::Read) {
                file.interpret(sidecar.as_ref(), options, Within::LeftOut).map_err(|_| problem)?;
            }
            Ok(file)
        };
        read().map_err(|problem| ForeignError { path: path.to_owned(), problem })
    }

    /// Finds the meaning of the arrays.
    fn interpret(
        &mut self,
        sidecar: Option<&Sidecar>,
        options: &ReadOptions,
        within: Within,
    ) -> Result<(), ForeignProblem> {
        let beside = Beside::read(&mut self.archive, sidecar, options, within)?;
        self.reading = Reading::of(&self.archive, beside, options)?;
        let (prompt, prompts) = (options.row.unwrap_or(0), self.prompts());
        if prompt >= prompts {
            return Err(ForeignProblem::NoSuchPrompt { found: prompt, prompts });
        }
        (self.prompt, self.chosen) = (prompt, options.row.is_some() || prompts == 1);
        (0..prompts).try_for_each(|prompt| self.cut_padding(prompt))
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

    /// Returns the tap of each column, if the file names them, or if the number of columns determines them.
    pub fn taps(&self) -> Option<&[Tap]> {
        self.reading.taps.as_deref()
    }

    /// Returns whether only the shape of a tensor, the length of a list or a convention says that the columns are taps, and which. A batch or
    /// a list of as many prompts may have the same.
    pub fn are_taps_guessed(&self) -> bool {
        self.reading.guessed
    }

    /// Returns the orders of axes that fit as well as the one taken. A convention chose among them.
    pub fn other_axes(&self) -> &[Axes] {
        &self.reading.others
    }

    /// Returns the tokens of the prompt, if the file holds them.
    ///
    /// There may be more of them than rows: a server that has a prefix in its cache does not compute its states again. There
    /// may be fewer: those of the prompt, where rows of a generation follow it.
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

    pub(super) fn chosen_prompt(&self) -> &Prompt {
        &self.reading.prompts[self.prompt]
    }

    /// The name of the first tensor of a column.
    pub(super) fn tensor(&self, column: usize) -> &str {
        &self.archive.arrays[self.reading.columns[column].pieces[0].array].name
    }

    pub(super) fn encoding(&self, piece: Piece) -> Encoding {
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
