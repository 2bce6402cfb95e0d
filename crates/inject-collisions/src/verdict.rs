//! What the smallest distance of a tap means.

/// What the smallest distance between the states of different prompts says about a tap.
///
/// # Example
///
/// ```
/// use inject_collisions::Verdict;
///
/// assert_eq!(Verdict::of(0.1, 1e-4), Verdict::Separated);
/// assert_eq!(Verdict::of(1e-4, 1e-4), Verdict::AtTheNoiseFloor);
/// assert_eq!(Verdict::of(0.0, 1e-4), Verdict::Collision);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The smallest distance is more than rounding can explain.
    Separated,
    /// The smallest distance is no more than computing the same states in another way changes: it says nothing about the
    /// model.
    AtTheNoiseFloor,
    /// States of different token ids are equal, number by number.
    Collision,
}

impl Verdict {
    /// Judges the smallest distance against the noise floor: the largest distance seen between two computations of one state.
    ///
    /// Both states of a pair may be off by the floor, so a distance must exceed twice the floor to count as one. A distance of
    /// zero is a collision whatever the noise: [`distance`](crate::distance) is zero for equal states only, because
    /// even the square of the smallest difference of two f32 numbers is no zero in f64.
    pub fn of(minimum: f64, noise_floor: f64) -> Self {
        match minimum {
            0.0 => Verdict::Collision,
            _ if minimum > 2.0 * noise_floor => Verdict::Separated,
            _ => Verdict::AtTheNoiseFloor,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Separated => "separated",
            Verdict::AtTheNoiseFloor => "at the noise floor",
            Verdict::Collision => "collision",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance;

    #[test]
    fn both_states_of_a_pair_may_be_off() {
        assert_eq!(Verdict::of(2.0, 1.0), Verdict::AtTheNoiseFloor);
        assert_eq!(Verdict::of(2.1, 1.0), Verdict::Separated);
    }

    #[test]
    fn the_smallest_difference_there_is_is_no_collision() {
        let (a, b) = ([f32::from_bits(1)], [0.0_f32]);
        assert_eq!(Verdict::of(distance(&a, &b), 0.0), Verdict::Separated);
    }
}
