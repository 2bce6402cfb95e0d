//! The header of a safetensors file.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    ops::Range,
};

use safetensors::{Dtype, tensor::TensorInfo};
use serde::Deserialize;
use serde_json::Value;

/// The longest header that is read, in bytes.
///
/// A tensor takes about 100 bytes, so this is enough for 150 thousand of them in one file. The safetensors crate reads up to
/// 100 MB, which take gigabytes once they are parsed.
pub const LONGEST_HEADER: u64 = 16 << 20;

/// The bytes at the beginning of a file that hold the length of its header.
const LENGTH_BYTES: u64 = 8;

/// The header of a safetensors file, checked against the length of the file.
///
/// All tensors lie within the file, one after another without gaps, and each is as long as its shape and number format
/// say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    tensors: BTreeMap<String, StoredTensor>,
    metadata: HashMap<String, String>,
}

/// The place and form of a tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredTensor {
    /// The number format of the stored values.
    pub dtype: Dtype,
    /// Extent of each dimension, the outermost first.
    pub shape: Vec<usize>,
    /// The bytes of the file that hold the values, in row-major order.
    pub bytes: Range<u64>,
}

/// A fault in the header of a safetensors file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// The file is too short for the length of a header.
    #[error("it has {found} bytes, expected at least {LENGTH_BYTES}")]
    TooShort {
        /// Length of the file in bytes.
        found: u64,
    },
    /// The header is longer than the file or than [`LONGEST_HEADER`].
    #[error("it announces a header of {found} bytes, expected at most {most} in a file of {file}")]
    TooLong {
        /// Length of the header in bytes, as the first eight bytes state it.
        found: u64,
        /// The largest acceptable length of a header in bytes.
        most: u64,
        /// Length of the whole file in bytes.
        file: u64,
    },
    /// The header is not a JSON object.
    #[error("its header is not a JSON object")]
    Json(#[source] serde_json::Error),
    /// The metadata are not texts by name.
    #[error("its header has malformed metadata")]
    Metadata(#[source] serde_json::Error),
    /// The description of a tensor is malformed.
    #[error("its header has a malformed entry for tensor `{tensor}`")]
    Entry {
        /// Name of the tensor with the malformed entry.
        tensor: String,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// A tensor overlaps another, leaves a gap or exceeds the file.
    #[error(
        "tensor `{tensor}` has the bytes {} to {} of the data, expected to begin at {begin} and to end by {end}",
        found.0, found.1
    )]
    Place {
        /// Name of the tensor with the misplaced data.
        tensor: String,
        /// Its first byte and the byte after its last.
        found: (usize, usize),
        /// End of the tensor before it.
        begin: u64,
        /// Length of the data in bytes.
        end: u64,
    },
    /// A tensor has more or fewer bytes than its shape and number format need.
    #[error("tensor `{tensor}` has {found} bytes, expected those of {dtype} {shape:?}")]
    Size {
        /// Name of the tensor whose size contradicts its shape.
        tensor: String,
        /// The number of bytes stored.
        found: u64,
        /// The number format that the header states.
        dtype: Dtype,
        /// The shape that the header states.
        shape: Vec<usize>,
    },
    /// The file has more data than its tensors.
    #[error("its tensors have {found} bytes of data, expected {expected}")]
    Surplus {
        /// The size of all tensors together, in bytes.
        found: u64,
        /// Bytes of data in the file.
        expected: u64,
    },
}

impl Header {
    /// Reads the header of a file and checks it. No more is allocated than the file can fill.
    ///
    /// [`safetensors::SafeTensors::read_metadata`] makes the same checks on a file in memory. Here each error says which
    /// tensor fails which check, and no sum can overflow before it is compared.
    ///
    /// # Errors
    ///
    /// Fails with the first fault found.
    pub fn read(file: &File) -> Result<Self, HeaderError> {
        let length = file.metadata()?.len();
        if length < LENGTH_BYTES {
            return Err(HeaderError::TooShort { found: length });
        }
        let mut header_len = [0_u8; LENGTH_BYTES as usize];
        read_at(file, &mut header_len, 0)?;
        let header_len = u64::from_le_bytes(header_len);
        let most = (length - LENGTH_BYTES).min(LONGEST_HEADER);
        if header_len > most {
            return Err(HeaderError::TooLong { found: header_len, most, file: length });
        }
        let mut text = vec![0_u8; header_len as usize];
        read_at(file, &mut text, LENGTH_BYTES)?;
        parse(&text, LENGTH_BYTES + header_len..length)
    }

    /// Returns the tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// Returns the metadata of the file: texts by name.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }
}

impl StoredTensor {
    /// Reads the bytes of the tensor from its file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or has become shorter.
    pub fn read(&self, file: &File) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0_u8; (self.bytes.end - self.bytes.start) as usize];
        read_at(file, &mut bytes, self.bytes.start)?;
        Ok(bytes)
    }
}

/// Parses a header and checks it against the place of the data in the file.
fn parse(text: &[u8], data: Range<u64>) -> Result<Header, HeaderError> {
    let mut entries: BTreeMap<String, Value> = serde_json::from_slice(text).map_err(HeaderError::Json)?;
    let metadata = match entries.remove("__metadata__") {
        None => HashMap::new(),
        Some(metadata) => HashMap::deserialize(metadata).map_err(HeaderError::Metadata)?,
    };
    let mut infos = entries
        .into_iter()
        .map(|(tensor, entry)| match TensorInfo::deserialize(entry) {
            Ok(info) => Ok((tensor, info)),
            Err(source) => Err(HeaderError::Entry { tensor, source }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    infos.sort_by_key(|(_, info)| info.data_offsets);
    let data_len = data.end - data.start;
    let mut filled = 0;
    let mut tensors = BTreeMap::new();
    for (tensor, TensorInfo { dtype, shape, data_offsets: found }) in infos {
        let (begin, end) = (found.0 as u64, found.1 as u64);
        if begin != filled || end < begin || end > data_len {
            return Err(HeaderError::Place { tensor, found, begin: filled, end: data_len });
        }
        let values = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let bits = values.and_then(|values| values.checked_mul(dtype.bitsize()));
        if bits.is_none_or(|bits| bits as u64 != 8 * (end - begin)) {
            return Err(HeaderError::Size { tensor, found: end - begin, dtype, shape });
        }
        filled = end;
        tensors.insert(tensor, StoredTensor { dtype, shape, bytes: data.start + begin..data.start + end });
    }
    match filled == data_len {
        true => Ok(Header { tensors, metadata }),
        false => Err(HeaderError::Surplus { found: filled, expected: data_len }),
    }
}

/// Fills `bytes` from a position of the file, without moving a shared cursor where the system allows it.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Fills `bytes` from a position of the file.
#[cfg(not(unix))]
pub(super) fn read_at(mut file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}
