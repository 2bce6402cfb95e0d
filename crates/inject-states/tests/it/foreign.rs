//! Files that PyTorch, NumPy and Arrow wrote; `fixtures/foreign/generate.py` says how.

use std::path::{Path, PathBuf};

use inject_states::{
    foreign::{Axes, ColumnChoice, ReadOptions, StatesFile, write_npy},
    models::Tap,
};
use ndarray::Array2;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    states: std::collections::BTreeMap<String, ExpectedStates>,
    refused: std::collections::BTreeMap<String, String>,
    #[cfg(feature = "parquet")]
    prompts: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct ExpectedStates {
    dtype: String,
    rows: usize,
    d_model: usize,
    columns: Vec<String>,
    taps: Option<Vec<Tap>>,
    token_ids: Option<Vec<u32>>,
    axes: Option<String>,
}

impl ExpectedStates {
    /// The bits of the values, so that the two zeros differ.
    fn bits(&self, column: usize) -> Vec<u64> {
        let digits = self.columns[column].as_bytes().chunks(16);
        digits.map(|value| parse_bits(value).expect("sixteen hexadecimal digits")).collect()
    }
}

fn parse_bits(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/foreign")
}

fn expected() -> Expected {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).expect("the fixture is readable");
    serde_json::from_str(&text).expect("the fixture has this form")
}

fn bits(states: &Array2<f64>) -> Vec<u64> {
    states.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_file_of_states_is_read_to_the_last_bit() {
    let expected = expected().states;
    assert_eq!(expected.len(), 26);
    for (name, expected) in expected {
        let path = fixtures().join(&name);
        let mut file = match expected.axes.as_deref() {
            None => StatesFile::open(&path),
            Some("TokenTap") => StatesFile::open_with(&path, &ReadOptions::new().axes(Axes::TokenTap)),
            Some(_) => StatesFile::open_with(&path, &ReadOptions::new().axes(Axes::TapToken)),
        }
        .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(file.dtype().to_string(), expected.dtype.to_lowercase(), "{name}");
        assert_eq!((file.rows(), file.d_model()), (expected.rows, expected.d_model), "{name}");
        assert_eq!(file.columns(), expected.columns.len(), "{name}");
        assert_eq!(file.taps(), expected.taps.as_deref(), "{name}");
        assert_eq!(file.token_ids(), expected.token_ids.as_deref(), "{name}");
        // Backwards, so that the reader must find its place again.
        for column in (0..file.columns()).rev() {
            let states = file.column(ColumnChoice::Index(column)).unwrap();
            assert_eq!(states.dim(), (expected.rows, expected.d_model), "{name}");
            assert_eq!(bits(&states), expected.bits(column), "{name}, column {column}");
        }
    }
}

#[test]
fn a_column_is_found_by_its_tap() {
    let expected = &expected().states["named.safetensors"];
    let mut file = StatesFile::open(fixtures().join("named.safetensors")).unwrap();
    for (column, tap) in [Tap::Embedding, Tap::Block(2), Tap::FinalNorm].into_iter().enumerate() {
        assert_eq!(bits(&file.column(ColumnChoice::Tap(tap)).unwrap()), expected.bits(column), "{tap}");
    }
}

#[test]
fn a_column_that_is_not_there_is_refused() {
    let message = |name: &str, choice| {
        let error = StatesFile::open(fixtures().join(name)).unwrap().column(choice).unwrap_err();
        error.problem.to_string()
    };
    assert_eq!(
        message("named.safetensors", ColumnChoice::Tap(Tap::Block(1))),
        "no tap block-1: the file has embedding, block-2, final-norm"
    );
    assert_eq!(
        message("vllm.safetensors", ColumnChoice::Tap(Tap::Block(1))),
        "the file does not say which column is tap block-1: the caller must say it by index"
    );
    assert_eq!(
        message("vllm.safetensors", ColumnChoice::Only),
        "the file has 3 columns: the caller must say which (`hidden_states`, tap 0, `hidden_states`, tap 1, \
         `hidden_states`, tap 2)"
    );
    assert_eq!(
        message("vllm.safetensors", ColumnChoice::Index(3)),
        "no column 3: the file has 3, counted from 0"
    );
}

#[test]
fn every_file_that_cannot_be_read_is_refused_for_its_reason() {
    let refused = expected().refused;
    assert_eq!(refused.len(), 15);
    for (name, expected) in refused {
        let path = fixtures().join(&name);
        let problem = if name.ends_with(".parquet") {
            if !cfg!(feature = "parquet") {
                continue;
            }
            format!("{:?}", inject_states::prompts::read_prompts(path).unwrap_err().problem)
        } else {
            format!("{:?}", StatesFile::open(path).unwrap_err().problem)
        };
        assert!(problem.starts_with(&expected), "{name}: {problem}");
    }
}

#[test]
fn the_same_bytes_are_written_as_numpy_writes() {
    let original = fixtures().join("f4-little-c.npy");
    let states = StatesFile::open(&original).unwrap().column(ColumnChoice::Only).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.npy");
    write_npy(&copy, states.mapv(|value| value as f32).view()).unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), std::fs::read(original).unwrap());
}

#[cfg(feature = "parquet")]
#[test]
fn every_table_of_prompts_is_read() {
    let expected = expected().prompts;
    assert_eq!(expected.len(), 5);
    for (name, expected) in expected {
        let prompts = inject_states::prompts::read_prompts(fixtures().join(&name));
        assert_eq!(prompts.unwrap_or_else(|error| panic!("{error}")), expected, "{name}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn no_damaged_byte_of_a_table_makes_the_reader_panic() {
    let content = std::fs::read(fixtures().join("null.parquet")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.parquet");
    for place in 0..content.len() {
        for byte in [0x00, 0x7f, 0xff] {
            let mut damaged = content.clone();
            damaged[place] = byte;
            std::fs::write(&path, damaged).unwrap();
            let _ = inject_states::prompts::read_prompts(&path);
        }
    }
}

#[test]
fn states_are_read_only_at_the_taps_and_width_of_the_file() {
    let open = |name: &str| StatesFile::open(fixtures().join(name)).unwrap();
    let message =
        |name: &str, tap, d_model| open(name).states_at(tap, d_model).unwrap_err().problem.to_string();
    let expected = &expected().states["named.safetensors"];
    let width = expected.d_model;
    let states = open("named.safetensors").states_at(Tap::Block(2), width).unwrap();
    assert_eq!(bits(&states), expected.bits(1));
    assert_eq!(
        message("named.safetensors", Tap::Block(1), width),
        "no tap block-1: the file has embedding, block-2, final-norm"
    );
    assert_eq!(
        message("named.safetensors", Tap::Block(2), 768),
        format!("`hidden_states` holds states of width {width}, expected 768")
    );
    // One column without a name: the caller's word counts.
    let mut unnamed = open("f4-little-c.npy");
    let width = unnamed.d_model();
    assert!(
        unnamed.states_at(Tap::Block(1), width).is_ok() && unnamed.states_at(Tap::FinalNorm, width).is_ok()
    );
    assert!(message("f4-little-c.npy", Tap::Block(1), width + 1).contains("expected"));
}
