//! Errors of files of prompts.

use std::{error::Error, fmt, io, path::PathBuf};

use super::TooManyIds;

/// A file that cannot be read as prompts.
#[derive(Debug)]
#[non_exhaustive]
pub struct PromptError {
    /// Path of the file of prompts.
    pub path: PathBuf,
    /// The problem with its content.
    pub problem: PromptProblem,
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl Error for PromptError {
    /// Returns the source of the problem. The problem itself is part of this error's text.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

/// The problem with a file of prompts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptProblem {
    /// The file cannot be opened or read.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// A folder, a device or a pipe, which cannot be read twice.
    #[error(
        "expected an ordinary file, because the prompts are read more than once, found a folder, a device or a pipe: write the \
         prompts to a file first"
    )]
    ReadOnce,
    /// The ending of the file's name is not that of a known format.
    #[error("{}: expected one of {known}", ending(found))]
    UnknownEnding {
        /// The ending, without the dot. Empty if there is none.
        found: String,
        /// The endings of the known formats.
        known: &'static str,
    },
    /// A pipe or a device without a known ending, such as standard input.
    #[error(
        "a pipe or a device, which has no ending that says its format: write the prompts to a file whose name has one of {known}"
    )]
    PipeWithoutEnding {
        /// The endings of the known formats.
        known: &'static str,
    },
    /// A Parquet file, which this build cannot read.
    #[error("built without the feature `parquet` of inject-states, which reads .parquet files")]
    NoParquet,
    /// A line that is not UTF-8.
    #[error("line {line} is not UTF-8")]
    LineNotUtf8 {
        /// Number of the line, from 1.
        line: usize,
    },
    /// An object or table without the field.
    #[error("{place} has no text `{field}`; it has {}: choose one by `field`", found.join(", "))]
    NoField {
        /// The line, value or row.
        place: String,
        /// The name of the field.
        field: String,
        /// The names that the object or table has.
        found: Vec<String>,
    },
    /// A table with several columns of the name of the field.
    #[error("the first row names `{field}` twice: the column of the texts needs a name of its own")]
    TwoColumns {
        /// The name of the columns.
        field: String,
    },
    /// A file that is read at once and has more bytes than the limit.
    #[error("the file has more than {most} bytes: write one object a line, in .jsonl")]
    FileTooLong {
        /// The largest accepted size, in bytes.
        most: u64,
    },
    /// A text with more bytes than the limit.
    #[error("the text of value {value} has more than {most} bytes")]
    ValueTooLong {
        /// Number of the value within the file, from 1.
        value: usize,
        /// The largest accepted size, in bytes.
        most: usize,
    },
    /// A table that is not CSV.
    #[error("not a table")]
    Csv(#[from] csv::Error),
    /// A line that is not a JSON object.
    #[error("line {line} is not a JSON object: expected one a line, with the field of its text")]
    NotAnObject {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A line that is not JSON, or has no field `text` that is a string.
    #[error("line {line}, column {column}: {reason}")]
    Json {
        /// Number of the line with the fault, from 1.
        line: usize,
        /// Column of the fault in that line, from 1.
        column: usize,
        /// The parser's message, without the line and column that it counts itself.
        reason: String,
    },
    /// A line or value that is not a prompt of token ids.
    #[error(
        "{place} is `{found}`, expected token ids: 1,2,3 or [1, 2, 3], or an object with them in `ids`, `token_ids`, `input_ids` or `prompt_token_ids`"
    )]
    NotIds {
        /// The line or value in words, such as `line 3`.
        place: String,
        /// The first characters of it.
        found: String,
    },
    /// A text with more bytes than the limit.
    #[error("line {line} has more than {most} bytes")]
    LineTooLong {
        /// Number of the line, from 1.
        line: usize,
        /// The largest accepted size, in bytes.
        most: usize,
    },
    /// A line of token ids with more bytes than the longest prompt takes.
    #[error("line {line} has more than {most} bytes of token ids")]
    IdsTooLong {
        /// Number of the line, from 1.
        line: usize,
        /// The largest accepted size, in bytes.
        most: usize,
    },
    /// A text with more bytes than the limit.
    #[error("the text of row {row} has more than {most} bytes")]
    RowTooLong {
        /// Number of the row within the file, from 0.
        row: usize,
        /// The largest accepted size, in bytes.
        most: usize,
    },
    /// A row of a table with more bytes than the limit.
    #[error("{place} has more than {most} bytes")]
    RecordTooLong {
        /// The row, from 0, or that of the names.
        place: String,
        /// The largest accepted size, in bytes.
        most: usize,
    },
    /// More text than is read at once.
    #[error("more than {most} bytes of text after {prompts} prompts")]
    TooMuchText {
        /// The number of prompts within the limit.
        prompts: usize,
        /// The largest accepted size, in bytes.
        most: usize,
    },
    /// More token ids than are kept at once.
    #[error(transparent)]
    TooManyIds(#[from] TooManyIds),
    /// More empty texts or blank lines one after another than are skipped.
    #[error("more than {most} empty texts one after another")]
    TooManyEmpty {
        /// The number that is skipped without an error.
        most: usize,
    },
    /// A table without the column of texts.
    #[error("no column `{name}`; the table has {found:?}: choose one by `field`")]
    NoTextColumn {
        /// The name of the column.
        name: String,
        /// The columns of the table.
        found: Vec<String>,
    },
    /// A column that does not hold strings.
    #[error("the column is {found}: expected one string per row")]
    NotAStringColumn {
        /// The column's type as Parquet names it.
        found: String,
    },
    /// A row whose text is missing.
    #[error("row {row} has no text")]
    NullText {
        /// Number of the row within the file, from 0.
        row: usize,
    },
    /// A row whose text is not UTF-8.
    #[error("the text of row {row} is not UTF-8")]
    RowNotUtf8 {
        /// Number of the row within the file, from 0.
        row: usize,
    },
    /// A Parquet file that the parquet crate refuses.
    #[cfg(feature = "parquet")]
    #[error("not a valid Parquet file")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A Parquet file so damaged that its reader panicked.
    #[cfg(feature = "parquet")]
    #[error("damaged: the Parquet reader panicked with `{message}`")]
    ParquetPanic {
        /// The message of the panic.
        message: String,
    },
}

/// An ending in words.
fn ending(found: &str) -> String {
    if found.is_empty() { "no ending".to_owned() } else { format!("unknown ending `{found}`") }
}

impl PromptProblem {
    /// Returns whether a text is longer than the limit, which [`Prompts::with_max_bytes`](super::Prompts::with_max_bytes) sets.
    pub fn is_limit_of_texts(&self) -> bool {
        matches!(
            self,
            PromptProblem::LineTooLong { .. }
                | PromptProblem::ValueTooLong { .. }
                | PromptProblem::RowTooLong { .. }
                | PromptProblem::RecordTooLong { .. }
        )
    }

    /// Returns the problem of a line, from 1, that the parser saw as the first.
    pub(super) fn json(line: usize, error: &serde_json::Error) -> Self {
        let message = error.to_string();
        let reason = message.rsplit_once(" at line ").map_or(&*message, |(reason, _)| reason).to_owned();
        PromptProblem::Json { line, column: error.column(), reason }
    }
}
