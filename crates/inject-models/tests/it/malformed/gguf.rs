//! Faults of a GGUF file.

mod settings;
mod tensors;
mod tokenizer;

use std::path::{Path, PathBuf};

use inject_models::{
    FloatFormat, Model, ModelError, Origin,
    checkpoint::{Damage, Instead},
};
use tempfile::TempDir;

use super::chain;
use crate::fixture;

pub(crate) const U32: u32 = 4;
pub(crate) const I32: u32 = 5;
pub(crate) const FLOAT32: u32 = 6;
const FLAG: u32 = 7;
pub(crate) const TEXT: u32 = 8;
pub(crate) const LIST: u32 = 9;

const F32: u32 = 0;
const Q8_0: u32 = 8;
const IQ2_XXS: u32 = 16;

/// A file that is written as it is described, faults included.
struct File {
    begin: Vec<u8>,
    counts: Option<(u64, u64)>,
    keys: Vec<(Vec<u8>, u32, Vec<u8>)>,
    tensors: Vec<(&'static str, Vec<u64>, u32, u64)>,
    data: usize,
}

impl File {
    /// Two tensors of 32 and 8 numbers.
    fn sound() -> Self {
        File {
            begin: b"GGUF\x03\0\0\0".to_vec(),
            counts: None,
            keys: vec![(b"general.architecture".to_vec(), TEXT, text("llama"))],
            tensors: vec![("a", vec![8, 4], F32, 0), ("b", vec![8], F32, 128)],
            data: 160,
        }
    }

    fn with_key(mut self, key: &str, kind: u32, value: impl Into<Vec<u8>>) -> Self {
        self.keys.push((key.into(), kind, value.into()));
        self
    }

    fn with_tensors(mut self, tensors: &[(&'static str, &[u64], u32, u64)]) -> Self {
        self.tensors = tensors
            .iter()
            .map(|(name, shape, kind, offset)| (*name, shape.to_vec(), *kind, *offset))
            .collect();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.begin.clone();
        let (tensors, keys) = self.counts.unwrap_or((self.tensors.len() as u64, self.keys.len() as u64));
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(keys.to_le_bytes());
        for (key, kind, value) in &self.keys {
            bytes.extend((key.len() as u64).to_le_bytes());
            bytes.extend(key);
            bytes.extend(kind.to_le_bytes());
            bytes.extend(value);
        }
        for (name, shape, kind, offset) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            shape.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32) + self.data, 0);
        bytes
    }

