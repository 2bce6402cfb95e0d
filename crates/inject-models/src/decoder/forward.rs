//! The request for logits and the result of a forward pass.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::tap::Tap;

/// The logits to compute beside the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Logits {
    /// None: the head is not applied.
    None,
    /// The logits after every prompt's last token, shape `[batch, 1, vocab_size]`.
    Last,
    /// The logits after every token, shape `[batch, positions, vocab_size]`.
    All,
}

/// The result of a forward pass.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Forward {
    /// The states at each tap, shape `[batch, positions, d_model]`. Positions beyond a prompt's own length hold the
    /// states of its padding.
    pub states: BTreeMap<Tap, Tensor<3>>,
    /// The logits, unless none were wanted.
    pub logits: Option<Tensor<3>>,
}

impl Forward {
    /// Joins the results of parts of a batch.
    pub(super) fn concatenate(parts: Vec<Forward>) -> Forward {
        let mut states: BTreeMap<Tap, Vec<Tensor<3>>> = BTreeMap::new();
        let mut logits = Vec::new();
        for part in parts {
            for (tap, tensor) in part.states {
                states.entry(tap).or_default().push(tensor);
            }
            logits.extend(part.logits);
        }
        Forward {
            states: states.into_iter().map(|(tap, parts)| (tap, Tensor::cat(parts, 0))).collect(),
            logits: (!logits.is_empty()).then(|| Tensor::cat(logits, 0)),
        }
    }
}

impl Logits {
    /// The tap whose states the head takes, if it is applied.
    pub(super) fn tap(self) -> Option<Tap> {
        match self {
            Logits::None => None,
            Logits::Last | Logits::All => Some(Tap::FinalNorm),
        }
    }
}
