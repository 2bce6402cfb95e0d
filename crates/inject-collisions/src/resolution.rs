//! The comparison of a smallest distance with rounding errors.

/// The relation of the smallest distance between states of different prompts to the noise floor.
///
/// # Example
///
/// ```
/// use inject_collisions::Resolution;
///
/// assert_eq!(Resolution::of(0.1, 1e-4), Resolution::Separated);
/// assert_eq!(Resolution::of(1e-4, 1e-4), Resolution::AtTheNoiseFloor);
/// assert_eq!(Resolution::of(0.0, 1e-4), Resolution::Collision);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Resolution {
    /// The smallest distance is larger than rounding errors can explain.
    Separated,
    /// The smallest distance does not exceed the distance that two computations of the same state can have. It is not evidence
    /// about the model.
    AtTheNoiseFloor,
    /// States of different token ids are equal in every coordinate.
    Collision,
    /// The noise was not measured. The smallest distance is known only to be nonzero.
    NoiseUnknown,
}

impl Resolution {
    /// Compares the smallest distance with the noise floor: the largest distance seen between two computations of one state.
    ///
    /// Each state of a pair may have an error as large as the floor, so only a distance of more than twice the floor is resolved.
    /// A distance of zero is a collision regardless of the noise: [`distance`](crate::distance) is zero for equal states only,
    /// because the square of the smallest difference of two f32 numbers is not zero in f64.
    pub fn of(minimum: f64, noise_floor: impl Into<Option<f64>>) -> Self {
        match noise_floor.into() {
            _ if minimum == 0.0 => Resolution::Collision,
            None => Resolution::NoiseUnknown,
            Some(floor) if minimum > 2.0 * floor => Resolution::Separated,
            Some(_) => Resolution::AtTheNoiseFloor,
        }
    }
}

impl std::fmt::Display for Resolution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Resolution::Separated => "separated",
            Resolution::AtTheNoiseFloor => "at the noise floor",
            Resolution::Collision => "collision",
            Resolution::NoiseUnknown => "noise unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance;

    #[test]
    fn without_a_measured_floor_nothing_is_separated() {
        assert_eq!(Resolution::of(2.0, None), Resolution::NoiseUnknown);
        assert_eq!(Resolution::of(0.0, None), Resolution::Collision);
    }

    #[test]
    fn both_states_of_a_pair_may_have_the_error_of_the_floor() {
        assert_eq!(Resolution::of(2.0, 1.0), Resolution::AtTheNoiseFloor);
        assert_eq!(Resolution::of(2.1, 1.0), Resolution::Separated);
    }

    #[test]
    fn the_smallest_possible_difference_is_not_a_collision() {
        let (a, b) = ([f32::from_bits(1)], [0.0_f32]);
        assert_eq!(Resolution::of(distance(&a, &b), 0.0), Resolution::Separated);
    }
}
