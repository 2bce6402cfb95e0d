//! Quantised weights: recognised by the config or by the tensors alone.

mod of_config;
mod of_tensors;

use std::fmt;

use serde_json::{Map, Value};

use self::{
    of_config::{block_sizes, of_config},
    of_tensors::of_tensors,
};
use super::{Checkpoint, restored};
use crate::{error::ModelError, note::Note};

/// A way in which weights are quantised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    /// The name, as people use it.
    name: String,
    /// The bits of a weight; several numbers if matrices differ.
    bits: Vec<u64>,
}

impl Method {
    fn new(name: &str, bits: impl IntoIterator<Item = u64>) -> Self {
        let mut bits: Vec<u64> = bits.into_iter().collect();
        bits.sort_unstable();
        bits.dedup();
        Method { name: name.to_owned(), bits }
    }

    /// Whether weights of this method can be restored.
    fn is_restored(&self) -> bool {
        matches!(self.name.as_str(), "bitsandbytes" | "FP8" | "FP8 as compressed-tensors")
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits: Vec<String> = self.bits.iter().map(u64::to_string).collect();
        match bits.as_slice() {
            [] => f.write_str(&self.name),
            [bits] if bits == "1" => write!(f, "{}, 1 bit", self.name),
            bits => write!(f, "{}, {} bits", self.name, bits.join(" and ")),
        }
    }
}

/// Passes a checkpoint on if its weights are plain numbers, or become plain numbers here. A config that quantises no weights is noted, and so
/// are numbers in FP8 without scales.
///
/// This is the one place where readers of quantised weights are tried.
///
/// # Errors
///
/// Fails for a method that has no reader.
pub(crate) fn dequantised(
    mut checkpoint: Checkpoint,
    announced: Option<&Map<String, Value>>,
) -> Result<(Checkpoint, Vec<Note>), ModelError> {
    let count = match announced.and_then(of_config) {
        None => restored::float8_without_scales(&mut checkpoint),
        Some(_) => 0,
    };
    let mut notes: Vec<Note> =
        (count > 0).then_some(Note::Float8WithoutScales { count }).into_iter().collect();
    let restored = restored::restore(&mut checkpoint, &announced.map(block_sizes).unwrap_or_default())? > 0;
    let of_config = announced.and_then(of_config).filter(|method| !(restored && method.is_restored()));
    let method = match (of_config, of_tensors(&checkpoint)) {
        // The tensors show the bits that the config leaves out.
        (Some(announced), Some(found)) if announced.bits.is_empty() && announced.name == found.name => {
            Some(found)
        }
        (announced, found) => announced.or(found),
    };
    // Where a part that restoring needs is missing, loading names the tensor that is left.
    let Some(found) = method else {
        let of_nothing =
            announced.filter(|_| !restored).and_then(|config| config.get("quant_method")?.as_str());
        if of_nothing.is_some() {
            restored::leave_out_activations(&mut checkpoint);
        }
        notes.extend(of_nothing.map(|method| Note::NothingQuantised { method: method.to_owned() }));
        return Ok((checkpoint, notes));
    };
    let (path, method) = (checkpoint.path.clone(), found.to_string());
    // A method that can be restored is left only if the config alone names it.
    Err(match found.is_restored() {
        true => ModelError::NotQuantised { path, method },
        false => ModelError::Quantised { path, method },
    })
}

/// Returns the method that a `quantization_config` announces, if no checkpoint of it is read.
pub(crate) fn unread_method(config: &Map<String, Value>) -> Option<Method> {
    of_config(config).filter(|method| !method.is_restored())
}
