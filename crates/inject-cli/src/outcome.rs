//! How a program ends.

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// Why a program could not do its work, in words for its user.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// A failure that the program itself found.
    pub fn new(message: impl Into<String>) -> Self {
        Failure(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(error.to_string())
    }
}

/// Writes to standard output. A reader that has seen enough, as `head` has, is no failure.
///
/// # Errors
///
/// When the output cannot be written for another reason.
pub fn say(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Tells the user something that is no result: on standard error, where it does not mix with what others read.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// Ends a program: a failure becomes a plain line on standard error and a non-zero exit code.
pub fn finish(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
