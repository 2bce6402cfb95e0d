//! The grid of a 16-bit format on which states lie.

use super::TargetStates;
use crate::models::FloatFormat;

/// The formats, and the significant bits of their numbers.
const FORMATS: [(FloatFormat, u32); 2] = [(FloatFormat::Bf16, 8), (FloatFormat::F16, 11)];

/// Upper bound on the relative distance of a number from the grid after a product or a quotient was rounded to f32, twice at most, and the
/// factor was taken from another such number: less than 5 units of 2^-24.
const WITHIN: f64 = 1.0 / (1 << 21) as f64;

/// The fewest numbers of a state that show a factor. One of the 1,024 possible ones brings seven other numbers to the grid by chance with a
/// probability of about 1024 * 2^(-9 * 7).
const FEWEST: usize = 8;

impl TargetStates {
    /// The 16-bit format on whose grid all states lie, if there is one: the format they were probably computed in, whatever they are
    /// stored in. The producer may have multiplied each state by a number after that, or divided it by its length. The states of given tokens
    /// do not count, because some are computed here.
    pub(crate) fn grid(&self) -> Option<FloatFormat> {
        if let Some(stored) = &self.stored {
            return stored.grid;
        }
        let states = || self.known_open();
        let on_grid = |&(format, _): &(FloatFormat, u32)| {
            states().all(|state| state.iter().all(|&value| format.round(value) == value))
        };
        let multiplied = |&(_, bits): &(FloatFormat, u32)| {
            let mut factor = None;
            // One factor of all states is the usual case.
            states().all(|state| {
                factor = factor
                    .filter(|&factor| is_on_grid(state, factor, bits))
                    .or_else(|| factor_of(state, bits));
                factor.is_some()
            })
        };
        states().next()?;
        // Numbers of few even steps have few significant bits too, and their rounding is known. Three times a number of 8 bits has 10.
        let may_be_multiplied = self.half_steps.is_none();
        let found = FORMATS.iter().find(|format| on_grid(format) || may_be_multiplied && multiplied(format));
        found.map(|&(format, _)| format)
    }

    /// The factor that brings all states to the grid of their 16-bit format and differs from `by` by at most `within` of it, and the upper bound
    /// on its relative error. The states alone determine it but for a power of two.
    pub(crate) fn factor_near(&self, by: f64, within: f64) -> Option<(f64, f64)> {
        let format = self.grid()?;
        let &(_, bits) = FORMATS.iter().find(|(known, _)| *known == format)?;
        let factor = factor_of(self.known_open().next()?, bits)?;
        let nearest = factor * f64::exp2((by / factor).log2().round());
        let is_near = (nearest / by - 1.0).abs() <= within;
        (is_near && self.known_open().all(|state| is_on_grid(state, nearest, bits)))
            .then_some((nearest, WITHIN))
    }

    /// The states that are not missing, of tokens that were not given.
    fn known_open(&self) -> impl Iterator<Item = &[f64]> {
        let open = (self.given.len()..self.positions()).map(|position| self.state(position));
        open.filter(|state| state.iter().any(|&value| value != 0.0))
    }
}

/// A number by which a state must be divided to lie on the grid of numbers with so many significant bits.
fn factor_of(state: &[f64], bits: u32) -> Option<f64> {
    if state.iter().filter(|&&value| value != 0.0).count() < FEWEST {
        return None;
    }
    let largest = state.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let first = 1_u32 << (bits - 1);
    (first..2 * first).map(|steps| largest / f64::from(steps)).find(|&factor| is_on_grid(state, factor, bits))
}

