//! Weights in safetensors files, one or several.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, tensor::TensorInfo};
use serde::Deserialize;

use super::{Checkpoint, Entry, StoredDtype, Values, WeightFile, read_text};
use crate::ModelError;

/// Opens a checkpoint in one file.
pub(super) fn open_single(path: PathBuf) -> Result<Checkpoint, ModelError> {
    let (file, infos) = open_file(&path)?;
    let tensors = infos.into_iter().map(|(name, info)| (name, info.into_entry(0))).collect();
    Ok(Checkpoint { path, files: vec![file], tensors })
}

/// The part of an index file that matters.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens the shards that an index names, and no other file.
pub(super) fn open_shards(folder: &Path, index: PathBuf) -> Result<Checkpoint, ModelError> {
    let Index { weight_map } = serde_json::from_str(&read_text(&index)?)
        .map_err(|source| ModelError::Json { path: index.clone(), source })?;
    for (tensor, shard) in &weight_map {
        check_shard(folder, &index, tensor, shard)?;
    }
    let shards: BTreeSet<&String> = weight_map.values().collect();
    let mut files = Vec::new();
    let mut tensors = BTreeMap::new();
    for (number, shard) in shards.into_iter().enumerate() {
        let (file, infos) = open_file(&folder.join(shard))?;
        for (name, info) in infos {
            // A tensor in several shards is read from the one the index names. One that the index does not name
            // at all stays in the table, to be reported as surplus.
            if weight_map.get(&name).is_none_or(|named| named == shard) {
                tensors.insert(name, info.into_entry(number));
            }
        }
        files.push(file);
    }
    if let Some((tensor, shard)) = weight_map.iter().find(|(tensor, _)| !tensors.contains_key(*tensor)) {
        return Err(ModelError::Damaged {
            path: folder.join(shard),
            reason: format!("the index says that tensor `{tensor}` is here, and it is not"),
        });
    }
    Ok(Checkpoint { path: index, files, tensors })
}

fn check_shard(folder: &Path, index: &Path, tensor: &str, shard: &str) -> Result<(), ModelError> {
    let inside =
        !shard.contains(['\\', ':', '\0']) && shard.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !inside {
        return Err(ModelError::UnsafeShard {
            index: index.to_owned(),
            tensor: tensor.to_owned(),
            shard: shard.to_owned(),
        });
    }
    if !folder.join(shard).is_file() {
        return Err(ModelError::MissingShard {
            index: index.to_owned(),
            tensor: tensor.to_owned(),
            shard: shard.to_owned(),
        });
    }
    Ok(())
}

/// A tensor's place in one file.
struct Info {
    dtype: StoredDtype,
    shape: Vec<usize>,
    begin: u64,
}

impl Info {
    fn into_entry(self, file: usize) -> Entry {
        Entry { file, dtype: self.dtype, shape: self.shape, begin: self.begin }
    }
}

/// Opens one file and checks its header against its length: offsets inside the file, without gaps, shapes that
/// match them.
///
/// The same checks as [`safetensors::SafeTensors::read_metadata`] makes, done here to say which tensor fails which of
/// them, and with no sum that could overflow before it is compared.
fn open_file(path: &Path) -> Result<(WeightFile, Vec<(String, Info)>), ModelError> {
    let io_error = |source| ModelError::Io { path: path.to_owned(), source };
    let damaged = |reason| ModelError::Damaged { path: path.to_owned(), reason };
    let file = File::open(path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    if length < LENGTH_BYTES {
        return Err(damaged(format!("it has {length} bytes, expected at least {LENGTH_BYTES}")));
    }
    let mut header_len = [0_u8; LENGTH_BYTES as usize];
    read_at(&file, &mut header_len, 0).map_err(io_error)?;
    let header_len = u64::from_le_bytes(header_len);
    let most = (length - LENGTH_BYTES).min(LONGEST_HEADER);
    if header_len > most {
        return Err(damaged(format!(
            "its header is said to have {header_len} bytes, expected at most {most} in a file of {length}"
        )));
    }
    let mut header = vec![0_u8; header_len as usize];
    read_at(&file, &mut header, LENGTH_BYTES).map_err(io_error)?;
    let data_begin = LENGTH_BYTES + header_len;
    let infos = parse_header(&header, length - data_begin).map_err(damaged)?;
    let infos = infos.into_iter().map(|(name, info)| (name, place(info, data_begin))).collect();
    Ok((WeightFile { path: path.to_owned(), values: Values::Safetensors(file) }, infos))
}

/// Bytes at the begin of a file that hold the length of its header.
const LENGTH_BYTES: u64 = 8;

/// The bound that the safetensors library has, too: <https://github.com/safetensors/safetensors>, `tensor.rs`.
const LONGEST_HEADER: u64 = 100_000_000;

/// The tensors of a header in the order of their data, of which there are `data_len` bytes; or what is wrong.
fn parse_header(header: &[u8], data_len: u64) -> Result<Vec<(String, TensorInfo)>, String> {
    let mut entries: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)
        .map_err(|error| format!("its header is not a JSON object: {error}"))?;
    entries.remove("__metadata__");
    let mut infos = entries
        .into_iter()
        .map(|(name, entry)| match TensorInfo::deserialize(entry) {
            Ok(info) => Ok((name, info)),
            Err(error) => Err(format!("its header has a malformed entry for tensor `{name}`: {error}")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    infos.sort_by_key(|(_, info)| info.data_offsets);
    let mut filled = 0;
    for (name, TensorInfo { dtype, shape, data_offsets: (begin, end) }) in &infos {
        let (begin, end) = (*begin as u64, *end as u64);
        if begin != filled || end < begin || end > data_len {
            return Err(format!(
                "tensor `{name}` has the bytes {begin} to {end} of the data, expected to begin at {filled} and to \
                 end by {data_len}"
            ));
        }
        let values = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let bits = values.and_then(|values| values.checked_mul(dtype.bitsize()));
        if bits.is_none_or(|bits| bits as u64 != 8 * (end - begin)) {
            return Err(format!(
                "tensor `{name}` has {} bytes, expected those of {dtype} {shape:?}",
                end - begin
            ));
        }
        filled = end;
    }
    if filled == data_len {
        Ok(infos)
    } else {
        Err(format!("its tensors have {filled} bytes of data, expected {data_len}"))
    }
}

fn place(info: TensorInfo, data_begin: u64) -> Info {
    let dtype = match info.dtype {
        Dtype::F32 => StoredDtype::F32,
        Dtype::F16 => StoredDtype::F16,
        Dtype::BF16 => StoredDtype::Bf16,
        other => StoredDtype::Other(other.to_string()),
    };
    Info { dtype, shape: info.shape, begin: data_begin + info.data_offsets.0 as u64 }
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
