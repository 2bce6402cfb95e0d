//! A journal: one line of JSON for each finished piece of work.

mod error;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::error::{JsonLinesError, Remedy};
use super::{Checksum, FileError, LockedFile, checksum_member};
use crate::difference::Difference;

/// The longest line that is read, in bytes. A result for each of a million positions is shorter.
const LONGEST: u64 = 256 << 20;

/// A file to which finished pieces of work are appended, and from which a killed run continues.
///
/// The first line is the header: everything that the results depend on. Each further line is durable before
/// [`append`](JsonLines::append) returns. A line that a kill left unfinished is dropped when the file is opened again. Every
/// line that is a JSON object ends with a checksum of the header and of its own text, the member `xxh3`: a line of another file does not
/// agree with it. Lines of older versions, which have none or one of their own text alone, are read too where they come first.
///
/// A file on a read-only medium opens as well; only appending to it fails.
///
/// # Example
///
/// ```
/// use inject_states::durable::JsonLines;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Finished { prompt: usize, loss: f64 }
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("journal.jsonl");
/// let mut journal = JsonLines::open(&path, &"losses of gpt2", &mut |_: Finished| Ok(()))?;
/// journal.append(&Finished { prompt: 0, loss: 0.1 })?;
/// drop(journal);
///
/// let mut found = Vec::new();
/// JsonLines::open(&path, &"losses of gpt2", &mut |line: Finished| Ok(found.push(line.loss)))?;
/// assert_eq!(found, [0.1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: LockedFile,
    /// The checksum of the header and its end, with which that of each line begins.
    begun: Box<Checksum>,
    /// The reason why the file is open for reading only.
    read_only: Option<io::ErrorKind>,
}

impl JsonLines {
    /// Opens a file, or begins it with `header`. Gives every whole line after the header to `take`, whose text of an
    /// error becomes part of a [`JsonLinesError::Refused`].
    ///
    /// # Errors
    ///
    /// [`JsonLinesError`] if the file cannot be opened, is locked, has another header or a damaged line. The file is then
    /// unchanged.
    pub fn open<T: DeserializeOwned>(
        path: &Path,
        header: &impl Serialize,
        take: &mut dyn FnMut(T) -> Result<(), String>,
    ) -> Result<Self, JsonLinesError> {
        let writable = File::options().create(true).truncate(false).read(true).write(true).open(path);
        let (file, read_only) = match writable {
            Ok(file) => (file, None),
            Err(error) if denied(error.kind()) && path.exists() => {
                (File::open(path).map_err(FileError::of("open", path))?, Some(error.kind()))
            }
            Err(error) => return Err(FileError::of("open", path)(error).into()),
        };
        if !file.metadata().map_err(FileError::of("open", path))?.is_file() {
            return Err(JsonLinesError::Foreign { path: path.to_owned() });
        }
        let Some(file) = LockedFile::lock(file).map_err(FileError::of("lock", path))? else {
            return Err(JsonLinesError::Busy { path: path.to_owned() });
        };
        let header = to_line(header);
        let (bytes, begun) =
            read_whole(path, &file, &header, take).map_err(JsonLinesError::of_this_command)?;
        let mut journal = JsonLines { path: path.to_owned(), file, begun: Box::new(begun), read_only };
        if read_only.is_none() {
            let cut = journal.file.set_len(bytes).and_then(|()| journal.file.seek(SeekFrom::End(0)));
            cut.map_err(FileError::of("shorten", path))?;
        }
        if bytes == 0 {
            let line = format!("{header}\n");
            journal.write(&line)?;
            journal.begun = Box::new(Checksum::of(line.as_bytes()));
        }
        Ok(journal)
    }

    /// Reads the header of a file. Returns `None` if the file has no whole line.
    ///
    /// # Errors
    ///
    /// [`JsonLinesError`] if the file cannot be read, or its first line is not of this type.
    pub fn header<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, JsonLinesError> {
        let mut bytes = Vec::new();
        let file = super::open_ordinary(path).map_err(FileError::of("open", path))?;
        BufReader::new(file.take(LONGEST))
            .read_until(b'\n', &mut bytes)
            .map_err(FileError::of("read", path))?;
        if bytes.last() != Some(&b'\n') {
            return Ok(None);
        }
        let header = serde_json::from_slice(&bytes);
        header.map(Some).map_err(|source| JsonLinesError::Syntax { path: path.to_owned(), line: 1, source })
    }

    /// Gives every whole line after the header to `take`, without locking or changing the file.
    ///
    /// # Errors
    ///
    /// As [`JsonLines::open`]. [`JsonLinesError::of_a_share`] says what to do about a damaged file of a share.
    pub fn read<T: DeserializeOwned>(
        path: &Path,
        header: &impl Serialize,
        take: &mut dyn FnMut(T) -> Result<(), String>,
    ) -> Result<(), JsonLinesError> {
        let file = super::open_ordinary(path).map_err(FileError::of("open", path))?;
        read_whole(path, &file, &to_line(header), take).map(drop)
    }

