//! The pages of a column, without those that stand for far more than they hold.
//!
//! A few bytes of a compressed page can stand for gigabytes. parquet 60.1.0 reserves the size that a page announces, and
//! decompresses a gzip page to its end whatever it announces. So both are compared with a limit before.

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

use super::{structs::PAGE_HEADER, thrift::check};

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
    Ok(Box::new(Plausible(Box::new(pages))))
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

    /// Reads a page's content.
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

/// Checks that a page in gzip is not longer than `most` bytes, without keeping what it holds.
fn check_gzip(bytes: &[u8], most: u64) -> Result<()> {
    let mut decoder = MultiGzDecoder::new(bytes).take(most + 1);
    // What cannot be read is the reader's to report.
    let length = std::io::copy(&mut decoder, &mut std::io::sink()).unwrap_or(0);
    match length <= most {
        true => Ok(()),
        false => Err(ParquetError::General(format!("a page of more than {most} bytes"))),
    }
}

/// The pages of a column, without those that claim more values than their bytes can hold, or whose texts repeat each other.
///
/// parquet 60.1.0 reserves 32 bytes for each value that a dictionary page claims, before it reads the first.
struct Plausible(Box<dyn PageReader>);

impl PageReader for Plausible {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.0.get_next_page()?;
        let general = |found: String| Err(ParquetError::General(found));
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
            _ => Ok(page),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }
}

impl Iterator for Plausible {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{io::Write, vec};

    use flate2::{Compression as Level, write::GzEncoder};
    use parquet::{
        basic::ZstdLevel,
        data_type::{ByteArray, ByteArrayType},
        file::{properties::WriterProperties, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };

    use super::*;
    use crate::prompts::{PromptProblem, Prompts};

    /// A file with one text of `length` zeros.
    pub(in super::super) fn zeros(compression: Compression, length: usize) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::with_suffix(".parquet").unwrap();
        let schema = Arc::new(parse_message_type("message m { required binary text (STRING); }").unwrap());
        let properties =
            WriterProperties::builder().set_compression(compression).set_dictionary_enabled(false);
        let properties = Arc::new(
            properties.set_statistics_enabled(parquet::file::properties::EnabledStatistics::None).build(),
        );
        let mut writer = SerializedFileWriter::new(file.reopen().unwrap(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let text = ByteArray::from(vec![0; length]);
        column.typed::<ByteArrayType>().write_batch(&[text], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        file
    }

    #[test]
    fn a_small_page_that_announces_much_is_refused_unread() {
        for compression in [
            Compression::ZSTD(ZstdLevel::default()),
            Compression::GZIP(Default::default()),
            Compression::SNAPPY,
        ] {
            let read = |length| {
                let file = zeros(compression, length);
                let prompts = Prompts::open(file.path()).unwrap().with_max_bytes(1 << 20);
                prompts.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| error.problem)
            };
            assert_eq!(read(1 << 20).unwrap()[0].len(), 1 << 20);
            assert!(matches!(read(1 << 21), Err(PromptProblem::RowTooLong { row: 0, .. })));
            match read(MOST_PAGE as usize + 1) {
                Err(PromptProblem::Parquet(error)) => {
                    let text = error.to_string();
                    assert!(
                        text.contains("a page announces 268435461 bytes, expected at most 268435456"),
                        "{text}"
                    );
                }
                other => panic!("{compression}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_gzip_page_longer_than_it_announces_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Level::default());
        encoder.write_all(&vec![0; 5 << 20]).unwrap();
        let bytes = encoder.finish().unwrap();
        assert!(bytes.len() < 50_000);
        check_gzip(&bytes, 5 << 20).unwrap();
        let error = check_gzip(&bytes, (5 << 20) - 1).unwrap_err().to_string();
        assert!(error.contains("a page of more than 5242879 bytes"), "{error}");
        check_gzip(b"no gzip", 5).unwrap();
    }

    #[test]
    fn the_size_is_the_second_field_of_a_header() {
        assert_eq!(announced_size(&[0x15, 0, 0x15, 20, 0x15, 8]), Some(10));
        assert_eq!(announced_size(&[0x15, 4, 0x15, 0xff, 0xff, 0xff, 0xff, 0x0f]), Some(-(1 << 31)));
        for head in [
            &[][..],
            &[0x15],
            &[0x15, 0],
            &[0x15, 0, 0x25, 2],
            &[0x15, 0, 0x15, 0x80],
            &[0x15, 0, 0x15, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
        ] {
            assert_eq!(announced_size(head), None);
        }
    }

    #[test]
    fn a_header_with_a_long_list_of_booleans_is_refused() {
        let read = |field: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[&[0x15, 0, 0x15, 20, 0x15, 20][..], field, &[0]].concat()).unwrap();
            Bounded { file, gzip: false }.get_read(0).map(drop).map_err(|error| error.to_string())
        };
        // Field 9, which Parquet does not have.
        read(&[0x69, 0x25, 2, 2]).unwrap();
        let error = read(&[0x69, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07]).unwrap_err();
        assert!(error.contains("2147483647 booleans"), "{error}");
        // Field 4, which is a number.
        assert!(read(&[0x19, 0x25, 2, 2]).unwrap_err().contains("damaged"));
    }

    /// Pages that were given beforehand.
    struct Given(vec::IntoIter<Page>);

    impl PageReader for Given {
        fn get_next_page(&mut self) -> Result<Option<Page>> {
            Ok(self.0.next())
        }

        fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
            Ok(None)
        }

        fn skip_next_page(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl Iterator for Given {
        type Item = Result<Page>;

        fn next(&mut self) -> Option<Self::Item> {
            self.get_next_page().transpose()
        }
    }

    #[test]
    fn a_dictionary_that_claims_more_texts_than_it_holds_is_refused() {
        let page = |bytes: usize, num_values| Page::DictionaryPage {
            buf: vec![0; bytes].into(),
            num_values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let pages = vec![page(12, 3), page(12, 4), page(MOST_DICTIONARY + 1, 1)];
        let mut pages = Plausible(Box::new(Given(pages.into_iter())));
        assert!(pages.get_next_page().unwrap().is_some());
        let error = pages.get_next_page().unwrap_err().to_string();
        assert!(error.contains("a dictionary of 4 texts in 12 bytes"), "{error}");
        let error = pages.get_next_page().unwrap_err().to_string();
        assert!(error.contains("a dictionary of 33554433 bytes"), "{error}");
    }

    #[test]
    fn texts_that_repeat_each_other_are_read_from_small_pages_only() {
        let page = |length: usize| Page::DataPage {
            buf: vec![0; length].into(),
            num_values: 1,
            encoding: Encoding::DELTA_BYTE_ARRAY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let pages = vec![page(MOST_REPEATED), page(MOST_REPEATED + 1)];
        let mut pages = Plausible(Box::new(Given(pages.into_iter())));
        assert!(pages.get_next_page().unwrap().is_some());
        let error = pages.get_next_page().unwrap_err().to_string();
        assert!(error.contains("a page of 4194305 bytes in DELTA_BYTE_ARRAY"), "{error}");
    }
}
