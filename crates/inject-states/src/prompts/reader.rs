//! Prompts from files, one at a time.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::{
    PromptError, PromptProblem,
    field::Field,
    input::{ending, without_format},
    lines::Lines,
    table::Table,
    values::Values,
};

/// The endings [`Prompts::open`] knows.
const ENDINGS: &str =
    "`.txt`, `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, `.parquet`, and `.gz` after all but the last";

/// The prompts of a file, read one by one.
///
/// Holds one line, or one page of a column, at a time. Ends after the first error.
#[derive(Debug)]
pub struct Prompts {
    path: PathBuf,
    most: usize,
    /// The empty texts so far.
    left_out: usize,
    /// `None` after the end or an error.
    texts: Option<Texts>,
}

/// The texts of a file, the empty ones among them.
#[derive(Debug)]
enum Texts {
    Lines(Lines),
    JsonLines(Lines, Field),
    Values(Values),
    Table(Table),
    #[cfg(feature = "parquet")]
    Parquet(Box<super::parquet::TextColumn>),
}

/// Reads all prompts of a file, at most [`MAX_FILE_BYTES`] of text.
///
/// # Errors
///
/// As [`Prompts::open`] and each item of [`Prompts`], and [`PromptProblem::TooMuchText`].
pub fn read_prompts(path: impl AsRef<Path>) -> Result<Vec<String>, PromptError> {
    Prompts::open(path)?.read_all()
}

/// The largest text that [`read_prompts`] reads, in bytes, with the memory that it takes to keep each prompt. A small file can
/// stand for much text, in a format that compresses.
pub const MAX_FILE_BYTES: usize = 1 << 30;

/// The memory that it takes to keep a prompt of one byte, or of one id: its place in the list, and the smallest piece of memory.
pub(super) const KEPT: usize = 64;

/// The empty texts, or blank lines, that are skipped one after another. A small Parquet file can stand for billions.
pub(super) const MOST_EMPTY: usize = 1 << 22;

impl Prompts {
    /// The default limit of one prompt, in bytes: several times the longest context of today's models.
    pub const DEFAULT_MAX_BYTES: usize = 4 << 20;

    /// Opens a file of texts, or of the fields `text` of a table or of JSON objects.
    ///
    /// # Errors
    ///
    /// [`PromptError`] if the name has another ending, or the file cannot be opened or has no texts. An
    /// item is an error if a text is missing, malformed or too long.
    pub fn open(path: impl AsRef<Path>) -> Result<Prompts, PromptError> {
        Prompts::open_with(path.as_ref(), Field::default())
    }

    /// Opens a file of which another field or column than `text` has the prompts. A dotted name leads deeper.
    ///
    /// # Errors
    ///
    /// As [`Prompts::open`].
    ///
    /// # Example
    ///
    /// ```
    /// use inject_states::prompts::Prompts;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("chats.jsonl");
    /// std::fs::write(&path, r#"{"messages": [{"role": "user", "content": "Hello."}]}"#)?;
    ///
    /// let mut prompts = Prompts::open_field(&path, "messages.0.content")?;
    /// assert_eq!(prompts.next().transpose()?.as_deref(), Some("Hello."));
    /// let error = Prompts::open(&path)?.next().unwrap().unwrap_err();
    /// assert!(error.to_string().contains("no text `text`; it has messages"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_field(path: impl AsRef<Path>, field: &str) -> Result<Prompts, PromptError> {
        Prompts::open_with(path.as_ref(), Field::new(field))
    }

    fn open_with(path: &Path, field: Field) -> Result<Prompts, PromptError> {
        match Texts::open(path, field) {
            Ok(texts) => Ok(Prompts {
                path: path.to_owned(),
                most: Self::DEFAULT_MAX_BYTES,
                left_out: 0,
                texts: Some(texts),
            }),
            Err(problem) => Err(PromptError { path: path.to_owned(), problem }),
        }
    }

    /// Reads all prompts, at most [`MAX_FILE_BYTES`] of text.
    ///
    /// # Errors
    ///
    /// Those of each item, and [`PromptProblem::TooMuchText`].
    pub fn read_all(self) -> Result<Vec<String>, PromptError> {
        let path = self.path.clone();
        let mut bytes = 0;
        let mut prompts = Vec::new();
        for prompt in self {
            let prompt = prompt?;
            bytes += prompt.len() + KEPT;
            if bytes > MAX_FILE_BYTES {
                let problem = PromptProblem::TooMuchText { prompts: prompts.len(), most: MAX_FILE_BYTES };
                return Err(PromptError { path, problem });
            }
            prompts.push(prompt);
        }
        Ok(prompts)
    }

    /// Returns the number of empty texts that were skipped so far. A blank line is one only in `.txt`, where every line is a text.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Returns the same prompts with another limit on the bytes of each.
    ///
    /// A longer prompt is an error and is not held in memory. A text that has more bytes than the tokens of a context can have need
    /// not be tokenised.
    pub fn with_max_bytes(self, most: usize) -> Self {
        Prompts { most, ..self }
    }
}

impl Iterator for Prompts {
    type Item = Result<String, PromptError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut empty = 0;
        let problem = loop {
            match self.texts.as_mut()?.next_text(self.most) {
                Ok(Some(text)) if !text.is_empty() => return Some(Ok(text)),
                Ok(Some(_)) if empty == MOST_EMPTY => break PromptProblem::TooManyEmpty { most: MOST_EMPTY },
                Ok(Some(_)) => {
                    empty += 1;
                    self.left_out += 1;
                }
                Ok(None) => self.texts = None,
                Err(problem) => break problem,
            }
        };
        self.texts = None;
        Some(Err(PromptError { path: self.path.clone(), problem }))
    }
}

impl std::iter::FusedIterator for Prompts {}

impl Texts {
    fn open(path: &Path, field: Field) -> Result<Texts, PromptProblem> {
        let (ending, packed) = ending(path);
        match ending.as_str() {
            "txt" => Ok(Texts::Lines(Lines::open(path)?)),
            "jsonl" | "ndjson" => Ok(Texts::JsonLines(Lines::open(path)?, field)),
            "json" => Ok(Texts::Values(Values::open(path, &field)?)),
            "csv" => Ok(Texts::Table(Table::open(path, b',', &field)?)),
            "tsv" => Ok(Texts::Table(Table::open(path, b'\t', &field)?)),
            #[cfg(feature = "parquet")]
            "parquet" if !packed => {
                Ok(Texts::Parquet(Box::new(super::parquet::TextColumn::open(path, field.name())?)))
            }
            #[cfg(not(feature = "parquet"))]
            "parquet" if !packed => Err(PromptProblem::NoParquet),
            _ => {
                let found = if packed { format!("{ending}.gz") } else { ending };
                Err(without_format(path, found, ENDINGS))
            }
        }
    }

    /// Returns the next text, of at most `most` bytes.
    fn next_text(&mut self, most: usize) -> Result<Option<String>, PromptProblem> {
        match self {
            Texts::Lines(lines) => lines.next_line(most),
            Texts::JsonLines(lines, field) => lines.next_json(most, field),
            Texts::Values(values) => values.next_text(most),
            Texts::Table(table) => table.next_text(most),
            #[cfg(feature = "parquet")]
            Texts::Parquet(column) => column.next_text(most),
        }
    }
}
