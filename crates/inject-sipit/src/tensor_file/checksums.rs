//! The checksums of a file of tensors: texts of its metadata, one for each tensor and one for the header.

use std::collections::BTreeMap;

use safetensors::Dtype;

use super::{Stored, TensorFile};
use crate::states::durable::Checksum;

/// The name of the checksum of the header: the other texts, and the names, types and shapes of the tensors.
pub(super) const HEADER: &str = "xxh3:header";

/// Returns the name of the checksum of a tensor.
fn of_tensor(name: &str) -> String {
    format!("xxh3:{name}")
}

/// Returns the metadata of a file with the checksums of its parts.
pub(super) fn added(metadata: BTreeMap<&str, String>, stored: &[Stored]) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        metadata.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    for tensor in stored {
        all.insert(of_tensor(&tensor.name), Checksum::of(&tensor.bytes).to_string());
    }
    let tensors = stored.iter().map(|tensor| (tensor.name.as_str(), tensor.dtype, tensor.shape.clone()));
    let sum = of_header(all.iter().map(|(name, text)| (name.as_str(), text.as_str())), tensors);
    all.insert(HEADER.to_owned(), sum);
    all
}

/// Returns the name of a part that does not agree with its checksum. A file without a checksum of its header has none at all.
pub(super) fn damaged(file: &TensorFile) -> Option<String> {
    let expected = file.find(HEADER)?;
    let texts = file.header.metadata().iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let shapes =
        file.tensors().iter().map(|(name, tensor)| (name.as_str(), tensor.dtype, tensor.shape.clone()));
    if of_header(texts, shapes) != *expected {
        return Some("the header".to_owned());
    }
    let mut tensors = file.tensors().iter();
    let damaged = tensors.find(|(name, tensor)| {
        let expected = file.find(&of_tensor(name));
        expected.is_none_or(|expected| Checksum::of(file.data(tensor)).to_string() != *expected)
    });
    damaged.map(|(name, _)| format!("tensor {name}"))
}

/// Returns the checksum of the header, whatever the order of its entries.
fn of_header<'a>(
    texts: impl Iterator<Item = (&'a str, &'a str)>,
    tensors: impl Iterator<Item = (&'a str, Dtype, Vec<usize>)>,
) -> String {
    let texts: BTreeMap<&str, &str> = texts.filter(|(name, _)| *name != HEADER).collect();
    let tensors: BTreeMap<&str, (Dtype, Vec<usize>)> =
        tensors.map(|(name, dtype, shape)| (name, (dtype, shape))).collect();
    let text = serde_json::to_vec(&(texts, tensors)).expect("JSON can hold names and numbers");
    Checksum::of(&text).to_string()
}
