//! Prompts as token ids.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    IdList, PromptError, PromptProblem, bounded, input::ending, lines::Lines, reader::MAX_FILE_BYTES, values,
};

/// The longest line, in bytes: that of a prompt of a million ids.
const LONGEST_LINE: usize = 16 << 20;

/// The fields of an object that can hold ids. The first one present counts.
const FIELDS: [&str; 4] = ["ids", "token_ids", "input_ids", "prompt_token_ids"];

/// Reads all prompts of a file as [`IdPrompts`] does, if their ids take at most [`MAX_FILE_BYTES`].
///
/// # Errors
///
/// As [`IdPrompts::open`] and each item of [`IdPrompts`], and [`PromptProblem::TooManyIds`].
///
/// # Example
///
/// ```
/// use inject_states::prompts::read_ids;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("ids.jsonl");
/// std::fs::write(&path, "1,2,3\n[4, 5]\n{\"ids\": [6]}\n")?;
/// assert_eq!(read_ids(&path)?, [vec![1, 2, 3], vec![4, 5], vec![6]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_ids(path: impl AsRef<Path>) -> Result<Vec<Vec<u32>>, PromptError> {
    read_ids_within(path.as_ref(), MAX_FILE_BYTES)
}

fn read_ids_within(path: &Path, most: usize) -> Result<Vec<Vec<u32>>, PromptError> {
    IdPrompts::open_within(path, most)?.read_within(most)
}

/// The prompts of a file as token ids, read one by one.
///
/// A line is `1,2,3`, `[1, 2, 3]` or an object such as `{"ids": [1, 2, 3]}`, whose field may also be `token_ids`, `input_ids` or
/// `prompt_token_ids`. A file with the ending `.json` holds such values, or arrays of them, and is read at once. Empty lines and empty
/// prompts are skipped. The file may be compressed (`.gz`). Ends after the first error.
#[derive(Debug)]
pub struct IdPrompts {
    path: PathBuf,
    /// The lines that are left. `None` after the end or an error, and for a file that is read at once.
    lines: Option<Lines>,
    /// The prompts that were read, and not returned.
    read: VecDeque<Vec<u32>>,
    /// The empty lines and prompts so far.
    left_out: usize,
}

