//! Standard output and standard error.
//!
//! Neither ends a run. A reader that has seen enough, as `head` has, is not a failure; another error of standard output is
//! reported at the end, after everything else is safe on disk.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use crate::outcome::Failure;

/// The first error of standard output other than a closed pipe.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes a line of results to standard output.
pub(crate) fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Takes note of the outcome of writing to standard output.
pub(crate) fn written(outcome: io::Result<()>) {
    if let Err(error) = outcome
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Writes a line to standard error: something for the user that is not a result.
pub(crate) fn note(text: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Reports whether everything said has been written.
///
/// # Errors
///
/// The first error of standard output. A closed pipe is not an error.
pub(crate) fn delivered() -> Result<(), Failure> {
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        None => Ok(()),
        Some(error) => Err(Failure::new(format!("cannot write to standard output: {error}"))),
    }
}
