//! NumPy's `.npy`: the header, read strictly, and a writer.
//!
//! The crates npyz 0.9 and ndarray-npy 0.10 are not used. They allocate the length that a header states, up to 4 GiB, before they
//! read it, and parse it by py_literal, whose recursion a file of opening parentheses takes beyond the stack. Here every size is
//! compared with the length of the file first, and every error names its place.
//!
//! # Source
//!
//! NEP 1, "A Simple File Format for NumPy Arrays", and the versions 2.0 and 3.0 in
//! `numpy/lib/_format_impl.py`.

mod dictionary;

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use ndarray::ArrayView2;

use dictionary::{Dictionary, MemoryOrder};

use super::{
    ForeignError, ForeignProblem,
    arrays::{Archive, Array, Content},
};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is read: the longest of version 1.0. Longer ones are for arrays of records.
const MAX_HEADER: u64 = u16::MAX as u64;

/// The name of the array in errors. The format gives it none.
pub(super) const TENSOR: &str = "the array";

/// Writes states as `.npy`, version 1.0, `<f4`, in C order.
///
/// # Shapes
///
/// `states`: `[row, d_model]`, in any memory order.
///
/// # Errors
///
/// [`ForeignError`] if the file cannot be written, or if [`StatesFile`](super::StatesFile)
/// could not read it: an array without values, NaN or infinity. No file is created then.
pub fn write_npy(path: impl AsRef<Path>, states: ArrayView2<'_, f32>) -> Result<(), ForeignError> {
    let path = path.as_ref();
    checked(states)
        .and_then(|()| Ok(write(File::create(path)?, states)?))
        .map_err(|problem| ForeignError { path: path.to_owned(), problem })
}

fn checked(states: ArrayView2<'_, f32>) -> Result<(), ForeignProblem> {
    if states.is_empty() {
        return Err(ForeignProblem::Empty { tensor: TENSOR.to_owned(), shape: states.shape().to_vec() });
    }
    match states.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, dimension), &value)) => {
            let value = f64::from(value);
            Err(ForeignProblem::NotFinite { tensor: TENSOR.to_owned(), column: 0, row, dimension, value })
        }
        None => Ok(()),
    }
}

fn write(file: File, states: ArrayView2<'_, f32>) -> std::io::Result<()> {
    let (rows, d_model) = states.dim();
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {d_model}), }}");
    // Ten bytes before the dictionary and a line break after it: the values begin at a multiple of 64.
    let length = (10 + dictionary.len() + 1).next_multiple_of(64) - 10;
    let mut writer = BufWriter::new(file);
    writer.write_all(MAGIC)?;
    writer.write_all(&[1, 0])?;
    writer.write_all(&(length as u16).to_le_bytes())?;
    writeln!(writer, "{dictionary:<width$}", width = length - 1)?;
    for value in states {
        writer.write_all(&value.to_le_bytes())?;
    }
    writer.flush()
}

/// Reads the header at the beginning of `length` bytes that begin at `start` of a content.
pub(super) fn read_array(
    content: &mut Content,
    index: usize,
    name: &str,
    start: u64,
    length: u64,
) -> Result<Array, ForeignProblem> {
    content.seek(SeekFrom::Start(start))?;
    let cut_off = |expected| ForeignProblem::HeaderCutOff { found: length, expected };
    let mut magic = [0; 8];
    if length < 8 {
        return Err(cut_off(8));
    }
    content.read_exact(&mut magic)?;
    let [magic @ .., major, minor] = magic;
    if &magic != MAGIC {
        return Err(ForeignProblem::NpyMagic);
    }
    // The number of bytes that hold the length of the dictionary.
    let prefix = match (major, minor) {
        (1, 0) => 2,
        (2 | 3, 0) => 4,
        _ => return Err(ForeignProblem::NpyVersion { major, minor }),
    };
    if length < 8 + prefix {
        return Err(cut_off(8 + prefix));
    }
    let mut header_length = [0; 4];
    content.read_exact(&mut header_length[..prefix as usize])?;
    let header_length = u64::from(u32::from_le_bytes(header_length));
    if header_length > MAX_HEADER {
        return Err(ForeignProblem::HeaderTooLong { found: header_length, limit: MAX_HEADER });
    }
    let header = 8 + prefix + header_length;
    if length < header {
        return Err(cut_off(header));
    }
    let mut text = vec![0; header_length as usize];
    content.read_exact(&mut text)?;
    let Dictionary { elements, order, shape } = Dictionary::parse(&text)?;

    // Only the values of numbers that can be read have a known size.
    if let Some(size) = elements.bytes() {
        // A product of 128 bits can overflow too; what does not fit is longer than any file.
        let values = shape.iter().try_fold(1u128, |product, &axis| product.checked_mul(axis as u128));
        let bytes = values.and_then(|values| values.checked_mul(size as u128)).unwrap_or(u128::MAX);
        let expected = bytes.saturating_add(u128::from(header));
        if expected != u128::from(length) {
            return Err(ForeignProblem::Length { expected, found: length });
        }
    }
    let array = Array::contiguous(name, elements, &shape, index, start + header);
    Ok(match order {
        MemoryOrder::C => array,
        MemoryOrder::Fortran => array.in_fortran_order(),
    })
}

pub(super) fn read(mut content: Content) -> Result<Archive, ForeignProblem> {
    let length = content.length()?;
    let array = read_array(&mut content, 0, TENSOR, 0, length)?;
    Ok(Archive {
        contents: vec![content],
        arrays: vec![array],
        lists: HashMap::new(),
        metadata: HashMap::new(),
    })
}
