//! The footer of a table.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
};

use parquet::{
    errors::Result,
    file::{
        FOOTER_SIZE,
        metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader},
    },
};

use super::{structs::FILE, thrift::check};

/// Reads the footer, unless it takes long to skip.
pub(super) fn read(file: &File) -> Result<ParquetMetaData> {
    if let Some(length) = length(file) {
        let mut file = file;
        file.seek(SeekFrom::End(-(FOOTER_SIZE as i64) - length))?;
        check(BufReader::new(file).take(length as u64), FILE)?;
    }
    ParquetMetaDataReader::new().parse_and_finish(file)
}

/// Returns the length of the footer's struct, in bytes. Without one that can be read, the reader reports it.
fn length(mut file: &File) -> Option<i64> {
    let total = file.seek(SeekFrom::End(-(FOOTER_SIZE as i64))).ok()?;
    let mut tail = [0; FOOTER_SIZE];
    file.read_exact(&mut tail).ok()?;
    let tail = FooterTail::try_new(&tail).ok().filter(|tail| !tail.is_encrypted_footer())?;
    let length = tail.metadata_length();
    (length as u64 <= total).then_some(length as i64)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use parquet::basic::Compression;

    use super::*;
    use crate::prompts::{PromptProblem, Prompts, parquet::pages::tests::zeros};

    #[test]
    fn a_footer_with_a_long_list_of_booleans_is_refused() {
        let written = std::fs::read(zeros(Compression::UNCOMPRESSED, 10).path()).unwrap();
        let open = |field: &[u8]| {
            // The struct ends with a zero, its length and the magic number.
            let (rest, tail) = written.split_at(written.len() - FOOTER_SIZE - 1);
            let length = u32::from_le_bytes(tail[1..5].try_into().unwrap()) + field.len() as u32;
            let file = tempfile::NamedTempFile::with_suffix(".parquet").unwrap();
            let bytes = [rest, field, &[0], &length.to_le_bytes(), b"PAR1"].concat();
            file.as_file().write_all(&bytes).unwrap();
            Prompts::open(file.path()).map(Iterator::count).map_err(|error| error.problem)
        };
        assert_eq!(open(&[]).unwrap(), 1);
        // Field 50: a list of three numbers, and one of 2^31 - 1 booleans.
        assert_eq!(open(&[0x09, 100, 0x35, 2, 2, 2]).unwrap(), 1);
        match open(&[0x09, 100, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07]) {
            Err(PromptProblem::Parquet(error)) => assert!(error.to_string().contains("booleans"), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}
