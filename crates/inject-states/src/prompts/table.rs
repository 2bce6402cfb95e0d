//! A column of a `.csv` or `.tsv` file whose first row names the columns.

use std::{
    io::{self, Read},
    path::Path,
};

use super::{PromptProblem, field::Field, input::Input};

/// The longest row whose text may have one byte: other columns take more.
const AROUND: usize = 1 << 20;

/// The texts of a column.
pub(super) struct Table {
    reader: csv::Reader<Bounded>,
    column: usize,
    record: csv::StringRecord,
    /// The row read last, from 0, without that of the names.
    row: Option<usize>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("column", &self.column).field("row", &self.row).finish_non_exhaustive()
    }
}

impl Table {
    pub(super) fn open(path: &Path, delimiter: u8, field: &Field) -> Result<Self, PromptProblem> {
        let input = Bounded { input: Input::open(path)?, left: AROUND };
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(input);
        if let Err(error) = reader.headers() {
            return Err(reader.get_ref().problem(error, "the first row".to_owned(), AROUND));
        }
        let names = reader.headers()?;
        let name = |name: &str| name.trim_start_matches('\u{feff}').to_owned();
        let mut places =
            names.iter().enumerate().filter(|(_, found)| name(found) == field.name()).map(|(at, _)| at);
        match (places.next(), places.next()) {
            (Some(_), Some(_)) => Err(PromptProblem::TwoColumns { field: field.name().to_owned() }),
            (Some(column), None) => Ok(Table { reader, column, record: csv::StringRecord::new(), row: None }),
            (None, _) => Err(PromptProblem::NoField {
                place: "the first row".to_owned(),
                field: field.name().to_owned(),
                found: names.iter().map(name).collect(),
            }),
        }
    }

    /// Returns the next text, of at most `most` bytes.
    pub(super) fn next_text(&mut self, most: usize) -> Result<Option<String>, PromptProblem> {
        let row = self.row.map_or(0, |row| row + 1);
        // A quote in a text is written twice.
        let longest = most.saturating_mul(2).saturating_add(AROUND);
        self.reader.get_mut().left = longest;
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(self.reader.get_ref().problem(error, format!("row {row}"), longest)),
        }
        self.row = Some(row);
        match self.record.get(self.column) {
            Some(text) if text.len() > most => Err(PromptProblem::RowTooLong { row, most }),
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(PromptProblem::NullText { row }),
        }
    }
}

/// The bytes of a file, of which one row may take a limited number. Those that are read ahead count for the row before.
struct Bounded {
    input: Input,
    left: usize,
}

impl Bounded {
    /// The problem with a row that cannot be read: its length, if it used up its bytes.
    fn problem(&self, error: csv::Error, place: String, most: usize) -> PromptProblem {
        match self.left {
            0 => PromptProblem::RecordTooLong { place, most },
            _ => error.into(),
        }
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left);
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the row is too long"));
        }
        let read = self.input.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}
