//! Tests of bounded pages.

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
    let properties = WriterProperties::builder().set_compression(compression).set_dictionary_enabled(false);
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
    for compression in
        [Compression::ZSTD(ZstdLevel::default()), Compression::GZIP(Default::default()), Compression::SNAPPY]
    {
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
    let mut pages = Plausible { pages: Box::new(Given(pages.into_iter())), nullable: false };
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
    let mut pages = Plausible { pages: Box::new(Given(pages.into_iter())), nullable: false };
    assert!(pages.get_next_page().unwrap().is_some());
    let error = pages.get_next_page().unwrap_err().to_string();
    assert!(error.contains("a page of 4194305 bytes in DELTA_BYTE_ARRAY"), "{error}");
}

#[test]
fn lengths_that_stand_for_more_texts_than_a_page_has_are_refused() {
    // Blocks of 128 differences in 4 miniblocks. The largest count is one above the limit.
    let header = |values: [u8; 4]| [&[0x80, 0x01, 4][..], &values, &[0]].concat();
    let (three, most, more) =
        (header([0x83, 0x80, 0x80, 0]), header([0x80, 0x80, 0x80, 8]), header([0x81, 0x80, 0x80, 8]));
    let of_empty_blocks = [&[0, 48][..], &[0xaf, 0x86, 0xf2, 0x62], &[0]].concat();
    // A block of two differences of one bit each. The other miniblocks are not stored.
    let block = vec![0, 1, 7, 7, 7, 0, 0, 0, 0];
    let page = |encoding, parts: &[&Vec<u8>], levels: &[u8]| Page::DataPage {
        buf: [levels, &parts.iter().flat_map(|&part| part.clone()).collect::<Vec<u8>>()].concat().into(),
        num_values: 3,
        encoding,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    };
    let (lengths, repeated) = (Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY);
    for nullable in [false, true] {
        let levels: &[u8] = if nullable { &[2, 0, 0, 0, 6, 1] } else { &[] };
        let refused = |encoding, parts: &[&Vec<u8>]| {
            let pages = Box::new(Given(vec![page(encoding, parts, levels)].into_iter()));
            Plausible { pages, nullable }.get_next_page().err().map(|error| error.to_string())
        };
        assert_eq!(refused(lengths, &[&most]), None);
        assert!(refused(lengths, &[&more]).unwrap().contains("a page of 16777217 texts"));
        assert_eq!(refused(repeated, &[&three, &block, &most]), None);
        assert!(refused(repeated, &[&three, &block, &more]).unwrap().contains("a page of 16777217 texts"));
        assert!(refused(repeated, &[&more]).unwrap().contains("a page of 16777217 texts"));
        assert_eq!(refused(repeated, &[&three]), None);
        for parts in [&[&of_empty_blocks][..], &[&three, &block, &of_empty_blocks]] {
            assert!(refused(repeated, parts).unwrap().contains("a page of 207389487 texts"), "{parts:?}");
        }
    }
}

#[test]
fn texts_in_delta_encodings_are_read() {
    let texts: Vec<String> = (0..3000).map(|i| format!("{}{i}", "a".repeat(i % 70))).collect();
    for encoding in [Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY] {
        for (repetition, levels) in [("required", None), ("optional", Some(vec![1; texts.len()]))] {
            let file = tempfile::NamedTempFile::with_suffix(".parquet").unwrap();
            let schema = format!("message m {{ {repetition} binary text (STRING); }}");
            let properties = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(encoding);
            let (schema, properties) = (parse_message_type(&schema).unwrap(), properties.build());
            let mut writer =
                SerializedFileWriter::new(file.reopen().unwrap(), Arc::new(schema), Arc::new(properties))
                    .unwrap();
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<ByteArray> = texts.iter().map(|text| text.as_str().into()).collect();
            column.typed::<ByteArrayType>().write_batch(&values, levels.as_deref(), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
            writer.close().unwrap();
            let found =
                Prompts::open(file.path()).unwrap().collect::<std::result::Result<Vec<_>, _>>().unwrap();
            assert_eq!(found, texts, "{encoding} {repetition}");
        }
    }
}
