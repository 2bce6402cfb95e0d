//! One test for each way a file can be malformed.

mod container;
mod properties;

use std::{fs, path::PathBuf};

use ndarray::{Array2, array};
use tempfile::TempDir;

use super::*;

/// A file with this name and content, in a folder that lives as long as the first value.
fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

/// Returns the problem with the header of this file.
fn problem(name: &str, content: &[u8]) -> ForeignProblem {
    let (_folder, path) = file(name, content);
    let error = StatesFile::open(&path).unwrap_err();
    assert_eq!(error.path, path);
    assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
    error.problem
}

/// Returns a `.safetensors` file of this header and `data` zeros.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

fn npy(version: [u8; 2], header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u32).to_le_bytes();
    let length = if version[0] == 1 { &length[..2] } else { &length[..] };
    [b"\x93NUMPY", &version[..], length, header.as_bytes(), &vec![0; data]].concat()
}

const STATES: &str = r#""states":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}"#;

/// A header of `STATES` and `token_ids` of this dtype and shape.
fn with_ids(dtype: &str, shape: &str, end: usize) -> String {
    format!(r#"{{{STATES},"token_ids":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[24,{end}]}}}}"#)
}

/// Asserts that opening `content` gives a problem of this form.
macro_rules! refused {
    ($name:expr, $content:expr, $form:pat) => {{
        let problem = problem($name, $content);
        assert!(matches!(problem, $form), "{problem:?}: {problem}");
    }};
}

use refused;

#[test]
fn a_file_without_states_lists_its_tensors() {
    refused!("a.safetensors", &safetensors("{}", 0), ForeignProblem::NoStates { .. });
    let two = format!("{{{},{}}}", STATES.replace("states", "a"), STATES.replace("states", "b"));
    let two = two.replace(
        r#""b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]"#,
        r#""b":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]"#,
    );
    let content = safetensors(&two, 48);
    match problem("a.safetensors", &content) {
        ForeignProblem::NoStates { found } => assert_eq!(found, ["`a` [2, 3]", "`b` [2, 3]"]),
        other => panic!("{other}"),
    }
    let (_folder, path) = file("a.safetensors", &content);
    assert_eq!(StatesFile::open_with(&path, &ReadOptions::new().tensor("b")).unwrap().rows(), 2);
    let problem = StatesFile::open_with(&path, &ReadOptions::new().tensor("c")).unwrap_err().problem;
    assert!(problem.to_string().ends_with("the file has `a` [2, 3], `b` [2, 3]"), "{problem}");
}

#[test]
fn the_only_tensor_of_floats_is_the_states_whatever_its_name() {
    let header = format!("{{{}}}", STATES.replace("states", "activations"));
    let (_folder, path) = file("a.safetensors", &safetensors(&header, 24));
    assert_eq!(StatesFile::open(path).unwrap().rows(), 2);
}

#[test]
fn a_file_with_two_tensors_of_states_is_refused() {
    let second = r#""hidden_states":{"dtype":"F32","shape":[1],"data_offsets":[24,28]}"#;
    refused!("a.safetensors", &safetensors(&format!("{{{STATES},{second}}}"), 28), ForeignProblem::TwoStates);
}

#[test]
fn states_of_an_integer_or_an_eight_bit_dtype_are_refused() {
    for dtype in ["I32", "U32", "C64", "F8_E4M3"] {
        let bytes = if dtype == "C64" { 48 } else { 24 };
        let shape = if dtype == "F8_E4M3" { "[8,3]" } else { "[2,3]" };
        let header =
            format!(r#"{{"states":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{bytes}]}}}}"#);
        refused!("a.safetensors", &safetensors(&header, bytes), ForeignProblem::Dtype { .. });
    }
}

#[test]
fn token_ids_of_a_dtype_that_is_no_integer_are_refused() {
    refused!("a.safetensors", &safetensors(&with_ids("F32", "[2]", 32), 32), ForeignProblem::Dtype { .. });
    refused!("a.safetensors", &safetensors(&with_ids("BOOL", "[2]", 26), 26), ForeignProblem::Dtype { .. });
}

#[test]
fn token_ids_of_another_shape_are_refused() {
    let content = safetensors(&with_ids("I32", "[1,1,2]", 32), 32);
    refused!("a.safetensors", &content, ForeignProblem::TokenIdsShape { .. });
    // Two prompts of one token, beside states of one prompt.
    let content = safetensors(&with_ids("I32", "[2,1]", 32), 32);
    refused!("a.safetensors", &content, ForeignProblem::Mismatch { n_prompts: Some(2), .. });
}

#[test]
fn more_rows_than_ids_are_refused_and_fewer_are_not() {
    let mut content = safetensors(&with_ids("I32", "[1]", 28), 28);
    let last = content.len() - 8;
    content[last] = 1;
    refused!("a.safetensors", &content, ForeignProblem::MoreRows { rows: 2, ids: 1 });
    let (_folder, path) = file("a.safetensors", &safetensors(&with_ids("I32", "[3]", 36), 36));
    let states = StatesFile::open(path).unwrap();
    assert_eq!((states.rows(), states.token_ids().unwrap().len()), (2, 3));
}

#[test]
fn rows_of_zeros_at_the_end_are_padding() {
    let mut content = safetensors(&with_ids("I32", "[1]", 28), 28);
    let first = content.len() - 28;
    content[first] = 1;
    let (_folder, path) = file("a.safetensors", &content);
    assert_eq!(StatesFile::open(path).unwrap().rows(), 1);
}

#[test]
fn token_ids_of_every_integer_dtype_are_read() {
    for (dtype, bytes) in
        [("I8", 1), ("U8", 1), ("I16", 2), ("U16", 2), ("I32", 4), ("U32", 4), ("I64", 8), ("U64", 8)]
    {
        let end = 24 + 2 * bytes;
        let mut content = safetensors(&with_ids(dtype, "[1,2]", end), end);
        let last = content.len() - bytes;
        content[last] = 0x7f;
        let (_folder, path) = file("a.safetensors", &content);
        assert_eq!(StatesFile::open(path).unwrap().token_ids().unwrap(), [0, 0x7f], "{dtype}");
    }
}

#[test]
fn a_token_id_outside_u32_is_named() {
    for (dtype, bytes, id, found) in [
        ("I8", 1, &(-1i8).to_le_bytes()[..], -1),
        ("I64", 8, &i64::MIN.to_le_bytes(), i128::from(i64::MIN)),
        ("I64", 8, &(1i64 << 32).to_le_bytes(), 1 << 32),
        ("U64", 8, &u64::MAX.to_le_bytes(), i128::from(u64::MAX)),
    ] {
        let end = 24 + 2 * bytes;
        let mut content = safetensors(&with_ids(dtype, "[2]", end), end - bytes);
        content.extend(id);
        match problem("a.safetensors", &content) {
            ForeignProblem::TokenId { position: 1, found: id } => assert_eq!(id, found),
            other => panic!("{dtype}: {other}"),
        }
    }
}

#[test]
fn metadata_that_names_no_tap_or_one_tap_twice_is_refused() {
    let with = |metadata: &str| safetensors(&format!(r#"{{"__metadata__":{{{metadata}}},{STATES}}}"#), 24);
    for metadata in [r#""tap":"7""#, r#""tap":"block-1,block-2""#, r#""taps":"""#, r#""taps":"block-1,""#] {
        refused!("a.safetensors", &with(metadata), ForeignProblem::TapName { .. });
    }
    // A caller who knows the tap needs no name, but two of one tap are a mistake of the file.
    let known = |metadata: &str| {
        let (_folder, path) = file("a.safetensors", &with(metadata));
        StatesFile::open_with(path, &ReadOptions::new().tap_is_known())
    };
    assert_eq!(known(r#""tap":"7""#).unwrap().taps(), None);
    let twice = known(r#""taps":"block-1,block-1""#).unwrap_err();
    assert!(twice.to_string().contains("block-1"), "{twice}");
    refused!("a.safetensors", &with(r#""taps":"block-1,block-1""#), ForeignProblem::RepeatedTap { .. });
    refused!("a.safetensors", &with(r#""taps":"block-1","tap":"block-1""#), ForeignProblem::TapAndTaps);
    refused!("a.safetensors", &with(r#""tap":7"#), ForeignProblem::SafetensorsHeader { .. });
    refused!(
        "a.safetensors",
        &with(r#""taps":"block-1,block-2""#),
        ForeignProblem::Mismatch { n_taps: Some(2), .. }
    );
}

#[test]
fn a_value_that_is_not_finite_is_named_with_its_place() {
    for bits in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(f32::to_bits) {
        let mut content = safetensors(&format!("{{{STATES}}}"), 24);
        let place = content.len() - 8;
        content[place..place + 4].copy_from_slice(&bits.to_le_bytes());
        let (_folder, path) = file("a.safetensors", &content);
        let error = StatesFile::open(path).unwrap().column(ColumnChoice::Only).unwrap_err();
        assert!(
            matches!(error.problem, ForeignProblem::NotFinite { row: 1, dimension: 1, column: 0, .. }),
            "{error}"
        );
    }
}

#[test]
fn what_exceeded_f16_is_read_as_the_least_that_does() {
    use half::f16;
    let read = |value: f16| {
        let mut content = npy([1, 0], "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3)}", 12);
        let place = content.len() - 4;
        content[place..place + 2].copy_from_slice(&value.to_le_bytes());
        let (_folder, path) = file("a.npy", &content);
        StatesFile::open(path).unwrap().column(ColumnChoice::Only)
    };
    for (value, expected) in [(f16::INFINITY, 65_520.0), (f16::NEG_INFINITY, -65_520.0), (f16::MAX, 65_504.0)]
    {
        assert_eq!(read(value).unwrap()[[1, 1]], expected);
    }
    let error = read(f16::NAN).unwrap_err();
    assert!(matches!(error.problem, ForeignProblem::NotFinite { row: 1, dimension: 1, .. }), "{error}");
}

#[test]
fn a_value_that_is_not_finite_in_fortran_order_is_named_with_its_place() {
    let mut content = npy([1, 0], "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", 24);
    let place = content.len() - 12;
    content[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let (_folder, path) = file("a.npy", &content);
    let error = StatesFile::open(path).unwrap().column(ColumnChoice::Only).unwrap_err();
    assert!(matches!(error.problem, ForeignProblem::NotFinite { row: 1, dimension: 1, .. }), "{error}");
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_refused() {
    let (_folder, path) = file("a.safetensors", &safetensors(&format!("{{{STATES}}}"), 24));
    let mut states = StatesFile::open(&path).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(20).unwrap();
    let error = states.column(ColumnChoice::Only).unwrap_err();
    assert!(matches!(error.problem, ForeignProblem::Io(_)), "{error}");
}

#[test]
fn what_cannot_be_read_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let error = write_npy(&path, Array2::zeros((0, 3)).view()).unwrap_err();
    assert!(matches!(error.problem, ForeignProblem::Empty { .. }), "{error}");
    let error = write_npy(&path, array![[0.0, 1.0], [f32::NAN, 0.0]].view()).unwrap_err();
    assert!(matches!(error.problem, ForeignProblem::NotFinite { row: 1, dimension: 0, .. }), "{error}");
    assert!(!path.exists());
}
