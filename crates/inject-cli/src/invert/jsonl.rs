//! The file of results: its first line describes the job, and each further line holds one prompt, in the order of the store.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use inject_sipit::states::durable::LockedFile;
use serde_json::Value;

use crate::{Failure, options::out::check_file};

/// The first line.
#[derive(serde::Serialize, serde::Deserialize)]
struct Header {
    job: Value,
}

/// A file of results, open to go on with.
pub(super) struct Output {
    path: PathBuf,
    file: LockedFile,
}

impl Output {
    /// Begins a file, or goes on with one that was begun with the same job. Each line that is there already is given to `take`.
    /// A half-written line at the end, as a killed run leaves it, is cut off. A file of another job without any prompt, as a run
    /// with a wrong option leaves it, is begun again.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the file belongs to another job or to none, if another process is writing it, or if `take` refuses a line.
    /// The file is then as it was.
    pub(super) fn open(
        path: &Path,
        job: &impl serde::Serialize,
        take: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let header = Header { job: serde_json::to_value(job)? };
        check_file(path)?;
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file =
            LockedFile::lock(file.map_err(Failure::io("open", path))?).map_err(Failure::io("lock", path))?;
        let Some(file) = file else { return Err(wrong(path, &"another process is writing this file")) };
        let mut output = Output { path: path.to_owned(), file };
        let whole = output.read(&header, take)?;
        let cut = output.file.set_len(whole).and_then(|()| output.file.seek(SeekFrom::End(0)));
        cut.map_err(Failure::io("shorten", path))?;
        if whole == 0 {
            output.append(&(serde_json::to_string(&header)? + "\n"))?;
        }
        Ok(output)
    }

    /// Writes whole lines after the others. When it returns they are durable.
    ///
    /// # Errors
    ///
    /// [`Failure`] if they cannot be written.
    pub(super) fn append(&mut self, lines: &str) -> Result<(), Failure> {
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(Failure::io("write", &self.path))
    }

    /// Reads the lines that are there. Returns how many bytes of whole lines there are.
    fn read(
        &self,
        header: &Header,
        take: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let mut reader = BufReader::new(&*self.file);
        let (mut bytes, mut whole, mut number) = (Vec::new(), 0, 0);
        loop {
            bytes.clear();
            reader.read_until(b'\n', &mut bytes).map_err(Failure::io("read", &self.path))?;
            number += 1;
            let Some(line) = bytes.strip_suffix(b"\n") else {
                // Nothing is ever cut off somebody else's file.
                let ours = number > 1 || serde_json::to_vec(header)?.starts_with(&bytes);
                return if ours { Ok(whole) } else { Err(self.alien()) };
            };
            if number == 1 {
                let alone = reader.fill_buf().map_err(Failure::io("read", &self.path))?.is_empty();
                if !self.is_of_job(line, header, alone)? {
                    return Ok(0);
                }
            } else {
                let at =
                    |error: &dyn std::fmt::Display| wrong(&self.path, &format!("line {number}: {error}"));
                let text = std::str::from_utf8(line).map_err(|error| at(&error))?;
                take(text).map_err(|error| at(&error))?;
            }
            whole += bytes.len() as u64;
        }
    }

    /// Whether a first line describes this job. That of another job is refused, naming what differs, unless it is `alone` in its file.
    fn is_of_job(&self, line: &[u8], header: &Header, alone: bool) -> Result<bool, Failure> {
        let Ok(found) = serde_json::from_slice::<Header>(line) else { return Err(self.alien()) };
        let (Value::Object(found), Value::Object(expected)) = (&found.job, &header.job) else {
            return Err(self.alien());
        };
        let differs = expected.keys().chain(found.keys()).find(|&key| found.get(key) != expected.get(key));
        let Some(key) = differs else { return Ok(true) };
        if alone && found.keys().eq(expected.keys()) {
            return Ok(false);
        }
        let [found, expected] =
            [found, expected].map(|job| job.get(key).map_or_else(|| "nothing".to_owned(), Value::to_string));
        Err(wrong(
            &self.path,
            &format!("begun with {key} = {found}, now {expected}; choose another file or the first options"),
        ))
    }

    fn alien(&self) -> Failure {
        wrong(&self.path, &"not a file of recovered prompts: choose another one")
    }
}

fn wrong(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}