    /// Appends a line. When this returns, the line is durable.
    ///
    /// # Errors
    ///
    /// [`FileError`]. What was written of the line is dropped when the file is opened again.
    ///
    /// # Panics
    ///
    /// Panics if JSON cannot hold the value, for example a map whose keys are not text.
    pub fn append(&mut self, value: &impl Serialize) -> Result<(), FileError> {
        self.append_all(&[value])
    }

    /// Appends lines, which become durable together.
    ///
    /// # Errors
    ///
    /// As [`JsonLines::append`].
    ///
    /// # Panics
    ///
    /// As [`JsonLines::append`].
    pub fn append_all(&mut self, values: &[impl Serialize]) -> Result<(), FileError> {
        self.write(&lines(&self.begun, values))
    }

    /// Returns the contents of a file with a header and lines, as it would be written.
    ///
    /// # Panics
    ///
    /// As [`JsonLines::append`].
    pub fn text(header: &impl Serialize, values: &[impl Serialize]) -> Vec<u8> {
        let header = to_line(header) + "\n";
        let lines = lines(&Checksum::of(header.as_bytes()), values);
        (header + &lines).into_bytes()
    }

    /// Returns the path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, lines: &str) -> Result<(), FileError> {
        let written = match self.read_only {
            Some(reason) => Err(reason.into()),
            None => self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data()),
        };
        written.map_err(FileError::of("write", &self.path))
    }
}

fn denied(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn to_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("JSON can hold a line of a journal")
}

/// The lines after a header with this checksum.
fn lines(begun: &Checksum, values: &[impl Serialize]) -> String {
    values.iter().map(|value| checksum_member::added_after(begun, to_line(value)) + "\n").collect()
}

/// Reads all whole lines. Returns the number of their bytes, the header included, and the checksum of the header.
fn read_whole<T: DeserializeOwned>(
    path: &Path,
    file: &File,
    header: &str,
    take: &mut dyn FnMut(T) -> Result<(), String>,
) -> Result<(u64, Checksum), JsonLinesError> {
    let mut reader = BufReader::new(file);
    let (mut line, mut bytes, mut number) = (Vec::new(), 0, 0);
    let mut checksums = LineChecksums { begun: Checksum::new(), older: true };
    loop {
        line.clear();
        (&mut reader).take(LONGEST).read_until(b'\n', &mut line).map_err(FileError::of("read", path))?;
        number += 1;
        if line.len() as u64 == LONGEST {
            return Err(JsonLinesError::TooLong { path: path.to_owned(), line: number, most: LONGEST });
        }
        let Some(text) = line.strip_suffix(b"\n") else {
            // A file of another program is never shortened.
            let ours = number > 1 || header.as_bytes().starts_with(&line);
            return match ours {
                true => Ok((bytes, checksums.begun)),
                false => Err(JsonLinesError::Foreign { path: path.to_owned() }),
            };
        };
        if number == 1 {
            let alone = reader.fill_buf().map_err(FileError::of("read", path))?.is_empty();
            check_header(path, text, header, alone)?;
            checksums.begun = Checksum::of(&line);
        } else {
            if !checksums.agree(text) {
                return Err(JsonLinesError::Checksum {
                    path: path.to_owned(),
                    line: number,
                    remedy: Remedy::None,
                });
            }
            read_line(path, number, text, take)?;
        }
        bytes += line.len() as u64;
    }
}

/// The checksums of the lines of one file.
struct LineChecksums {
    /// The checksum of the header.
    begun: Checksum,
    /// Whether all lines so far may be those of an older version, whose checksums leave out the header.
    older: bool,
}

impl LineChecksums {
    /// Whether the next line agrees with its checksum. Lines without one are those of an older version.
    fn agree(&mut self, text: &[u8]) -> bool {
        if self.older && checksum_member::agrees(text) {
            return true;
        }
        self.older = false;
        // Only an object has room for one.
        let has_room = text.trim_ascii_start().starts_with(b"{");
        checksum_member::agrees_after(&self.begun, text).unwrap_or(!has_room)
    }
}

/// Checks that a first line is the expected header.
fn check_header(path: &Path, found: &[u8], expected: &str, alone: bool) -> Result<(), JsonLinesError> {
    let path = path.to_owned();
    let Ok(found) = serde_json::from_slice::<Value>(found) else {
        return Err(JsonLinesError::Foreign { path });
    };
    // Both as they are read back.
    let expected: Value = serde_json::from_str(expected).expect("a header that was just written");
    let Some(difference) = Difference::first(&found, &expected) else { return Ok(()) };
    let same_fields = match (&found, &expected) {
        (Value::Object(found), Value::Object(expected)) => {
            found.len() == expected.len() && found.keys().all(|key| expected.contains_key(key))
        }
        _ => false,
    };
    let Difference { field, found, expected } = difference;
    Err(JsonLinesError::Header { path, field, found, expected, unused: alone && same_fields })
}

fn read_line<T: DeserializeOwned>(
    path: &Path,
    line: usize,
    text: &[u8],
    take: &mut dyn FnMut(T) -> Result<(), String>,
) -> Result<(), JsonLinesError> {
    let path = || path.to_owned();
    let value = serde_json::from_slice(text).map_err(|source| JsonLinesError::Syntax {
        path: path(),
        line,
        source,
    })?;
    take(value).map_err(|reason| JsonLinesError::Refused { path: path(), line, reason })
}
