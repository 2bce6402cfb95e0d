//! A column of texts of a Parquet table.

mod delta;
mod footer;
mod pages;
mod structs;
mod thrift;

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    vec,
};

use inject_models::panics;
use parquet::{
    basic::{ConvertedType, LogicalType},
    column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader},
    data_type::{ByteArray, ByteArrayType},
    file::metadata::ParquetMetaData,
    schema::types::{ColumnDescriptor, SchemaDescriptor},
};

use super::PromptProblem;

/// The number of texts that are decoded at once.
const BATCH: usize = 256;

/// The texts of a table in the order of its rows.
pub(super) struct TextColumn {
    file: File,
    about: ParquetMetaData,
    column: usize,
    /// The row group to open next.
    next_group: usize,
    group: Option<ColumnReaderImpl<ByteArrayType>>,
    batch: vec::IntoIter<Option<ByteArray>>,
    /// The row of the next text.
    row: usize,
}

impl std::fmt::Debug for TextColumn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextColumn")
            .field("column", &self.column)
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl TextColumn {
    pub(super) fn open(path: &Path, name: &str) -> Result<TextColumn, PromptProblem> {
        let file = File::open(path)?;
        contained(|| {
            let about = footer::read(&file)?;
            let column = text_column(about.file_metadata().schema_descr(), name)?;
            Ok(TextColumn {
                file,
                about,
                column,
                next_group: 0,
                group: None,
                batch: Vec::new().into_iter(),
                row: 0,
            })
        })
    }

    /// Returns the next text, of at most `most` bytes. After an error there is none.
    pub(super) fn next_text(&mut self, most: usize) -> Result<Option<String>, PromptProblem> {
        loop {
            if let Some(value) = self.batch.next() {
                let row = self.row;
                self.row += 1;
                let bytes = value.ok_or(PromptProblem::NullText { row })?;
                if bytes.len() > most {
                    return Err(PromptProblem::RowTooLong { row, most });
                }
                let text = bytes.as_utf8().map_err(|_| PromptProblem::RowNotUtf8 { row })?;
                return Ok(Some(text.to_owned()));
            }
            if !contained(|| Ok(self.read_batch()? || self.open_group()?))? {
                return Ok(None);
            }
        }
    }

    /// Decodes more texts of the open row group, if there are any.
    fn read_batch(&mut self) -> Result<bool, PromptProblem> {
        let Some(group) = &mut self.group else { return Ok(false) };
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (rows, ..) = group.read_records(BATCH, Some(&mut levels), None, &mut values)?;
        let mut values = values.into_iter();
        // A column without nulls has no levels.
        let batch: Vec<_> = if levels.is_empty() {
            values.map(Some).collect()
        } else {
            levels.iter().map(|&level| if level == 0 { None } else { values.next() }).collect()
        };
        self.batch = batch.into_iter();
        Ok(rows > 0)
    }

    fn open_group(&mut self) -> Result<bool, PromptProblem> {
        if self.next_group == self.about.num_row_groups() {
            return Ok(false);
        }
        let pages = pages::open(&self.file, self.about.row_group(self.next_group), self.column)?;
        let column = self.about.file_metadata().schema_descr().column(self.column);
        self.group = match get_column_reader(column, pages) {
            ColumnReader::ByteArrayColumnReader(group) => Some(group),
            // The schema, which is one for all row groups, says otherwise.
            _ => return Err(PromptProblem::NotAStringColumn { found: "of several types".to_owned() }),
        };
        self.next_group += 1;
        Ok(true)
    }
}

/// Turns a panic into an error.
///
/// parquet 60.1.0 trusts lengths within the file: of files with a few damaged bytes, one in a thousand makes
/// it panic.
fn contained<T>(read: impl FnOnce() -> Result<T, PromptProblem>) -> Result<T, PromptProblem> {
    // After a panic the reader is never used again.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let message = panics::message(panic.as_ref()).unwrap_or_default().to_owned();
        Err(PromptProblem::ParquetPanic { message })
    })
}

/// Returns the index of the outermost column `text`, which holds one string for each row.
fn text_column(schema: &SchemaDescriptor, name: &str) -> Result<usize, PromptProblem> {
    let outer = |column: &ColumnDescriptor| column.path().parts().first().cloned().unwrap_or_default();
    let position = schema.columns().iter().position(|column| outer(column) == name);
    let Some(index) = position else {
        let found = schema.root_schema().get_fields().iter().map(|field| field.name().to_owned()).collect();
        return Err(PromptProblem::NoTextColumn { name: name.to_owned(), found });
    };
    let column = schema.column(index);
    let flat = column.path().parts().len() == 1 && column.max_rep_level() == 0;
    let bytes = column.physical_type() == parquet::basic::Type::BYTE_ARRAY;
    // Older writers annotate with the converted type only, and some not at all: the bytes are checked in any
    // case.
    let text = match column.logical_type_ref() {
        Some(logical) => matches!(logical, LogicalType::String),
        None => matches!(column.converted_type(), ConvertedType::UTF8 | ConvertedType::NONE),
    };
    if flat && bytes && text {
        return Ok(index);
    }
    let nested = if flat { "" } else { "nested " };
    let found = match column.logical_type_ref() {
        Some(logical) => format!("{nested}{} ({logical:?})", column.physical_type()),
        None => format!("{nested}{} ({})", column.physical_type(), column.converted_type()),
    };
    Err(PromptProblem::NotAStringColumn { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_reader_becomes_an_error() {
        let problem = contained::<()>(|| panic!("length {}", -1)).unwrap_err();
        assert_eq!(problem.to_string(), "damaged: the Parquet reader panicked with `length -1`");
        let problem = contained::<()>(|| panic!("no dictionary")).unwrap_err();
        assert_eq!(problem.to_string(), "damaged: the Parquet reader panicked with `no dictionary`");
    }
}
