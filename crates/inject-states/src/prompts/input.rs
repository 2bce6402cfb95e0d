//! The bytes of a file of prompts, unpacked if it is compressed.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use super::{PromptError, PromptProblem};

/// The bytes of a file. Of a `.gz` file they are those that it unpacks to, as they are asked for.
pub(super) struct Input(Box<dyn Read + Send>);

impl Input {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Input(if is_packed(path) { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) }))
    }
}

/// Returns the problem with a file whose ending says no format: an ordinary file needs another name, and anything else is not a file.
pub(super) fn without_format(path: &Path, found: String, known: &'static str) -> PromptProblem {
    match std::fs::metadata(path) {
        Ok(about) if about.is_file() => PromptProblem::UnknownEnding { found, known },
        Ok(about) if about.is_dir() => io::Error::from(io::ErrorKind::IsADirectory).into(),
        Ok(_) => PromptProblem::PipeWithoutEnding { known },
        // The usual name of standard input, unless a file has it.
        Err(_) if path == Path::new("-") => PromptProblem::PipeWithoutEnding { known },
        Err(error) => error.into(),
    }
}

/// Checks that the prompts of a file can be read more than once: a pipe would keep the second reader waiting for ever.
///
/// # Errors
///
/// [`PromptProblem::ReadOnce`] for anything other than an ordinary file, and [`PromptProblem::Io`] if there is no file.
pub fn check_rereadable(path: impl AsRef<Path>) -> Result<(), PromptError> {
    let path = path.as_ref();
    let problem = match std::fs::metadata(path) {
        Ok(about) if about.is_file() => return Ok(()),
        Ok(_) => PromptProblem::ReadOnce,
        Err(error) => error.into(),
    };
    Err(PromptError { path: path.to_owned(), problem })
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}

/// The ending of a file's name in small letters, and whether it is compressed. The ending is that before `.gz`.
pub(super) fn ending(path: &Path) -> (String, bool) {
    let packed = is_packed(path);
    let name = if packed { Path::new(path.file_stem().unwrap_or_default()) } else { path };
    (name.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase(), packed)
}