    fn damaged(&self, says: &[&str]) {
        damaged(&self.bytes(), says);
    }
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn load(bytes: &[u8]) -> (TempDir, PathBuf, ModelError) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let loaded = Model::load(Origin::of_folder(&path), FloatFormat::F32, &inject_testing::any_device());
    (folder, path, loaded.map(|_| ()).expect_err("it loads"))
}

fn says_all(error: &ModelError, path: &Path, says: &[&str]) {
    let message = chain(error);
    for part in says.iter().copied().chain([path.display().to_string().as_str()]) {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

/// Checks that the bytes are refused as damaged, for a reason that says all of this.
fn damaged(bytes: &[u8], says: &[&str]) {
    let (_folder, path, error) = load(bytes);
    says_all(&error, &path, says);
    assert!(matches!(&error, ModelError::Damaged { source: Damage::Gguf(_), .. }), "{error:?}");
}

/// Checks that a fixture is refused for a key after its bytes are edited.
fn bad_key(file: &str, says: &[&str], edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(fixture::folder("gguf").join(file)).unwrap();
    edit(&mut bytes);
    let (_folder, path, error) = load(&bytes);
    says_all(&error, &path, says);
    assert!(matches!(error, ModelError::Config { .. }), "{error:?}");
}

/// The place after the first occurrence of a text.
pub(crate) fn after(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap() + text.len()
}

/// Gives a key another last letter, so that it is another key.
fn rename(bytes: &mut [u8], key: &str) {
    let end = after(bytes, key);
    bytes[end - 1] = b'~';
}

pub(crate) fn set(bytes: &mut [u8], key: &str, value: &[u8]) {
    // The type of the value stands before it.
    let begin = after(bytes, key) + 4;
    bytes[begin..begin + value.len()].copy_from_slice(value);
}

/// Hides a key: it begins with another letter, and so belongs to no architecture.
pub(crate) fn hide(bytes: &mut [u8], key: &str) {
    let begin = after(bytes, key) - key.len();
    bytes[begin] = b'~';
}

/// A list of numbers, as the package `gguf` stores one of whole numbers in Python.
pub(crate) fn list_of_i32(items: &[i32]) -> Vec<u8> {
    let head = [&I32.to_le_bytes()[..], &(items.len() as u64).to_le_bytes()].concat();
    head.into_iter().chain(items.iter().flat_map(|item| item.to_le_bytes())).collect()
}

/// Adds a key before all others, and another that nobody reads, with which the tensors stay aligned.
pub(crate) fn with_key(bytes: &mut Vec<u8>, key: &str, kind: u32, value: &[u8]) {
    let entry = |key: &str, kind: u32, value: &[u8]| [&text(key), &kind.to_le_bytes()[..], value].concat();
    let added = entry(key, kind, value);
    let filled = added.len() + entry(&format!("filler.{key}"), TEXT, &text("")).len();
    let filler = "x".repeat(filled.next_multiple_of(32) - filled);
    let added = [added, entry(&format!("filler.{key}{filler}"), TEXT, &text(""))].concat();
    bytes.splice(24..24, added);
    let keys = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) + 2;
    bytes[16..24].copy_from_slice(&keys.to_le_bytes());
}

/// A sound file with these texts in its metadata.
pub(crate) fn with_texts(texts: &[(&str, &str)]) -> Vec<u8> {
    let add = |file: File, (key, value): &(&str, &str)| match *key {
        "general.architecture" => File { keys: vec![(key.as_bytes().to_vec(), TEXT, text(value))], ..file },
        key => file.with_key(key, TEXT, text(value)),
    };
    texts.iter().fold(File::sound(), add).bytes()
}

/// Only the first part has the settings of the model.
#[test]
fn a_later_part_of_a_split_file_is_named() {
    let file = File { keys: Vec::new(), ..File::sound() };
    let (_folder, path, error) = load(&file.with_key("split.count", U32, 3_u32.to_le_bytes()).bytes());
    says_all(&error, &path, &["key `split.count` is 3, expected one file", "llama-gguf-split --merge"]);
}

#[test]
fn a_file_that_does_not_hold_a_model_is_named() {
    let lora = File::sound().with_tensors(&[("blk.0.attn_q.weight.lora_a", &[8, 4], F32, 0)]);
    for (bytes, says) in [
        (
            with_texts(&[("general.type", "adapter"), ("adapter.type", "lora")]),
            ["a LoRA adapter", "`--adapter DIR`"],
        ),
        (lora.bytes(), ["a LoRA adapter", "give its model"]),
        (
            with_texts(&[("general.type", "adapter"), ("adapter.type", "ia3")]),
            ["of the kind \"ia3\"", "PEFT"],
        ),
        (with_texts(&[("general.architecture", "clip")]), ["(mmproj)", "the language model"]),
        (with_texts(&[("general.type", "mmproj")]), ["(mmproj)", "the language model"]),
        (with_texts(&[("general.type", "imatrix")]), ["(imatrix)", "of the model"]),
        (with_texts(&[("general.architecture", "controlvector")]), ["control vector", "of the model"]),
    ] {
        let (_folder, path, error) = load(&bytes);
        says_all(&error, &path, &says);
        let ModelError::Instead { found: Instead::OtherGguf(_), .. } = &error else { panic!("{error:?}") };
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn the_file_that_the_faults_are_made_from_is_sound() {
    let (_folder, path, error) = load(&File::sound().bytes());
    says_all(&error, &path, &["key `llama.block_count` is missing"]);
}

#[test]
fn a_file_of_another_kind_is_refused() {
    damaged(b"PK\x03\x04 and more bytes than a head", &["[80, 75, 3, 4]", "expected the letters `GGUF`"]);
    damaged(b"", &["it ends after 0 bytes, expected 4 more at byte 0"]);
    damaged(b"GGU", &["it ends after 3 bytes"]);
}

#[test]
fn another_version_is_refused() {
    for version in [0_u32, 1, 4] {
        let begin = [b"GGUF".as_slice(), &version.to_le_bytes()].concat();
        File { begin, ..File::sound() }.damaged(&[&format!("GGUF version {version}, expected 2 or 3")]);
    }
}

#[test]
fn big_endian_numbers_are_refused() {
    File { begin: b"GGUF\0\0\0\x03".to_vec(), ..File::sound() }.damaged(&["big-endian"]);
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let whole = File::sound().bytes();
    for length in 0..whole.len() {
        let (_folder, path, error) = load(&whole[..length]);
        says_all(&error, &path, &["is damaged"]);
    }
}

#[test]
fn counts_beyond_the_file_are_refused() {
    for huge in [100, 1 << 40, u64::MAX] {
        File { counts: Some((huge, 1)), ..File::sound() }
            .damaged(&[&format!("announces {huge} tensors, expected at most")]);
        File { counts: Some((0, huge)), ..File::sound() }
            .damaged(&[&format!("announces {huge} keys, expected at most")]);
    }
}

#[test]
fn more_keys_or_tensors_than_any_model_has_are_refused() {
    let mut file = File::sound();
    for i in 0..1 << 14 {
        file = file.with_key(&format!("k{i}"), FLAG, [0]);
    }
    file.damaged(&["it has 16385 keys, expected at most 16384"]);
}

#[test]
fn a_text_beyond_the_file_is_refused() {
    for huge in [1_000, 1 << 40, u64::MAX] {
        File::sound()
            .with_key("general.name", TEXT, huge.to_le_bytes())
            .damaged(&[&format!("expected {huge} more at byte")]);
    }
}

#[test]
fn a_list_beyond_the_file_is_refused() {
    for huge in [1_000, 1 << 40, u64::MAX] {
        let list = [&U32.to_le_bytes(), huge.to_le_bytes().as_slice()].concat();
        File::sound()
            .with_key("tokenizer.ggml.token_type", LIST, list)
            .damaged(&[&format!("announces {huge} items in a list")]);
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let broken = [&2_u64.to_le_bytes(), [0xff, 0xfe].as_slice()].concat();
    File::sound().with_key("general.name", TEXT, broken).damaged(&["the text at byte", "is not UTF-8"]);
    let mut file = File::sound();
    file.keys[0].0 = vec![b'k', 0xff];
    file.damaged(&["is not UTF-8"]);
}

#[test]
fn unknown_types_of_values_are_refused() {
    for kind in [13, 255, u32::MAX] {
        File::sound()
            .with_key("general.name", kind, [0; 8])
            .damaged(&[&format!("key `general.name` has the value type {kind}")]);
        let list = [&kind.to_le_bytes(), 0_u64.to_le_bytes().as_slice()].concat();
        File::sound().with_key("k", LIST, list).damaged(&[&format!("key `k` has the value type {kind}")]);
    }
}

#[test]
fn lists_of_lists_are_refused() {
    let list = [&LIST.to_le_bytes(), 1_u64.to_le_bytes().as_slice()].concat();
    File::sound().with_key("k", LIST, list).damaged(&["key `k` is a list of lists"]);
}

#[test]
fn a_flag_is_zero_or_one() {
    File::sound().with_key("k", FLAG, [2]).damaged(&["key `k` holds the flag 2"]);
}

#[test]
fn a_key_stands_once() {
    File::sound()
        .with_key("general.architecture", U32, [0; 4])
        .damaged(&["`general.architecture` occurs twice"]);
}

#[test]
fn the_alignment_is_a_power_of_two() {
    for found in [0_u32, 48, u32::MAX] {
        File::sound()
            .with_key("general.alignment", U32, found.to_le_bytes())
            .damaged(&[&format!("`general.alignment` is {found}, expected a power of two")]);
    }
    File::sound().with_key("general.alignment", TEXT, text("32")).damaged(&["`general.alignment` is"]);
}
