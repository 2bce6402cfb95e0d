//! Weights in a pickled PyTorch file, read by burn-store's own reader: no Python code in the file is run.

use std::path::PathBuf;

use burn_store::pytorch_reader::{DType, PytorchError, PytorchReader};

use super::{Checkpoint, Entry, StoredDtype, Values, WeightFile};
use crate::ModelError;

/// Opens `pytorch_model.bin`.
pub(super) fn open(path: PathBuf) -> Result<Checkpoint, ModelError> {
    let reader = PytorchReader::new(&path).map_err(|error| match error {
        PytorchError::Io(source) => ModelError::Io { path: path.clone(), source },
        other => ModelError::Damaged { path: path.clone(), reason: other.to_string() },
    })?;
    let entry = |tensor: &burn_store::pytorch_reader::Tensor| Entry {
        file: 0,
        dtype: match tensor.dtype() {
            DType::F32 => StoredDtype::F32,
            DType::F16 => StoredDtype::F16,
            DType::BF16 => StoredDtype::Bf16,
            other => StoredDtype::Other(format!("{other:?}")),
        },
        shape: tensor.shape().to_vec(),
        begin: 0,
    };
    let tensors = reader.tensors().iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect();
    let file = WeightFile { path: path.clone(), values: Values::Pytorch(reader) };
    Ok(Checkpoint { path, files: vec![file], tensors })
}
