//! The change that a producer made to all states, as it is reported.

use inject_sipit::Transformation;
use serde::{Deserialize, Serialize};

use crate::number::{counted, measured};

/// A change that the producer made to all states of the prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Change {
    /// The mean over its coordinates was subtracted from each state, and candidates are compared without theirs.
    Centred,
    /// Each state is compared by its direction alone.
    Direction,
    /// All states were multiplied by one number, and were divided by it again.
    Scaled {
        /// The number that each coordinate was multiplied by.
        by: f64,
        /// Upper bound on its relative error.
        within: f64,
    },
    /// The coordinates of all states were permuted in the same way.
    Permuted {
        /// The model's coordinate that each coordinate of the file is; null where it is not known.
        coordinates: Vec<Option<usize>>,
    },
}

impl Change {
    /// The change of these states, if there is one.
    pub(super) fn of(transformation: &Transformation) -> Option<Self> {
        match transformation {
            Transformation::Centred => Some(Change::Centred),
            Transformation::Direction => Some(Change::Direction),
            &Transformation::Scaled { by, within } => Some(Change::Scaled { by, within }),
            Transformation::Permuted { coordinates } => {
                Some(Change::Permuted { coordinates: coordinates.known() })
            }
            _ => None,
        }
    }

    /// One line for a person.
    pub(super) fn line(&self) -> String {
        match self {
            Change::Centred => {
                "note: the states have no mean over their coordinates, as TransformerLens writes them; candidates were compared without \
                 theirs"
                    .to_owned()
            }
            Change::Direction => {
                "note: each state has length 1, as llama.cpp writes them by default; candidates were compared by their direction alone"
                    .to_owned()
            }
            Change::Scaled { by, .. } => {
                format!("note: the states are {} times those of the model; they were divided by it", measured(*by))
            }
            Change::Permuted { coordinates } => {
                let known = coordinates.iter().flatten().count();
                format!(
                    "note: the order of {known} of {} was found; --json lists it",
                    counted(coordinates.len(), "coordinate")
                )
            }
        }
    }
}
