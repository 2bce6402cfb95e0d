//! The lines of a file, and the texts in them.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde_json::Value;

use super::{
    PromptProblem, bounded,
    field::{Field, Missing},
    input::Input,
    reader::MOST_EMPTY,
};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The bytes of a line that may stand around its text: a byte order mark and a line break.
const AROUND: usize = BYTE_ORDER_MARK.len() + 2;

/// The longest line of a `.jsonl` file whose texts may have one byte: an escaped byte takes up to six, and other fields take more.
const JSON_AROUND: usize = 1 << 20;

/// The lines of a file without their line breaks.
#[derive(Debug)]
pub(super) struct Lines {
    reader: BufReader<Input>,
    /// The number of the line read last, from 1.
    line: usize,
}

#[derive(serde::Deserialize)]
struct JsonLine {
    text: String,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Lines, PromptProblem> {
        Ok(Lines { reader: BufReader::new(Input::open(path)?), line: 0 })
    }

    /// Returns the number of the line read last, from 1.
    pub(super) fn number(&self) -> usize {
        self.line
    }

    /// Returns the next line, of at most `most` bytes.
    pub(super) fn next_line(&mut self, most: usize) -> Result<Option<String>, PromptProblem> {
        match self.next_bytes(most.saturating_add(AROUND)) {
            Ok(Some(text)) if text.len() > most => Err(PromptProblem::LineTooLong { line: self.line, most }),
            // The limit of the text, and not that with what stands around it.
            Err(PromptProblem::LineTooLong { line, .. }) => Err(PromptProblem::LineTooLong { line, most }),
            other => other,
        }
    }

    /// Returns a field of the object on the next line that is not blank, of at most `most` bytes.
    pub(super) fn next_json(&mut self, most: usize, field: &Field) -> Result<Option<String>, PromptProblem> {
        let longest = most.saturating_mul(6).saturating_add(JSON_AROUND);
        let mut blank = 0;
        let text = loop {
            match self.next_bytes(longest)? {
                None => return Ok(None),
                Some(text) if !text.trim_ascii().is_empty() => break text,
                Some(_) if blank == MOST_EMPTY => {
                    return Err(PromptProblem::TooManyEmpty { most: MOST_EMPTY });
                }
                Some(_) => blank += 1,
            }
        };
        let text = text_of_json(self.line, &text, field)?;
        if text.len() > most {
            return Err(PromptProblem::LineTooLong { line: self.line, most });
        }
        Ok(Some(text))
    }

    /// Returns the next line if it has at most `most` bytes, its line break included.
    fn next_bytes(&mut self, most: usize) -> Result<Option<String>, PromptProblem> {
        let mut line = Vec::new();
        // One byte more shows that a line is too long.
        let mut bounded = (&mut self.reader).take((most as u64).saturating_add(1));
        if bounded.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if line.len() > most {
            return Err(PromptProblem::LineTooLong { line: self.line, most });
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        }
        if self.line == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        String::from_utf8(line).map(Some).map_err(|_| PromptProblem::LineNotUtf8 { line: self.line })
    }
}

/// Returns the text of a field of an object.
fn text_of_json(line: usize, text: &str, field: &Field) -> Result<String, PromptProblem> {
    let malformed = |source: serde_json::Error| PromptProblem::json(line, &source);
    // serde would also take an array of one string for the object.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(PromptProblem::NotAnObject { line });
    }
    let value: Value = match field == &Field::default() {
        // Skips the other fields, and names the place of what is wrong.
        true => match serde_json::from_str(text) {
            Ok(JsonLine { text }) => return Ok(text),
            Err(error) => match bounded::value(text) {
                Ok(value) if value.get("text").is_none() => value,
                _ => return Err(malformed(error)),
            },
        },
        false => bounded::value(text).map_err(malformed)?,
    };
    field.text_of(&value).map_err(|Missing { found }| PromptProblem::NoField {
        place: format!("line {line}"),
        field: field.name().to_owned(),
        found,
    })
}
