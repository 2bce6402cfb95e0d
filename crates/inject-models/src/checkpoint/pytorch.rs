//! Weights in a pickled PyTorch file, read by burn-store's reader: no Python code in the file is run.

use std::path::PathBuf;

use burn_store::pytorch_reader::{DType, PytorchError, PytorchReader, Tensor};

use super::{Checkpoint, Damage, Entry, StoredAs, Values, WeightFile};
use crate::{error::ModelError, format::FloatFormat};

/// Opens `pytorch_model.bin`.
pub(super) fn open(path: PathBuf) -> Result<Checkpoint, ModelError> {
    let reader = PytorchReader::new(&path).map_err(|error| match error {
        PytorchError::Io(source) => ModelError::Read { path: path.clone(), source },
        other => ModelError::Damaged { path: path.clone(), source: Damage::Pickle(other.into()) },
    })?;
    let tensors = reader.tensors().iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect();
    let file = WeightFile { path: path.clone(), values: Values::Pytorch(reader) };
    Ok(Checkpoint { path, files: vec![file], tensors })
}

fn entry(tensor: &Tensor) -> Entry {
    let stored = match tensor.dtype() {
        DType::F32 => StoredAs::Float(FloatFormat::F32),
        DType::F16 => StoredAs::Float(FloatFormat::F16),
        DType::BF16 => StoredAs::Float(FloatFormat::Bf16),
        other => StoredAs::Other(format!("{other:?}")),
    };
    Entry { file: 0, stored, shape: tensor.shape().to_vec(), begin: 0 }
}
