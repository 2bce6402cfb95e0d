//! The values of stored tensors: read in pieces and converted on the way, or mapped where they are.

use std::{io, sync::Arc};

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::{Checkpoint, Damage, StoredAs, Values, header};
use crate::{
    decoder::{Codes, MappedLayout, PlainMatrix, Segment},
    error::ModelError,
    format::FloatFormat,
};

/// A matrix where it is in its file.
pub(super) struct Place {
    pub(super) shape: [usize; 2],
    pub(super) rows: StoredRows,
}

/// The form of such a matrix.
pub(super) enum StoredRows {
    /// Numbers of one format, in segments of consecutive rows.
    Plain(FloatFormat, Vec<Segment>),
    /// Codes of numbers.
    Coded(Arc<dyn Codes>),
}

/// Values in one piece of a stream: enough to read fast, and few beside any weight matrix.
const PIECE: usize = 1 << 18;

impl Checkpoint {
    /// Passes all values of a tensor to `sink`, in row-major order, in pieces of whole rows of `row` values, each
    /// with the number of its first value.
    ///
    /// # Panics
    ///
    /// Panics if the tensor is not in the checkpoint: check it first.
    pub(super) fn stream(
        &self,
        name: &str,
        row: usize,
        mut sink: impl FnMut(usize, &[f32]),
    ) -> Result<(), ModelError> {
        let entry = &self.tensors[name];
        let file = &self.files[entry.file];
        let checked = |first: usize, values: &[f32]| {
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                return Err(ModelError::NotFinite {
                    path: file.path.clone(),
                    tensor: self.own_name(name),
                    element: first + at,
                    found: f64::from(values[at]),
                });
            }
            sink(first, values);
            Ok(())
        };
        match (&entry.stored, &file.values) {
            (StoredAs::Gguf(stored), Values::Gguf(map)) => stored.stream(map, &entry.shape, PIECE, checked),
            (StoredAs::Restored(stored), _) => {
                stored.stream(self, &entry.shape, PIECE.next_multiple_of(row), checked)
            }
            (StoredAs::Float(float), _) => self.stream_floats(name, *float, row, checked),
            (StoredAs::Other(_) | StoredAs::Gguf(_), _) => Err(ModelError::TensorDtype {
                path: file.path.clone(),
                tensor: self.own_name(name),
                found: entry.stored.to_string(),
            }),
        }
    }

    /// Does the same for a tensor of plain numbers.
    fn stream_floats(
        &self,
        name: &str,
        float: FloatFormat,
        row: usize,
        mut checked: impl FnMut(usize, &[f32]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let entry = &self.tensors[name];
        let file = &self.files[entry.file];
        let io_error = |source| ModelError::Read { path: file.path.clone(), source };
        let size = float.bytes();
        let len = entry.shape.iter().product::<usize>();
        let piece = PIECE.next_multiple_of(row);
        let mut converted = vec![0_f32; piece.min(len)];
        let mut pass_on = |first: usize, bytes: &[u8]| {
            let values = &mut converted[..bytes.len() / size];
            float.decode(bytes, values);
            checked(first, values)
        };
        match &file.values {
            Values::Safetensors(handle) => {
                let mut bytes = vec![0_u8; piece.min(len) * size];
                for first in (0..len).step_by(piece) {
                    let bytes = &mut bytes[..piece.min(len - first) * size];
                    header::read_at(handle, bytes, entry.begin + (first * size) as u64).map_err(io_error)?;
                    pass_on(first, bytes)?;
                }
                Ok(())
            }
            Values::Pytorch(reader) => {
                let tensor = reader.get(name).ok_or_else(|| ModelError::Damaged {
                    path: file.path.clone(),
                    source: Damage::Lost { tensor: name.to_owned() },
                })?;
                let bytes = tensor.read().map_err(io_error)?;
                if bytes.len() != len * size {
                    return Err(ModelError::Damaged {
                        path: file.path.clone(),
                        source: Damage::Size {
                            tensor: name.to_owned(),
                            found: bytes.len(),
                            expected: len * size,
                        },
                    });
                }
                bytes.chunks(piece * size).enumerate().try_for_each(|(i, bytes)| pass_on(i * piece, bytes))
            }
            Values::Gguf(_) => unreachable!("no other tensors are in a GGUF file"),
        }
    }

    /// Returns whether two tensors have other shapes or values.
    ///
    /// # Panics
    ///
    /// Panics if one of them is not in the checkpoint.
    pub(super) fn differ(&self, a: &str, b: &str) -> Result<bool, ModelError> {
        Ok(self.tensors[a].shape != self.tensors[b].shape || self.sum_of(a)? != self.sum_of(b)?)
    }

    /// Returns the SHA-256 of the shape and the values of a tensor. Those of a format that is not read are left out.
    ///
    /// # Panics
    ///
    /// Panics if it is not in the checkpoint.
    pub(super) fn sum_of(&self, name: &str) -> Result<[u8; 32], ModelError> {
        let entry = &self.tensors[name];
        let mut hasher = Sha256::new();
        hasher.update(format!("{:?}", entry.shape));
        match &entry.stored {
            StoredAs::Other(format) => hasher.update(format),
            StoredAs::Float(_) | StoredAs::Gguf(_) | StoredAs::Restored(_) => {
                self.stream(name, 1, |_, piece| {
                    for value in piece {
                        hasher.update(value.to_le_bytes());
                    }
                })?;
            }
        }
        Ok(hasher.finalize().into())
    }

    /// Returns the place of a matrix, whose file is mapped, if it can be used there.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be mapped or read.
    pub(super) fn mapped(&self, name: &str) -> Result<Option<Place>, ModelError> {
        let Some(entry) = self.tensors.get(name).filter(|entry| self.stays(entry)) else { return Ok(None) };
        let [rows, width] = entry.shape[..] else { return Ok(None) };
        let stored = match (&entry.stored, &self.files[entry.file].values) {
            (StoredAs::Gguf(stored), Values::Gguf(map)) => stored.rows(map, [rows, width]),
            (StoredAs::Restored(stored), _) => StoredRows::Coded(Arc::new(stored.rows(self, [rows, width])?)),
            (StoredAs::Float(format), _) => {
                let map = self.map(entry.file, entry.begin, (rows * width * format.bytes()) as u64)?;
                StoredRows::Plain(*format, vec![Segment { map, begin: entry.begin as usize, rows }])
            }
            _ => return Ok(None),
        };
        Ok(Some(Place { shape: [rows, width], rows: stored }))
    }

    /// Maps a safetensors file, and checks that it still has some of its bytes.
    pub(super) fn map(&self, file: usize, begin: u64, len: u64) -> Result<Arc<Mmap>, ModelError> {
        let file = &self.files[file];
        let Values::Safetensors(handle) = &file.values else {
            unreachable!("only safetensors files are mapped here")
        };
        let read_error = |source| ModelError::Read { path: file.path.clone(), source };
        let map = match file.map.get() {
            Some(map) => Arc::clone(map),
            None => {
                // SAFETY: the map is only read. That no other program truncates or rewrites the file as long as the model exists
                // is the documented condition of `Hold::Stored`.
                let map = unsafe { Mmap::map(handle) }
                    .map_err(|source| ModelError::of_map(&file.path, handle, source))?;
                Arc::clone(file.map.get_or_init(|| Arc::new(map)))
            }
        };
        // The header was checked against the length of the file as it was then.
        if begin + len > map.len() as u64 {
            return Err(read_error(io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter")));
        }
        Ok(map)
    }
}

impl Place {
    /// The segments of plain numbers.
    pub(super) fn segments(self) -> Vec<Segment> {
        match self.rows {
            StoredRows::Plain(_, segments) => segments,
            StoredRows::Coded(_) => Vec::new(),
        }
    }

    /// The matrix as codes, whatever its form.
    pub(super) fn codes(self) -> Arc<dyn Codes> {
        match self.rows {
            StoredRows::Plain(format, segments) => {
                Arc::new(PlainMatrix::of_segments(format, MappedLayout::ByOutput, self.shape[1], segments))
            }
            StoredRows::Coded(codes) => codes,
        }
    }
}
