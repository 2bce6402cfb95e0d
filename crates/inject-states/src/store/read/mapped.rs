//! A finished safetensors file, memory-mapped and checked.

use std::{fs::File, ops::Range, path::Path, path::PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::Metadata;

use crate::store::{
    error::StoreError,
    layout::{FileSpec, PREFIX, TensorSpec},
};

#[cfg(target_endian = "big")]
compile_error!("a store is read in place, and its numbers are little-endian");

/// A file of a store whose header agrees with its length and with the manifest.
#[derive(Debug)]
pub(crate) struct Mapped {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors lie in the map, in the order of the [`FileSpec`].
    tensors: Vec<Range<usize>>,
}

impl Mapped {
    /// Maps the file that `spec` describes.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] that says what is other than it should be.
    pub(crate) fn open(dir: &Path, spec: &FileSpec) -> Result<Self, StoreError> {
        let path = spec.path(dir);
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        // SAFETY: a store is never changed once it is finished, and this crate opens only finished ones. That no
        // other program truncates or rewrites its files meanwhile is the documented condition of `Store`.
        let map = unsafe { Mmap::map(&file) }.map_err(StoreError::io("map", &path))?;
        let (data, header) = parse_header(&path, &map)?;
        check_metadata(&path, &header, spec)?;
        check_tensors(&path, &header, spec)?;
        let place = |tensor: &TensorSpec| {
            let (begin, end) = header.info(tensor.name).map(|info| info.data_offsets).unwrap_or_default();
            let place = data + begin..data + end;
            match place.start % tensor.element() {
                0 => Ok(place),
                _ => Err(StoreError::Misaligned {
                    path: path.clone(),
                    tensor: tensor.name,
                    found: place.start,
                    expected: tensor.element(),
                }),
            }
        };
        let tensors = spec.tensors.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Mapped { path, map, tensors })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a tensor, by its number in the [`FileSpec`].
    pub(crate) fn bytes(&self, tensor: usize) -> &[u8] {
        &self.map[self.tensors[tensor].clone()]
    }

    /// Returns where the data of a tensor begins in the file.
    pub(crate) fn begin(&self, tensor: usize) -> usize {
        self.tensors[tensor].start
    }

    /// Lets go of the memory that reading has filled. What is read afterwards comes from the file again.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        {
            // SAFETY: the map is read-only and of a file, so that a page which is dropped comes back as it was.
            let advised = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            // A system that does not take the advice holds the pages for longer; nothing depends on it.
            drop(advised);
        }
    }

    /// The elements of a tensor, by its number in the [`FileSpec`].
    ///
    /// # Panics
    ///
    /// When the elements are larger than those of the tensor's dtype.
    pub(crate) fn elements<T: Element>(&self, tensor: usize) -> &[T] {
        // SAFETY: every bit pattern is an `Element`. The lifetime is that of the map.
        let (before, elements, after) = unsafe { self.bytes(tensor).align_to::<T>() };
        assert!(before.is_empty() && after.is_empty(), "the tensor was checked to be aligned");
        elements
    }
}

/// A number that may be read from any bytes.
///
/// # Safety
///
/// Every bit pattern of the size of the type is a value of it, and it has no padding.
pub(crate) unsafe trait Element: Copy {}

// SAFETY: primitive integers.
unsafe impl Element for i32 {}
// SAFETY: as above.
unsafe impl Element for u32 {}
// SAFETY: as above.
unsafe impl Element for i64 {}
// SAFETY: every pattern is a float; NaNs have many.
unsafe impl Element for f32 {}
// SAFETY: transparent around u16.
unsafe impl Element for f16 {}
// SAFETY: as above.
unsafe impl Element for bf16 {}

/// Reads the header, and checks that the file is exactly as long as it says.
///
/// Returns where the data begins, and the header.
fn parse_header(path: &Path, bytes: &[u8]) -> Result<(usize, Metadata), StoreError> {
    let size =
        |expected: u64| StoreError::FileSize { path: path.to_owned(), found: bytes.len() as u64, expected };
    let (length, rest) = bytes.split_first_chunk::<PREFIX>().ok_or_else(|| size(PREFIX as u64))?;
    let length = u64::from_le_bytes(*length);
    let json = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let json = json.ok_or_else(|| size(length.saturating_add(PREFIX as u64)))?;
    // Deserializing checks that dtypes, shapes and offsets agree, and that the tensors leave no gaps.
    let header: Metadata = serde_json::from_slice(json)
        .map_err(|source| StoreError::Header { path: path.to_owned(), source })?;
    let data = PREFIX + json.len();
    let expected = data as u64 + header.data_len() as u64;
    match expected == bytes.len() as u64 {
        true => Ok((data, header)),
        false => Err(size(expected)),
    }
}

fn check_metadata(path: &Path, header: &Metadata, spec: &FileSpec) -> Result<(), StoreError> {
    let found = header.metadata().as_ref();
    for (key, expected) in &spec.metadata {
        let found = found.and_then(|metadata| metadata.get(key));
        if found != Some(expected) {
            return Err(StoreError::Field {
                path: path.to_owned(),
                field: format!("metadata `{key}`"),
                found: found.map_or("missing".to_owned(), |found| format!("`{found}`")),
                expected: format!("`{expected}`"),
            });
        }
    }
    Ok(())
}

fn check_tensors(path: &Path, header: &Metadata, spec: &FileSpec) -> Result<(), StoreError> {
    let found = header.tensors();
    let agrees = |tensor: &TensorSpec| {
        let info = found.get(tensor.name);
        info.is_some_and(|info| info.dtype == tensor.dtype && info.shape == tensor.shape)
    };
    if found.len() == spec.tensors.len() && spec.tensors.iter().all(agrees) {
        return Ok(());
    }
    let mut found: Vec<String> =
        found.iter().map(|(name, info)| format!("{name} {} {:?}", info.dtype, info.shape)).collect();
    found.sort_unstable();
    let expected: Vec<String> = spec.tensors.iter().map(TensorSpec::to_string).collect();
    Err(StoreError::Tensors { path: path.to_owned(), found: found.join(", "), expected: expected.join(", ") })
}
