//! A column of a `.csv` or `.tsv` file whose first row names the columns.

use std::path::Path;

use super::{PromptProblem, field::Field, input::Input};

/// The texts of a column.
pub(super) struct Table {
    reader: csv::Reader<Input>,
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
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(Input::open(path)?);
        let names = reader.headers()?;
        let name = |name: &str| name.trim_start_matches('\u{feff}').to_owned();
        match names.iter().position(|found| name(found) == field.name()) {
            Some(column) => Ok(Table { reader, column, record: csv::StringRecord::new(), row: None }),
            None => Err(PromptProblem::NoField {
                place: "the first row".to_owned(),
                field: field.name().to_owned(),
                found: names.iter().map(name).collect(),
            }),
        }
    }

    /// Returns the next text, of at most `most` bytes.
    pub(super) fn next_text(&mut self, most: usize) -> Result<Option<String>, PromptProblem> {
        if !self.reader.read_record(&mut self.record)? {
            return Ok(None);
        }
        let row = self.row.map_or(0, |row| row + 1);
        self.row = Some(row);
        match self.record.get(self.column) {
            Some(text) if text.len() > most => Err(PromptProblem::RowTooLong { row, most }),
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(PromptProblem::NullText { row }),
        }
    }
}