/// Whether all numbers of a state lie on the grid once they are divided by a factor.
fn is_on_grid(state: &[f64], factor: f64, bits: u32) -> bool {
    state.iter().filter(|&&value| value != 0.0).all(|value| {
        let ratio = (value / factor).abs();
        let steps = ratio * f64::exp2(f64::from(bits - 1) - ratio.log2().floor());
        (steps - steps.round()).abs() <= WITHIN * steps
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::{collisions::norm, models::Tap};

    /// States of 24 significant bits without any order.
    fn states() -> Array2<f64> {
        Array2::from_shape_fn((3, 16), |(row, column)| {
            let place = (1 + row * 16 + column) as f64;
            f64::from((40.0 * (place * 12.9898).sin() * (place * 0.71).cos()) as f32)
        })
    }

    fn grid(states: Array2<f64>) -> Option<FloatFormat> {
        TargetStates::new(states, Tap::Block(1), FloatFormat::F32).unwrap().grid()
    }

    fn stored(value: f64) -> f64 {
        FloatFormat::F32.round(value)
    }

    #[test]
    fn a_grid_is_seen_through_any_factor_and_any_lengths() {
        assert_eq!(grid(states()), None);
        for format in [FloatFormat::Bf16, FloatFormat::F16] {
            let computed = states().mapv(|value| format.round(value));
            for by in [1.0, 2.0, 0.37, 3.0, 1e-3] {
                let factor = f64::from(by as f32);
                assert_eq!(
                    grid(computed.mapv(|value| stored(factor * value))),
                    Some(format),
                    "{format} {by}"
                );
                assert_eq!(grid(states().mapv(|value| stored(factor * value))), None, "{format} {by}");
            }
            let mut unit = computed;
            unit.outer_iter_mut().for_each(|mut row| {
                let length = norm(&row.to_vec());
                row.mapv_inplace(|value| stored(value / length));
            });
            assert_eq!(grid(unit.clone()), Some(format), "{format}");
            // One value that was computed otherwise.
            unit[[2, 7]] *= 1.0 + 1e-5;
            assert_eq!(grid(unit), None, "{format}");
        }
    }

    #[test]
    fn a_common_factor_is_known_but_for_a_power_of_two() {
        let near = |states: Array2<f64>, by: f64| {
            TargetStates::new(states, Tap::Block(1), FloatFormat::F32).unwrap().factor_near(by, 0.03)
        };
        for format in [FloatFormat::Bf16, FloatFormat::F16] {
            let computed = states().mapv(|value| format.round(value));
            for by in [0.37, 3.0, 2.0] {
                let scaled = computed.mapv(|value| stored(by * value));
                let (found, within) = near(scaled.clone(), 1.02 * by).unwrap();
                assert!((found / by - 1.0).abs() <= within, "{format} {by}: {found}");
                assert_eq!(near(scaled.clone(), 1.3 * by), None, "{format} {by}");
                // Two states with factors of their own.
                let mut other = scaled;
                other.row_mut(1).mapv_inplace(|value| stored(1.1 * value));
                assert_eq!(near(other, by), None, "{format} {by}");
            }
        }
        assert_eq!(near(states(), 1.0), None);
    }

    #[test]
    fn even_steps_are_no_grid_of_a_format() {
        let steps = states().mapv(|value| 0.37 * value.round());
        let target = TargetStates::new(steps, Tap::Block(1), FloatFormat::F64).unwrap();
        assert_eq!(target.clone().rounded_by(vec![0.185; 3]).unwrap().grid(), None);
        assert_eq!(target.grid(), Some(FloatFormat::Bf16));
    }

    #[test]
    fn too_few_numbers_show_no_factor() {
        let few =
            |count: usize| {
                let row = |value: f64| stored(0.37 * FloatFormat::Bf16.round(value));
                Array2::from_shape_fn((1, 16), |(_, column)| {
                    if column < count { row(1.0 + 0.1 * column as f64) } else { 0.0 }
                })
            };
        assert_eq!(grid(few(FEWEST)), Some(FloatFormat::Bf16));
        assert_eq!(grid(few(FEWEST - 1)), None);
    }

    #[test]
    fn states_of_given_tokens_do_not_count() {
        let decoder = inject_testing::models::random("llama", 31, &burn::tensor::Device::flex());
        let tap = Tap::Block(1);
        let exact = TargetStates::of_prompt(&decoder, tap, &[5, 41, 7, 63]).unwrap();
        let last = exact.states().slice(ndarray::s![2.., ..]).mapv(|value| FloatFormat::Bf16.round(value));
        let after =
            TargetStates::new(last, tap, FloatFormat::F32).unwrap().after(&decoder, &[5, 41]).unwrap();
        assert_eq!(after.grid(), Some(FloatFormat::Bf16));
        assert_eq!(after.clone().by_direction().grid(), Some(FloatFormat::Bf16));
        assert_eq!(after.part(2, &[5, 41]).grid(), None);
    }
}
