//! Errors of journals.

use std::{fmt, path::PathBuf};

use super::FileError;

/// The reason why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonLinesError {
    /// The operating system refuses to open, read or write the file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process has the file open.
    #[error("`{path}` is being written by another process")]
    Busy {
        /// The file of JSON lines.
        path: PathBuf,
    },
    /// The first line is not a header.
    #[error("`{path}` was not written by this program: choose another file")]
    Foreign {
        /// The file of JSON lines.
        path: PathBuf,
    },
    /// The file was begun with another header.
    #[error(
        "`{path}` was begun with {}, now {expected}: choose another file, or the first options",
        told(field, found)
    )]
    Header {
        /// The file of JSON lines.
        path: PathBuf,
        /// The path of the first field that differs, or nothing if the headers are not objects.
        field: String,
        /// Its value in the file, as JSON.
        found: String,
        /// Its value now, as JSON.
        expected: String,
        /// Whether the file has a header of the same fields and nothing else, as a run with a wrong option leaves it. It may then be
        /// removed without a loss.
        unused: bool,
    },
    /// A line that is not the JSON of a result.
    #[error("`{path}`, line {line} cannot be read")]
    Syntax {
        /// The file of JSON lines.
        path: PathBuf,
        /// Number of the unreadable line, from 1.
        line: usize,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// A line that is longer than any that this program writes.
    #[error("`{path}`, line {line} has more than {most} bytes")]
    TooLong {
        /// The file of JSON lines.
        path: PathBuf,
        /// Number of the long line, from 1.
        line: usize,
        /// The largest number of bytes.
        most: u64,
    },
    /// A line that changed after it was written.
    #[error("`{path}`, line {line} does not agree with its checksum{remedy}")]
    Checksum {
        /// The file of JSON lines.
        path: PathBuf,
        /// Number of the changed line, from 1.
        line: usize,
        /// The way to the same file without the damage.
        remedy: Remedy,
    },
    /// A line that contradicts the work.
    #[error("`{path}`, line {line}: {reason}")]
    Refused {
        /// The file of JSON lines.
        path: PathBuf,
        /// Number of the line that is not as expected, from 1.
        line: usize,
        /// The way in which the line contradicts the file's purpose.
        reason: String,
    },
}

/// The way to the same file without a damaged line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// The file belongs to the command that found the damage. That command computes the missing lines again.
    SameCommand,
    /// The file belongs to a share. The command of that share computes the missing lines again.
    CommandOfShare,
    /// The lines cannot be computed by themselves.
    None,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::SameCommand => f.write_str(": remove the file from this line on, and the same command computes the rest again"),
            Remedy::CommandOfShare => f.write_str(
                ": remove the file from this line on, and the command of the share that wrote it computes the rest again",
            ),
            Remedy::None => Ok(()),
        }
    }
}

impl JsonLinesError {
    /// Returns the error of a file that another command wrote for its share.
    pub fn of_a_share(self) -> Self {
        match self {
            JsonLinesError::Checksum { path, line, .. } => {
                JsonLinesError::Checksum { path, line, remedy: Remedy::CommandOfShare }
            }
            other => other,
        }
    }

    /// Returns the error of a file to which the command that reads it appends.
    pub(super) fn of_this_command(self) -> Self {
        match self {
            JsonLinesError::Checksum { path, line, .. } => {
                JsonLinesError::Checksum { path, line, remedy: Remedy::SameCommand }
            }
            other => other,
        }
    }
}

/// Joins a field with its value.
fn told(field: &str, value: &str) -> String {
    if field.is_empty() { value.to_owned() } else { format!("{field} = {value}") }
}
