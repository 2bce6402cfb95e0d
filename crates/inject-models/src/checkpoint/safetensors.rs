//! Weights in safetensors files, one or several.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use safetensors::Dtype;

use super::{
    Checkpoint, Damage, Entry, Header, OtherFormat, StoredAs, StoredTensor, Values, WeightFile, lfs,
    shards::Opened,
};
use crate::{error::ModelError, format::FloatFormat};

/// Opens a checkpoint in one file.
pub(super) fn open_single(path: PathBuf) -> Result<Checkpoint, ModelError> {
    let (file, tensors) = open_file(&path)?;
    Ok(Checkpoint { path, files: vec![file], tensors, architecture: None })
}

/// Opens one safetensors file and lists its tensors.
pub(super) fn open_file(path: &Path) -> Result<Opened, ModelError> {
    lfs::refuse_pointer(path)?;
    let file = File::open(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    let header = Header::read(&file)
        .map_err(|error| OtherFormat::Safetensors.or_damage(path, Damage::Header(error)))?;
    let tensors = header.tensors().iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect();
    Ok((WeightFile::new(path.to_owned(), Values::Safetensors(file)), tensors))
}

fn entry(tensor: &StoredTensor) -> Entry {
    let stored = match tensor.dtype {
        Dtype::F32 => StoredAs::Float(FloatFormat::F32),
        Dtype::F16 => StoredAs::Float(FloatFormat::F16),
        Dtype::F64 => StoredAs::Float(FloatFormat::F64),
        Dtype::BF16 => StoredAs::Float(FloatFormat::Bf16),
        other => StoredAs::Other(other.to_string()),
    };
    Entry { file: 0, stored, shape: tensor.shape.clone(), begin: tensor.bytes.start }
}
