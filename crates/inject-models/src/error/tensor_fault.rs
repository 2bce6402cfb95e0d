//! The ways in which a tensor does not fit a model.

use crate::families::Family;

/// A tensor that a model of a config needs and does not get, or does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFault {
    /// The tensor is missing.
    #[error("tensor `{tensor}` is missing, expected shape {expected:?}")]
    Missing {
        /// Name of the missing tensor.
        tensor: String,
        /// The shape that the config implies.
        expected: Vec<usize>,
    },
    /// The shape of the tensor contradicts the config.
    #[error("tensor `{tensor}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the tensor with the wrong shape.
        tensor: String,
        /// The shape of the stored tensor.
        found: Vec<usize>,
        /// The shape that the config implies.
        expected: Vec<usize>,
    },
    /// A model of this config does not have the tensor.
    #[error("tensor `{tensor}` {found:?} is not part of a `{family}` model of this config")]
    Surplus {
        /// Name of the tensor.
        tensor: String,
        /// The shape of the tensor.
        found: Vec<usize>,
        /// The family whose model was expected.
        family: Family,
    },
}

/// The first faults in one line, and the number of all.
pub(super) fn listed(faults: &[TensorFault]) -> String {
    const MOST: usize = 8;
    let first: Vec<String> = faults.iter().take(MOST).map(ToString::to_string).collect();
    let more = match faults.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{} tensors do not fit: {}{more}", faults.len(), first.join("; "))
}