impl IdPrompts {
    /// Opens a file of prompts as token ids.
    ///
    /// # Errors
    ///
    /// [`PromptError`] if the file cannot be opened, or if it is read at once and holds something else or more than
    /// [`MAX_FILE_BYTES`]. An item is an error if a line is not a prompt.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PromptError> {
        IdPrompts::open_within(path.as_ref(), MAX_FILE_BYTES)
    }

    /// As [`IdPrompts::open`], with another limit on the bytes of a file that is read at once.
    fn open_within(path: &Path, most: usize) -> Result<Self, PromptError> {
        let mut prompts =
            IdPrompts { path: path.to_owned(), lines: None, read: VecDeque::new(), left_out: 0 };
        let opened = match ending(path).0.as_str() {
            "json" => prompts.read_values(most),
            _ => Lines::open(path).map(|lines| prompts.lines = Some(lines)),
        };
        match opened {
            Ok(()) => Ok(prompts),
            Err(problem) => Err(PromptError { path: path.to_owned(), problem }),
        }
    }

    /// Reads the prompts that are left, if their ids take at most [`MAX_FILE_BYTES`].
    ///
    /// # Errors
    ///
    /// Those of each item, and [`PromptProblem::TooManyIds`].
    pub fn read_all(&mut self) -> Result<Vec<Vec<u32>>, PromptError> {
        self.read_within(MAX_FILE_BYTES)
    }

    fn read_within(&mut self, most: usize) -> Result<Vec<Vec<u32>>, PromptError> {
        let mut list = IdList::new(most);
        while let Some(ids) = self.next() {
            list.push(ids?)
                .map_err(|problem| PromptError { path: self.path.clone(), problem: problem.into() })?;
        }
        Ok(list.into_ids())
    }

    /// Returns the number of empty lines and empty prompts that were skipped so far.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Reads the next line. Returns whether there was one.
    fn read_line(&mut self) -> Result<bool, PromptProblem> {
        let IdPrompts { lines: Some(lines), read, left_out, .. } = self else { return Ok(false) };
        let line = lines.next_line(LONGEST_LINE).map_err(|problem| match problem {
            PromptProblem::LineTooLong { line, most } => PromptProblem::IdsTooLong { line, most },
            other => other,
        })?;
        let Some(line) = line else { return Ok(false) };
        let text = line.trim_ascii();
        let place = || format!("line {}", lines.number());
        let mut take = |ids: Vec<u32>| {
            match ids.is_empty() {
                true => *left_out += 1,
                false => read.push_back(ids),
            }
            Ok(())
        };
        if text.starts_with(['[', '{']) {
            let value = bounded::value(text).map_err(|error| PromptProblem::json(lines.number(), &error))?;
            each_of_value(&value, &place, &mut take)?;
        } else if text.is_empty() {
            take(Vec::new())?;
        } else {
            let ids = text.split(',').map(|id| id.trim_ascii().parse().ok()).collect();
            each_of_ids(ids, text, &place, &mut take)?;
        }
        Ok(true)
    }

    /// Reads a file of values at once.
    fn read_values(&mut self, most: usize) -> Result<(), PromptProblem> {
        let (mut count, mut list) = (0, IdList::new(most));
        let take = &mut |ids: Vec<u32>| match ids.is_empty() {
            true => {
                self.left_out += 1;
                Ok(())
            }
            false => list.push(ids).map_err(PromptProblem::from),
        };
        values::each(&self.path, &mut |value| {
            count += 1;
            each_of_value(&value, &|| format!("value {count}"), take)
        })?;
        self.read = list.into_ids().into();
        Ok(())
    }
}

impl Iterator for IdPrompts {
    type Item = Result<Vec<u32>, PromptError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ids) = self.read.pop_front() {
                return Some(Ok(ids));
            }
            self.lines.as_ref()?;
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => self.lines = None,
                Err(problem) => {
                    self.lines = None;
                    self.read.clear();
                    return Some(Err(PromptError { path: self.path.clone(), problem }));
                }
            }
        }
    }
}

impl std::iter::FusedIterator for IdPrompts {}

/// Gives `take` the ids of an array or of an object, or those of each array in an array.
fn each_of_value(
    value: &Value,
    place: &dyn Fn() -> String,
    take: &mut dyn FnMut(Vec<u32>) -> Result<(), PromptProblem>,
) -> Result<(), PromptProblem> {
    let found = match value {
        Value::Object(object) => FIELDS.iter().find_map(|&field| object.get(field)),
        other => Some(other),
    };
    match found {
        Some(Value::Array(items)) if items.iter().any(Value::is_array) => {
            items.iter().try_for_each(|item| each_of_value(item, place, take))
        }
        Some(Value::Array(items)) => {
            let id = |item: &Value| u32::try_from(item.as_u64()?).ok();
            each_of_ids(items.iter().map(id).collect(), &value.to_string(), place, take)
        }
        _ => each_of_ids(None, &value.to_string(), place, take),
    }
}

/// Gives `take` these ids, if they are ids.
fn each_of_ids(
    ids: Option<Vec<u32>>,
    found: &str,
    place: &dyn Fn() -> String,
    take: &mut dyn FnMut(Vec<u32>) -> Result<(), PromptProblem>,
) -> Result<(), PromptProblem> {
    const SHOWN: usize = 40;
    match ids {
        Some(ids) => take(ids),
        None => {
            let cut: String = found.chars().take(SHOWN).collect();
            let found = if cut.len() < found.len() { format!("{cut}...") } else { cut };
            Err(PromptProblem::NotIds { place: place(), found })
        }
    }
}
