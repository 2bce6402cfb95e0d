//! The noise floors: distances between two computations of the same states.

use std::collections::BTreeMap;

use inject_models::Tap;

use crate::store::error::StoreError;

/// The noise floor of each tap, as the writer of the store measured it.
///
/// A distance that does not exceed the floor of its tap is not evidence about the model.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NoiseFloors {
    /// The number of prompts that were computed in two ways.
    pub prompts_sampled: usize,
    /// The floor of each tap of the store, or `None` if it could not be measured.
    ///
    /// # Units
    ///
    /// L2 distance between two states of the same prompt.
    pub floors: BTreeMap<Tap, Option<f64>>,
}

impl NoiseFloors {
    /// Creates the floors of the taps, measured on `prompts_sampled` prompts.
    pub fn new(prompts_sampled: usize, floors: BTreeMap<Tap, Option<f64>>) -> Self {
        NoiseFloors { prompts_sampled, floors }
    }

    /// The larger floor of each tap, of two stores with the same taps.
    pub(crate) fn largest(mut self, other: NoiseFloors) -> NoiseFloors {
        for (tap, floor) in other.floors {
            let own = self.floors.entry(tap).or_default();
            *own = match (*own, floor) {
                (Some(own), Some(floor)) => Some(own.max(floor)),
                (own, floor) => own.or(floor),
            };
        }
        NoiseFloors { prompts_sampled: self.prompts_sampled.max(other.prompts_sampled), ..self }
    }

    /// # Errors
    ///
    /// [`StoreError::NoiseFloor`] if the taps are not those of the store, or if a floor is negative or not finite.
    pub(crate) fn check(&self, taps: &[Tap]) -> Result<(), StoreError> {
        let wrong = |tap, found: String, expected| Err(StoreError::NoiseFloor { tap, found, expected });
        if let Some(&tap) = taps.iter().find(|tap| !self.floors.contains_key(tap)) {
            return wrong(tap, "missing".to_owned(), "one entry for each tap of the store");
        }
        for (&tap, floor) in &self.floors {
            if !taps.contains(&tap) {
                return wrong(tap, "there".to_owned(), "only the taps of the store");
            }
            if let Some(floor) = floor.filter(|floor| !(floor.is_finite() && *floor >= 0.0)) {
                return wrong(tap, floor.to_string(), "a finite length");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAPS: [Tap; 2] = [Tap::Embedding, Tap::Block(1)];

    fn floors(floors: &[(Tap, Option<f64>)]) -> NoiseFloors {
        NoiseFloors { prompts_sampled: 8, floors: floors.iter().copied().collect() }
    }

    #[test]
    fn a_floor_for_each_tap_is_accepted_and_survives_json() {
        let noise = floors(&[(Tap::Embedding, Some(0.0)), (Tap::Block(1), None)]);
        noise.check(&TAPS).unwrap();
        let json = serde_json::to_string(&noise).unwrap();
        assert_eq!(json, r#"{"prompts_sampled":8,"floors":{"embedding":0.0,"block-1":null}}"#);
        assert_eq!(serde_json::from_str::<NoiseFloors>(&json).unwrap(), noise);
    }

    #[test]
    fn other_taps_and_invalid_floors_are_refused() {
        let missing = floors(&[(Tap::Embedding, None)]);
        let foreign = floors(&[(Tap::Embedding, None), (Tap::Block(1), None), (Tap::FinalNorm, None)]);
        let negative = floors(&[(Tap::Embedding, Some(-1.0)), (Tap::Block(1), None)]);
        let nan = floors(&[(Tap::Embedding, Some(f64::NAN)), (Tap::Block(1), None)]);
        for (noise, tap) in [
            (missing, Tap::Block(1)),
            (foreign, Tap::FinalNorm),
            (negative, Tap::Embedding),
            (nan, Tap::Embedding),
        ] {
            let error = noise.check(&TAPS).unwrap_err();
            assert!(matches!(error, StoreError::NoiseFloor { tap: named, .. } if named == tap), "{error}");
        }
    }
}
