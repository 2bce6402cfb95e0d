//! The pages of a column, without those that stand for far more than they hold.
//!
//! A few bytes of a compressed page can stand for gigabytes. parquet 60.1.0 reserves the size that a page announces, and
//! decompresses a gzip page to its end whatever it announces. So both are compared with a limit before.

#[cfg(test)]
pub(super) mod tests;

use std::{
    fs::File,
    io::{BufReader, Read},
    sync::Arc,
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::{
    basic::{Compression, Encoding},
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
    file::{
        metadata::RowGroupMetaData,
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};

use super::{
    delta::{MOST_VALUES, announced_values},
    structs::PAGE_HEADER,
    thrift::check,
};

/// The largest page, decompressed, in bytes. Writers end a page after a megabyte, unless a single text is longer.
const MOST_PAGE: u64 = 256 << 20;

/// The largest dictionary. Each of its texts, of 4 bytes at least, takes 32 bytes in memory.
const MOST_DICTIONARY: usize = 32 << 20;

/// The largest page of texts of which each repeats the beginning of the one before. All of a batch may be as long as the page.
const MOST_REPEATED: usize = 4 << 20;

/// Opens the pages of one column in one row group.
pub(super) fn open(file: &File, group: &RowGroupMetaData, column: usize) -> Result<Box<dyn PageReader>> {
    let about = group.column(column);
    let gzip = matches!(about.compression(), Compression::GZIP(_));
    let bounded = Bounded { file: file.try_clone()?, gzip };
    let rows = usize::try_from(group.num_rows())
        .map_err(|_| ParquetError::General(format!("a row group of {} rows", group.num_rows())))?;
    let pages = SerializedPageReader::new(Arc::new(bounded), about, rows, None)?;
    let nullable = about.column_descr().max_def_level() > 0;
    Ok(Box::new(Plausible { pages: Box::new(pages), nullable }))
}

/// The file of a column whose pages are small enough.
struct Bounded {
    file: File,
    /// Whether the pages of the column are compressed by gzip.
    gzip: bool,
}

impl Length for Bounded {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for Bounded {
    type T = BufReader<File>;

    /// Begins to read at a page's header.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut head = Vec::new();
        self.file.get_read(start)?.take(SIZES as u64).read_to_end(&mut head)?;
        let announced = announced_size(&head)
            .ok_or_else(|| ParquetError::General("a page without its sizes first".to_owned()))?;
        match u64::try_from(announced) {
            Ok(size) if size <= MOST_PAGE => {
                check(self.file.get_read(start)?, PAGE_HEADER)?;
                self.file.get_read(start)
            }
            _ => Err(ParquetError::General(format!(
                "a page announces {announced} bytes, expected at most {MOST_PAGE}"
            ))),
        }
    }

    /// Reads the content of a page. If it is compressed by gzip, its unpacked size is checked first.
    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.file.get_bytes(start, length)?;
        if self.gzip {
            check_gzip(&bytes, MOST_PAGE)?;
        }
        Ok(bytes)
    }
}

/// The bytes that the first three fields of a page's header take at most.
const SIZES: usize = 3 * (1 + 5);

/// Returns the size after decompression that a page's header announces.
///
/// The first three fields are the kind of page, this size, and the one before decompression.
///
/// # Source
///
/// `PageHeader` in <https://github.com/apache/parquet-format>, `parquet.thrift`, and the compact protocol of Thrift: a field
/// begins with the distance of its number from the last one's and its type, here 1 and 5; a number is zigzag-coded, 7 bits a
/// byte.
fn announced_size(head: &[u8]) -> Option<i64> {
    const NEXT_I32: u8 = 0x15;
    let mut bytes = head.iter();
    let mut field = || {
        if *bytes.next()? != NEXT_I32 {
            return None;
        }
        let mut number = 0_u64;
        for place in 0..5 {
            let byte = *bytes.next()?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        None
    };
    field()?;
    field()
}

/// Checks that a page in gzip is not longer than `most` bytes, without keeping its content.
fn check_gzip(bytes: &[u8], most: u64) -> Result<()> {
    let mut decoder = MultiGzDecoder::new(bytes).take(most + 1);
    // The reader reports a page that cannot be read.
    let length = std::io::copy(&mut decoder, &mut std::io::sink()).unwrap_or(0);
    match length <= most {
        true => Ok(()),
        false => Err(ParquetError::General(format!("a page of more than {most} bytes"))),
    }
}

/// The pages of a column, without those that claim more values than their bytes can hold, or whose texts repeat each other.
///
/// parquet 60.1.0 reserves 32 bytes for each value that a dictionary page claims, before it reads the first.
struct Plausible {
    pages: Box<dyn PageReader>,
    /// Whether a text may be null.
    nullable: bool,
}

impl PageReader for Plausible {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        let general = |found: String| Err(ParquetError::General(found));
        let announced = page.as_ref().and_then(|page| announced_values(page, self.nullable));
        match &page {
            // A string is stored after its length, of 4 bytes.
            Some(Page::DictionaryPage { buf, num_values, .. }) if *num_values as usize > buf.len() / 4 => {
                general(format!("a dictionary of {num_values} texts in {} bytes", buf.len()))
            }
            Some(Page::DictionaryPage { buf, .. }) if buf.len() > MOST_DICTIONARY => {
                general(format!("a dictionary of {} bytes, expected at most {MOST_DICTIONARY}", buf.len()))
            }
            Some(page)
                if page.encoding() == Encoding::DELTA_BYTE_ARRAY && page.buffer().len() > MOST_REPEATED =>
            {
                let length = page.buffer().len();
                general(format!(
                    "a page of {length} bytes in {}, expected at most {MOST_REPEATED}",
                    page.encoding()
                ))
            }
            Some(page) if announced > Some(MOST_VALUES) => general(format!(
                "a page of {} texts in {}, expected at most {MOST_VALUES}",
                announced.unwrap_or_default(),
                page.encoding()
            )),
            _ => Ok(page),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }
}

impl Iterator for Plausible {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
