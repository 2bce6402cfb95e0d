//! Faults of a GGUF file.

use std::path::{Path, PathBuf};

use inject_models::{FloatFormat, Model, ModelError, Origin, checkpoint::Damage};
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
fn bad_key(file: &str, edit: impl FnOnce(&mut Vec<u8>), says: &[&str]) {
    let mut bytes = std::fs::read(fixture::folder("gguf").join(file)).unwrap();
    edit(&mut bytes);
    let (_folder, path, error) = load(&bytes);
    says_all(&error, &path, says);
    assert!(matches!(error, ModelError::Config { .. }), "{error:?}");
}

/// Checks that the tokenizer of a fixture is refused for a key after its bytes are edited. The model loads, because ids need none.
fn bad_tokenizer_key(file: &str, edit: impl FnOnce(&mut Vec<u8>), says: &[&str]) {
    let mut bytes = std::fs::read(fixture::folder("gguf").join(file)).unwrap();
    edit(&mut bytes);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let model =
        Model::load(Origin::of_folder(&path), FloatFormat::F32, &inject_testing::any_device()).unwrap();
    let Err(ModelError::UnusableTokenizer { source }) = model.tokenizer() else { panic!("it is usable") };
    says_all(&source, &path, says);
    assert!(matches!(*source, ModelError::Config { .. }), "{source:?}");
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
            .damaged(&[&format!("said to have {huge} tensors, expected at most")]);
        File { counts: Some((0, huge)), ..File::sound() }
            .damaged(&[&format!("said to have {huge} keys, expected at most")]);
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
            .damaged(&[&format!("said to have {huge} items in a list")]);
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
        .damaged(&["`general.architecture` stands twice"]);
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

#[test]
fn a_tensor_stands_once() {
    File::sound()
        .with_tensors(&[("a", &[8, 4], F32, 0), ("a", &[8], F32, 128)])
        .damaged(&["tensor `a` stands twice"]);
}

#[test]
fn a_tensor_has_one_to_four_dimensions() {
    File::sound().with_tensors(&[("a", &[], F32, 0)]).damaged(&["tensor `a` has 0 dimensions"]);
    File::sound().with_tensors(&[("a", &[2, 2, 2, 2, 2], F32, 0)]).damaged(&["tensor `a` has 5 dimensions"]);
}

#[test]
fn shapes_without_extent_or_beyond_all_counting_are_refused() {
    for shape in [&[0_u64, 4][..], &[8, 0], &[1 << 32, 1 << 32], &[u64::MAX], &[1 << 47, 2]] {
        File::sound()
            .with_tensors(&[("a", shape, F32, 0)])
            .damaged(&["tensor `a` has the shape", &format!("{shape:?}")]);
    }
}

#[test]
fn formats_that_are_not_read_are_named() {
    File::sound()
        .with_tensors(&[("a", &[256], IQ2_XXS, 0)])
        .damaged(&["tensor `a` is stored as IQ2_XXS, expected one of F32, F16", "Q6_K, IQ4_NL, IQ4_XS"]);
    File::sound().with_tensors(&[("a", &[256], 99, 0)]).damaged(&["stored as format number 99"]);
}

#[test]
fn rows_consist_of_whole_blocks() {
    File::sound()
        .with_tensors(&[("a", &[40, 4], Q8_0, 0)])
        .damaged(&["tensor `a` has rows of 40 numbers, expected a multiple of 32, the block of Q8_0"]);
}

#[test]
fn tensors_that_overlap_leave_gaps_or_are_not_aligned_are_refused() {
    for offset in [0, 96, 124, 132, 160, u64::MAX] {
        let says = format!("tensor `b` begins at byte {offset} of the data, expected 128");
        File::sound().with_tensors(&[("a", &[8, 4], F32, 0), ("b", &[8], F32, offset)]).damaged(&[&says]);
    }
    File::sound().with_tensors(&[("a", &[8], F32, 32)]).damaged(&["begins at byte 32", "expected 0"]);
}

#[test]
fn a_tensor_beyond_the_end_of_the_file_is_refused() {
    File { data: 159, ..File::sound() }
        .damaged(&["tensor `b` ends at byte", "of the file, expected at most"]);
    File::sound().with_tensors(&[("a", &[1 << 40], F32, 0)]).damaged(&["tensor `a` ends at byte"]);
}

#[test]
fn an_architecture_that_is_not_known_is_named() {
    let mut file = File::sound();
    file.keys[0].2 = text("rwkv6");
    let (_folder, path, error) = load(&file.bytes());
    says_all(
        &error,
        &path,
        &[
            "`general.architecture` is \"rwkv6\"",
            "llama, gemma2, gemma3, gpt2, gptneox, olmo2, phi3, qwen2, qwen3 or smollm3",
        ],
    );
    file.keys.clear();
    let (_folder, path, error) = load(&file.bytes());
    says_all(&error, &path, &["key `general.architecture` is missing"]);
}

#[test]
fn a_missing_setting_is_named_by_its_key() {
    for key in ["llama.block_count", "llama.embedding_length", "llama.attention.layer_norm_rms_epsilon"] {
        bad_key("llama.gguf", |bytes| rename(bytes, key), &[&format!("key `{key}` is missing")]);
    }
}

#[test]
fn a_setting_that_is_not_known_is_refused() {
    bad_key(
        "llama.gguf",
        |bytes| rename(bytes, "llama.attention.head_count_kv"),
        &["key `llama.attention.head_count_k~` is 4", "only keys known for the architecture `llama`"],
    );
}

#[test]
fn all_settings_that_are_not_known_are_named_at_once() {
    bad_key(
        "llama.gguf",
        |bytes| {
            with_key(bytes, "llama.attention.scale", FLOAT32, &0.5_f32.to_le_bytes());
            with_key(bytes, "llama.logit_scale", FLOAT32, &0.25_f32.to_le_bytes());
        },
        &[
            "key `llama.attention.scale` is 0.5, expected only",
            "key `llama.logit_scale` is 0.25, expected only",
        ],
    );
}

#[test]
fn a_number_of_heads_that_differs_by_layer_is_refused() {
    for (file, key) in [
        ("llama.gguf", "llama.attention.head_count"),
        ("smollm3.gguf", "smollm3.attention.head_count_kv"),
        ("gpt-neox.gguf", "gptneox.attention.head_count"),
        ("qwen2.gguf", "qwen2.attention.head_count_kv"),
    ] {
        bad_key(
            file,
            |bytes| {
                hide(bytes, key);
                with_key(bytes, key, LIST, &list_of_i32(&[4, 4, 2]));
            },
            &[&format!("key `{key}` is [4, 4, 2], expected a whole number, the same for every layer")],
        );
    }
    bad_key(
        "llama.gguf",
        |bytes| set(bytes, "llama.attention.head_count_kv", &0_u32.to_le_bytes()),
        &["key `llama.attention.head_count_kv` is 0, expected a whole number above 0"],
    );
}

#[test]
fn two_names_of_a_setting_with_two_values_are_refused() {
    let f32 = |number: f32| number.to_le_bytes();
    for (file, key, kind, value, says) in [
        (
            "gemma3.gguf",
            "gemma3.rope.global.freq_base",
            FLOAT32,
            f32(1e6),
            "key `gemma3.rope.freq_base` is 20000 and key `gemma3.rope.global.freq_base` is 1000000, expected the same",
        ),
        (
            "gemma3.gguf",
            "gemma3.rope.local.freq_base",
            FLOAT32,
            f32(501.0),
            "key `gemma3.rope.freq_base_swa` is 500 and key `gemma3.rope.local.freq_base` is 501",
        ),
        (
            "qwen3.gguf",
            "qwen3.attention.head_dim",
            U32,
            8_u32.to_le_bytes(),
            "key `qwen3.attention.key_length` is 12 and key `qwen3.attention.head_dim` is 8",
        ),
        (
            "llama-linear.gguf",
            "llama.rope.scale_linear",
            FLOAT32,
            f32(1.5),
            "and key `llama.rope.scale_linear` is 1.5",
        ),
        (
            "llama.gguf",
            "llama.attention.layer_norm_epsilon",
            FLOAT32,
            f32(0.5),
            "key `llama.attention.layer_norm_epsilon` is 0.5, expected the layer_norm_rms_epsilon 0.001",
        ),
    ] {
        bad_key(file, |bytes| with_key(bytes, key, kind, &value), &[says]);
    }
}

/// Files for embeddings and rerankers have them.
#[test]
fn settings_of_what_is_made_of_the_states_are_not_refused() {
    let labels = [&TEXT.to_le_bytes()[..], &2_u64.to_le_bytes(), &text("yes"), &text("no")].concat();
    let mut bytes = std::fs::read(fixture::folder("gguf/qwen3.gguf")).unwrap();
    with_key(&mut bytes, "qwen3.pooling_type", U32, &3_u32.to_le_bytes());
    with_key(&mut bytes, "qwen3.classifier.output_labels", LIST, &labels);
    with_key(&mut bytes, "qwen3.attention.causal", FLAG, &[1]);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let load = |path: &Path| {
        let origin = Origin::of_folder(path);
        Model::load(origin, FloatFormat::F32, &inject_testing::any_device()).unwrap().decoder
    };
    let [found, expected] = [path, fixture::folder("gguf/qwen3.gguf")].map(|path| load(&path));
    assert_eq!(found.config(), expected.config());
}

#[test]
fn attention_to_later_tokens_is_refused() {
    bad_key(
        "qwen3.gguf",
        |bytes| with_key(bytes, "qwen3.attention.causal", FLAG, &[0]),
        &["key `qwen3.attention.causal` is false, expected true: attention to later tokens"],
    );
}

#[test]
fn a_setting_of_another_type_is_refused() {
    bad_key(
        "llama.gguf",
        |bytes| {
            // From U32 to F32.
            let kind = after(bytes, "llama.block_count");
            bytes[kind] = 6;
        },
        &["key `llama.block_count` is", "expected a whole number"],
    );
}

#[test]
fn a_number_that_is_not_finite_is_refused() {
    for number in [f32::NAN, f32::INFINITY] {
        for (file, key) in [
            ("llama.gguf", "llama.attention.layer_norm_rms_epsilon"),
            ("llama-linear.gguf", "llama.rope.scaling.factor"),
        ] {
            bad_key(
                file,
                |bytes| set(bytes, key, &number.to_le_bytes()),
                &[&format!("key `{key}` is"), "expected a finite number"],
            );
        }
    }
}

#[test]
fn a_size_of_nothing_is_refused() {
    for (file, key) in [
        ("llama.gguf", "llama.attention.head_count"),
        ("llama.gguf", "llama.block_count"),
        ("gpt-neox.gguf", "gptneox.attention.head_count"),
        ("gpt2.gguf", "gpt2.attention.head_count"),
    ] {
        bad_key(
            file,
            |bytes| set(bytes, key, &0_u32.to_le_bytes()),
            &[&format!("key `{key}` is 0, expected a whole number above 0")],
        );
    }
}

#[test]
fn a_rotation_of_another_kind_is_refused() {
    bad_key(
        "llama.gguf",
        |bytes| set(bytes, "llama.rope.dimension_count", &4_u32.to_le_bytes()),
        &["key `llama.rope.dimension_count` is 4, expected the width of a head, 8"],
    );
    bad_key(
        "llama-linear.gguf",
        |bytes| {
            let begin = after(bytes, "llama.rope.scaling.type") + 4 + 8;
            bytes[begin..begin + 6].copy_from_slice(b"yarnny");
        },
        &["key `llama.rope.scaling.type` is \"yarnny\", expected `none` or `linear`"],
    );
    bad_key(
        "phi4.gguf",
        |bytes| with_key(bytes, "phi3.rope.scaling.type", TEXT, &text("yarn")),
        &["key `phi3.rope.scaling.type` is \"yarn\", expected `none` or `longrope`"],
    );
}

#[test]
fn a_tokenizer_that_is_not_known_is_named() {
    bad_tokenizer_key(
        "gpt2.gguf",
        |bytes| set(bytes, "tokenizer.ggml.model", &[&4_u64.to_le_bytes(), b"bert".as_slice()].concat()),
        &["key `tokenizer.ggml.model` is \"bert\", expected `gpt2` or `llama`"],
    );
    bad_tokenizer_key(
        "gpt2.gguf",
        |bytes| set(bytes, "tokenizer.ggml.pre", &[&6_u64.to_le_bytes(), b"poncho".as_slice()].concat()),
        &["key `tokenizer.ggml.pre` is \"poncho\", expected one of gpt-2,", "llama-bpe"],
    );
}

#[test]
fn a_tokenizer_without_one_of_its_lists_is_refused() {
    for (file, key) in [
        ("gpt2.gguf", "tokenizer.ggml.tokens"),
        ("gpt2.gguf", "tokenizer.ggml.token_type"),
        ("gpt2.gguf", "tokenizer.ggml.merges"),
        ("gpt2.gguf", "tokenizer.ggml.pre"),
        ("llama.gguf", "tokenizer.ggml.scores"),
    ] {
        bad_tokenizer_key(file, |bytes| rename(bytes, key), &[&format!("key `{key}` is missing")]);
    }
}

/// The converter of llama.cpp names special tokens only if a file beside `tokenizer.model` does.
#[test]
fn special_tokens_of_a_sentence_piece_vocabulary_have_usual_ids() {
    let named = fixture::folder("gguf").join("llama.gguf");
    let mut bytes = std::fs::read(&named).unwrap();
    for key in ["unknown_token_id", "bos_token_id", "eos_token_id"] {
        rename(&mut bytes, &format!("tokenizer.ggml.{key}"));
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("unnamed.gguf");
    std::fs::write(&path, bytes).unwrap();
    let ids = |path: &Path| {
        let model =
            Model::load(Origin::of_folder(path), FloatFormat::F32, &inject_testing::any_device()).unwrap();
        model.tokenizer().unwrap().encode("On the \u{1F600} it", inject_models::Bos::Auto).unwrap()
    };
    assert_eq!(ids(&path), ids(&named));
}

#[test]
fn a_token_that_stands_twice_is_refused() {
    bad_tokenizer_key(
        "gpt2.gguf",
        |bytes| {
            let begin = after(bytes, "[unused1");
            bytes[begin - 1] = b'0';
        },
        &["key `tokenizer.ggml.tokens` is \"[unused0]\" at", "expected every token once"],
    );
}

/// A file with a SentencePiece vocabulary of these tokens, and its own scores and kinds for them.
fn sentence_piece(tokens: &[String]) -> File {
    let list = |kind: u32, items: Vec<u8>| {
        [&kind.to_le_bytes(), (tokens.len() as u64).to_le_bytes().as_slice(), &items].concat()
    };
    let kinds = tokens.iter().flat_map(|_| 1_i32.to_le_bytes()).collect();
    let scores = (0..tokens.len()).flat_map(|i| (-(i as f32)).to_le_bytes()).collect();
    File::sound()
        .with_key("tokenizer.ggml.model", TEXT, text("llama"))
        .with_key(
            "tokenizer.ggml.tokens",
            LIST,
            list(TEXT, tokens.iter().flat_map(|token| text(token)).collect()),
        )
        .with_key("tokenizer.ggml.token_type", LIST, list(I32, kinds))
        .with_key("tokenizer.ggml.scores", LIST, list(FLOAT32, scores))
        .with_key("tokenizer.ggml.unknown_token_id", U32, 0_u32.to_le_bytes())
        .with_key("tokenizer.ggml.add_bos_token", FLAG, [0])
}

/// Gives a model the tokenizer of a file, and returns the refusal, if it is one.
fn refused_tokenizer(file: &File) -> Option<String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tokenizer.gguf");
    std::fs::write(&path, file.bytes()).unwrap();
    let model = fixture::load("llama", FloatFormat::F32, &inject_testing::any_device());
    model.with_tokenizer(&path).err().map(|error| chain(&error))
}

/// Each prefix of a long token is a token, so that there are as many merges to it as it has letters. All of them together would
/// take the cube of that number.
#[test]
fn tokens_with_very_many_merges_are_refused() {
    let prefixes = |longest: usize| (1..=longest).map(|length| "a".repeat(length)).collect::<Vec<_>>();
    assert_eq!(refused_tokenizer(&sentence_piece(&prefixes(64))), None);
    let refused = refused_tokenizer(&sentence_piece(&prefixes(1000))).unwrap();
    assert!(refused.contains("the length of all merges is"), "{refused}");
}

#[test]
fn tokens_that_are_too_long_are_refused() {
    let tokens = ["<unk>".to_owned(), "a".repeat(1025)];
    let refused = refused_tokenizer(&sentence_piece(&tokens)).unwrap();
    assert!(refused.contains("the length of a token is 1025, expected at most 1024"), "{refused}");
    let refused = refused_tokenizer(&sentence_piece(&["?".repeat(65)])).unwrap();
    assert!(refused.contains("the length of the unknown token is 65, expected at most 64"), "{refused}");
}

#[test]
fn a_special_token_beyond_the_vocabulary_is_refused() {
    bad_tokenizer_key(
        "llama.gguf",
        |bytes| set(bytes, "tokenizer.ggml.bos_token_id", &97_u32.to_le_bytes()),
        &["key `tokenizer.ggml.bos_token_id` is 97, expected the id of one of 97 tokens"],
    );
}

#[test]
fn a_merge_of_one_part_is_refused() {
    bad_tokenizer_key(
        "gpt2.gguf",
        |bytes| {
            let begin = after(bytes, "tokenizer.ggml.merges") + 4 + 4 + 8 + 8;
            assert_eq!(&bytes[begin..begin + 3], b"a b");
            bytes[begin + 1] = b'_';
        },
        &["key `tokenizer.ggml.merges` is \"a_b\", expected two tokens"],
    );
}

#[test]
fn a_part_of_several_files_is_refused() {
    let mut file = std::fs::read(fixture::folder("gguf/llama.gguf")).unwrap();
    // The name of the model is a text of the same length as the new key and value.
    let begin = after(&file, "general.name") - "general.name".len() - 8;
    let name = "llama-bf16-shards";
    let end = after(&file, name);
    let key = [&11_u64.to_le_bytes(), b"split.count".as_slice(), &2_u32.to_le_bytes(), &3_u16.to_le_bytes()]
        .concat();
    let filler = (end - begin - key.len()).checked_sub(8 + 4 + 8).unwrap();
    let filler = [text(&"x".repeat(filler)), TEXT.to_le_bytes().to_vec(), text("")].concat();
    file.splice(begin..end, [key, filler].concat());
    let keys = u64::from_le_bytes(file[16..24].try_into().unwrap()) + 1;
    file[16..24].copy_from_slice(&keys.to_le_bytes());
    let (_folder, path, error) = load(&file);
    says_all(&error, &path, &["key `split.count` is 3", "llama-gguf-split --merge"]);
}

#[test]
fn weights_that_are_missing_surplus_or_not_finite_are_named() {
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(fixture::folder("gguf/phi3.gguf")).unwrap();
        edit(&mut bytes);
        load(&bytes)
    };
    let (_folder, path, error) = edited(&|bytes| rename(bytes, "blk.1.ffn_norm"));
    says_all(&error, &path, &["tensor `blk.1.ffn_norm.weight` is missing"]);
    let (_folder, path, error) = edited(&|bytes| {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    says_all(&error, &path, &["holds NaN at element"]);
    let (_folder, path, error) = edited(&|bytes| set(bytes, "phi3.block_count", &2_u32.to_le_bytes()));
    says_all(&error, &path, &["is not part of a `phi3` model"]);
}

#[test]
fn all_problems_of_the_settings_are_named_at_once() {
    let edit = |bytes: &mut Vec<u8>| {
        with_key(bytes, "llama.rope.scaling.type", TEXT, &text("yarn"));
        with_key(bytes, "llama.expert_count", U32, &8_u32.to_le_bytes());
        with_key(bytes, "llama.attention.causal", FLAG, &[0]);
        with_key(bytes, "llama.unknown", FLAG, &[0]);
        with_key(bytes, "split.count", U32, &3_u32.to_le_bytes());
    };
    let says = [
        "5 problems",
        "key `llama.rope.scaling.type` is \"yarn\"",
        "key `llama.expert_count` is 8",
        "key `llama.attention.causal` is false",
        "key `llama.unknown` is false",
        "key `split.count` is 3",
    ];
    bad_key("llama.gguf", edit, &says);
    // One that is missing brings no others with it.
    let says = ["gguf: key `llama.embedding_length` is missing"];
    bad_key("llama.gguf", |bytes| hide(bytes, "llama.embedding_length"), &says);
}

#[test]
fn errors_name_keys_and_tensors_as_the_file_does() {
    let three = 3_u32.to_le_bytes();
    let says = ["key `llama.attention.head_count_kv` is 3, expected a divisor"];
    bad_key("llama.gguf", |bytes| set(bytes, "llama.attention.head_count_kv", &three), &says);

    let mut bytes = std::fs::read(fixture::folder("gguf").join("llama.gguf")).unwrap();
    rename(&mut bytes, "blk.1.attn_q.weight");
    let (_folder, path, error) = load(&bytes);
    says_all(&error, &path, &["`blk.1.attn_q.weight` is missing", "`blk.1.attn_q.weigh~` ["]);

    let mut bytes = std::fs::read(fixture::folder("gguf").join("gpt2.gguf")).unwrap();
    set(&mut bytes, "gpt2.feed_forward_length", &three);
    let (_folder, path, error) = load(&bytes);
    says_all(&error, &path, &["`blk.0.ffn_up.weight` has shape", "`blk.0.ffn_down.weight` has shape"]);
    assert!(!error.to_string().contains("transformer.h"), "{error}");
}
