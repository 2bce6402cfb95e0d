//! Weights in pickled PyTorch files, read by burn-store's reader: no Python code in the file is run.

#[cfg(test)]
mod archives;
mod lazy_bits;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use burn_store::pytorch_reader::{DType, PickleError, PickleValue, PytorchError, PytorchReader, Tensor};

use super::{
    Checkpoint, Damage, Entry, OtherFormat, StoredAs, Values, WeightFile, lfs, restored::FP8, shards::Opened,
};
use crate::{error::ModelError, format::FloatFormat};

/// Opens a pickled checkpoint that consists of one file.
pub(super) fn open(path: PathBuf) -> Result<Checkpoint, ModelError> {
    let (file, tensors) = open_file(&path)?;
    Ok(Checkpoint { path, files: vec![file], tensors, architecture: None })
}

/// Opens one pickled file and lists its tensors.
pub(super) fn open_file(path: &Path) -> Result<Opened, ModelError> {
    lfs::refuse_pointer(path)?;
    let reader = PytorchReader::new(path).map_err(|error| match error {
        PytorchError::Io(source) => ModelError::Read { path: path.to_owned(), source },
        PytorchError::Pickle(PickleError::UnsupportedType(name)) if name.starts_with("torch.float8") => {
            ModelError::PickledCodes { path: path.to_owned(), method: FP8 }
        }
        other => OtherFormat::Pytorch.or_damage(path, Damage::Pickle(other.into())),
    })?;
    let bit =
        lazy_bits::lazy_bit(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    if let Some(bit) = bit {
        return Err(ModelError::LazyBit { path: path.to_owned(), bit });
    }
    if let Some(tensor) = held_twice(path) {
        return Err(ModelError::Damaged { path: path.to_owned(), source: Damage::HeldTwice { tensor } });
    }
    let values: std::collections::BTreeMap<String, Tensor> = reader.into_tensors().into_iter().collect();
    let tensors = values.iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect();
    Ok((WeightFile::new(path.to_owned(), Values::Pytorch(values)), tensors))
}

/// Returns a name that the file has twice: as `model.a`, and as `a` in a dictionary `model`. The reader keeps one of the two tensors.
fn held_twice(path: &Path) -> Option<String> {
    let content = PytorchReader::read_pickle_data(path, None).ok()?;
    let (mut names, mut twice) = (BTreeSet::new(), BTreeSet::new());
    list(&content, "", &mut names, &mut twice);
    twice.pop_first()
}

/// Lists the names of tensors as the reader makes them, and those that are there already.
fn list(value: &PickleValue, name: &str, names: &mut BTreeSet<String>, twice: &mut BTreeSet<String>) {
    match value {
        PickleValue::Dict(entries) => entries.iter().for_each(|(key, value)| {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            list(value, &name, names, twice);
        }),
        PickleValue::Unsupported(kind) if kind == "torch.Tensor" && !names.insert(name.to_owned()) => {
            twice.insert(name.to_owned());
        }
        _ => {}
    }
}

fn entry(tensor: &Tensor) -> Entry {
    let stored = match tensor.dtype() {
        DType::F32 => StoredAs::Float(FloatFormat::F32),
        DType::F16 => StoredAs::Float(FloatFormat::F16),
        DType::F64 => StoredAs::Float(FloatFormat::F64),
        DType::BF16 => StoredAs::Float(FloatFormat::Bf16),
        other => StoredAs::Other(format!("{other:?}")),
    };
    Entry { file: 0, stored, shape: tensor.shape().to_vec(), begin: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary(entries: impl IntoIterator<Item = (&'static str, PickleValue)>) -> PickleValue {
        PickleValue::Dict(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn tensor() -> PickleValue {
        PickleValue::Unsupported("torch.Tensor".to_owned())
    }

    #[test]
    fn a_tensor_under_its_whole_name_and_in_a_dictionary_is_there_twice() {
        let found = |content: PickleValue| {
            let (mut names, mut twice) = (BTreeSet::new(), BTreeSet::new());
            list(&content, "", &mut names, &mut twice);
            twice
        };
        let within = || dictionary([("a.w", tensor()), ("step", PickleValue::Int(3))]);
        assert_eq!(found(dictionary([("model", within()), ("model.b.w", tensor())])), BTreeSet::new());
        let twice = found(dictionary([("model", within()), ("model.a.w", tensor())]));
        assert_eq!(twice, BTreeSet::from(["model.a.w".to_owned()]));
    }
}
