//! Archives as PyTorch writes them, under names of every length.

use std::{fs, fs::File, io::Read, path::Path};

use zip::{
    ZipArchive,
    read::{ArchiveOffset, Config},
};

use super::{Tensor, Values, open_file};
use crate::error::ModelError;

/// PyTorch's usual multiple for the beginning of the values of a tensor, and another one.
const ALIGNMENTS: [usize; 2] = [64, 4096];

/// Writes the entries of a file of the fixtures into an archive whose folder has another name.
///
/// # Source
///
/// PyTorch, `caffe2/serialize/inline_container.cc`: nothing is compressed, a field of the local header fills the space before the
/// values, and the records of ZIP64 follow the directory of every archive. Sums are zero, as with `compute_crc32=False`.
fn archive(fixture: &str, folder: &str, alignment: usize) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickled").join(fixture);
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut entries = ZipArchive::with_config(config, File::open(path).unwrap()).unwrap();
    let (mut file, mut directory) = (Vec::<u8>::new(), Vec::<u8>::new());
    for index in 0..entries.len() {
        let mut entry = entries.by_index(index).unwrap();
        let name = format!("{folder}/{}", entry.name().unwrap().split_once('/').unwrap().1);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let begin = file.len();
        let padding =
            (begin + 30 + name.len() + 4).next_multiple_of(alignment) - (begin + 30 + name.len() + 4);
        let of_name = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time and date; no sum; the length as it is stored and unpacked.
        let mut common = vec![0; 14];
        common.extend([(content.len() as u32).to_le_bytes(); 2].concat());
        common.extend(of_name);
        file.extend(b"PK\x03\x04".iter().chain(&common).chain(&(4 + padding as u16).to_le_bytes()));
        file.extend(name.as_bytes().iter().chain(b"FB").chain(&(padding as u16).to_le_bytes()));
        file.resize(file.len() + padding, b'Z');
        assert!(file.len().is_multiple_of(alignment));
        file.extend(content);
        directory.extend(b"PK\x01\x02\0\0".iter().chain(&common).chain(&[0; 12]));
        directory.extend((begin as u32).to_le_bytes().iter().chain(name.as_bytes()));
    }
    let (begin, length, count) = (file.len() as u64, directory.len() as u64, entries.len() as u64);
    file.extend(directory);
    let end = file.len() as u64;
    let long = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    file.extend(b"PK\x06\x06".iter().chain(&long(&[44])).chain(&[0; 12]));
    file.extend(long(&[count, count, length, begin]));
    file.extend(b"PK\x06\x07\0\0\0\0".iter().chain(&long(&[end])).chain(&1_u32.to_le_bytes()));
    file.extend(b"PK\x05\x06\0\0\0\0".iter().chain(&[(count as u16).to_le_bytes(); 2].concat()));
    file.extend([(length as u32).to_le_bytes(), (begin as u32).to_le_bytes()].concat().iter().chain(&[0; 2]));
    file
}

fn opened(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, ModelError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    match open_file(file.path())?.0.values {
        Values::Pytorch(tensors) => Ok(tensors.into_iter().collect()),
        other => panic!("{other:?}"),
    }
}

/// The first entry of the directory can be as long as the records after it, which mislead a search for the directory.
#[test]
fn an_archive_is_read_whatever_the_length_of_its_name_and_the_space_before_its_values() {
    let original = opened(
        &fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickled/nf4.bin")).unwrap(),
    );
    let original = original.unwrap();
    assert!(original.len() > 3);
    for alignment in ALIGNMENTS {
        for letters in (1..64).chain([255, 1000]) {
            let found = opened(&archive("nf4.bin", &"n".repeat(letters), alignment));
            let found = found.unwrap_or_else(|error| panic!("{letters} letters: {error:?}"));
            for ((name, tensor), (expected, of_original)) in found.iter().zip(&original) {
                assert_eq!(
                    (name, tensor.read().unwrap()),
                    (expected, of_original.read().unwrap()),
                    "{letters}"
                );
            }
        }
    }
}

#[test]
fn a_bit_that_changes_values_is_found_whatever_the_name_and_without_sums() {
    for letters in (1..64).chain([255, 1000]) {
        let error = opened(&archive("neg.bin", &"n".repeat(letters), 64)).map(drop).unwrap_err();
        assert!(matches!(error, ModelError::LazyBit { bit: "neg", .. }), "{letters} letters: {error:?}");
    }
}
