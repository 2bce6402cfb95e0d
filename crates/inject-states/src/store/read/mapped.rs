//! A finished safetensors file, memory-mapped and checked.

use std::{ops::Range, path::Path, path::PathBuf};

use inject_models::checkpoint::{Header, HeaderError};
use memmap2::Mmap;

use crate::{
    durable,
    store::{
        error::StoreError,
        layout::{FileSpec, PREFIX, TensorSpec},
    },
};

#[cfg(target_endian = "big")]
compile_error!("a store is read in place, which requires a little-endian target");

/// The bytes of a tensor that are read at a time.
const PIECE: usize = 1 << 22;

/// A file of a store whose header agrees with its length and with the manifest.
#[derive(Debug)]
pub(crate) struct Mapped {
    path: PathBuf,
    map: Mmap,
    /// The byte ranges of the tensors in the map, in the order of the [`FileSpec`].
    tensors: Vec<Range<usize>>,
}

impl Mapped {
    /// Maps the file that `spec` describes.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] that names the difference.
    pub(crate) fn open(dir: &Path, spec: &FileSpec) -> Result<Self, StoreError> {
        Mapped::open_at(&spec.path(dir), spec)
    }

    /// Maps the file that `spec` describes, at a path of its own.
    ///
    /// # Errors
    ///
    /// As [`Mapped::open`].
    pub(crate) fn open_at(path: &Path, spec: &FileSpec) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let file = durable::open_ordinary(&path).map_err(StoreError::io("open", &path))?;
        // SAFETY: this crate maps only files that are complete, and never changes them. `Store` documents as a condition that no
        // other program truncates or rewrites the files while it is open.
        let map = unsafe { Mmap::map(&file) }.map_err(StoreError::io("map", &path))?;
        let header = Header::read(&file).map_err(|error| header_error(&path, map.len() as u64, error))?;
        check_metadata(&path, &header, spec)?;
        check_tensors(&path, &header, spec)?;
        let place = |tensor: &TensorSpec| {
            let place = header.tensors()[tensor.name].bytes.clone();
            let place = place.start as usize..place.end as usize;
            if place.end > map.len() {
                let (found, expected) = (map.len() as u64, place.end as u64);
                return Err(StoreError::FileSize { path: path.clone(), found, expected });
            }
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

    /// Returns the bytes of a tensor, by its number in the [`FileSpec`].
    pub(crate) fn bytes(&self, tensor: usize) -> &[u8] {
        &self.map[self.tensors[tensor].clone()]
    }

    /// Returns the offset in the file at which the data of a tensor begins.
    pub(crate) fn begin(&self, tensor: usize) -> usize {
        self.tensors[tensor].start
    }

    /// Releases the pages that were read into memory. Later reads load them from the file again.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        {
            // SAFETY: the map is read-only and backed by a file, so a dropped page is reloaded unchanged.
            let advised = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            // An error is ignored: the system then keeps the pages longer, which is harmless.
            drop(advised);
        }
    }

    /// Returns the elements of a tensor piece by piece. The memory pages of the pieces before are released.
    ///
    /// # Panics
    ///
    /// As [`Mapped::elements`].
    pub(crate) fn pieces<T: bytemuck::AnyBitPattern>(&self, tensor: usize) -> impl Iterator<Item = &[T]> {
        self.elements(tensor).chunks(PIECE / size_of::<T>()).inspect(|_| self.release())
    }

    /// Returns the elements of a tensor, by its number in the [`FileSpec`].
    ///
    /// # Panics
    ///
    /// Panics if the elements are larger than those of the tensor's dtype.
    pub(crate) fn elements<T: bytemuck::AnyBitPattern>(&self, tensor: usize) -> &[T] {
        bytemuck::try_cast_slice(self.bytes(tensor)).expect("the tensor was checked to be aligned")
    }
}

/// Converts the error of a header into that of a store.
fn header_error(path: &Path, length: u64, error: HeaderError) -> StoreError {
    let path = path.to_owned();
    let size = |path, expected| StoreError::FileSize { path, found: length, expected };
    match error {
        HeaderError::Io(source) => StoreError::Io { path, action: "read", source },
        HeaderError::TooShort { .. } => size(path, PREFIX as u64),
        HeaderError::TooLong { found, .. } => size(path, found.saturating_add(PREFIX as u64)),
        HeaderError::Surplus { found, expected } => size(path, length - expected + found),
        HeaderError::Place { found: (first, last), begin, end, .. }
            if first as u64 == begin && first <= last && last as u64 > end =>
        {
            size(path, (length - end).saturating_add(last as u64))
        }
        source => StoreError::Header { path, source },
    }
}

fn check_metadata(path: &Path, header: &Header, spec: &FileSpec) -> Result<(), StoreError> {
    for (key, expected) in &spec.metadata {
        let found = header.metadata().get(key);
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

fn check_tensors(path: &Path, header: &Header, spec: &FileSpec) -> Result<(), StoreError> {
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
