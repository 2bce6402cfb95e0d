//! Everything that can be wrong with a file of prompts.

use std::{error::Error, fmt, io, path::PathBuf};

/// A file that cannot be read as prompts, and why.
#[derive(Debug)]
#[non_exhaustive]
pub struct PromptError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: PromptProblem,
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl Error for PromptError {
    /// The source of the problem: the problem itself is already part of this error's text.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

/// What is wrong with a file of prompts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptProblem {
    /// The operating system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The ending of the file's name is not that of a known format.
    #[error("unknown ending `{found}`: expected one of {known}")]
    UnknownEnding {
        /// The ending, without the dot.
        found: String,
        /// The endings there are.
        known: &'static str,
    },
    /// A Parquet file, and this build cannot read it.
    #[error("built without the feature `parquet` of inject-states, which reads .parquet files")]
    NoParquet,
    /// A line that is not text.
    #[error("line {line} is not UTF-8")]
    LineNotUtf8 {
        /// The line, from 1.
        line: usize,
    },
    /// A line that is JSON of another kind, or none.
    #[error("line {line} is not a JSON object")]
    NotAnObject {
        /// The line, from 1.
        line: usize,
    },
    /// A line that is not JSON, or has no field `text` that is a string.
    #[error("line {line}, column {}: {}", source.column(), without_place(source))]
    Json {
        /// The line, from 1.
        line: usize,
        /// What the parser says; it counts this line as its first.
        source: serde_json::Error,
    },
    /// A table without a column `text`.
    #[error("no column `text`; the table has {found:?}")]
    NoTextColumn {
        /// The columns there are.
        found: Vec<String>,
    },
    /// A column `text` that holds something else.
    #[error("the column `text` is {found}: expected one string per row")]
    NotAStringColumn {
        /// The column's type in Parquet's own words.
        found: String,
    },
    /// A row whose text is missing.
    #[error("row {row} has no text")]
    NullText {
        /// The row, from 0.
        row: usize,
    },
    /// A row whose text is not text.
    #[error("the text of row {row} is not UTF-8")]
    RowNotUtf8 {
        /// The row, from 0.
        row: usize,
    },
    /// A Parquet file that its own reader refuses.
    #[cfg(feature = "parquet")]
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A Parquet file so damaged that its reader panicked.
    #[cfg(feature = "parquet")]
    #[error("damaged: the Parquet reader panicked with `{message}`")]
    ParquetPanic {
        /// What the panic said.
        message: String,
    },
}

/// The parser's message without the place at its end, where the line is always 1.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned()
}
