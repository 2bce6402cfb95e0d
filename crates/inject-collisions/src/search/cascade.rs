//! A second, tighter bound for the pairs that the products do not exclude.

use super::bounds::UNIT_F64;
use crate::integer_products::Rounded;

/// The number of coordinates that are multiplied together.
const CHUNK: usize = 32;

/// The coordinates of each row that are not in the products, rounded to a grid.
#[derive(Debug)]
pub(super) struct Cascade {
    /// The coordinates of all rows. Shape `[place, coordinate]`.
    coordinates: Vec<i16>,
    width: usize,
    /// The unit at each place.
    units: Vec<f64>,
    /// The squared length at each place.
    norms: Vec<f64>,
}

impl Cascade {
    /// Returns the number of integers stored for a row: its coordinates, padded to whole chunks.
    pub(super) fn width(coordinates: usize) -> usize {
        coordinates.next_multiple_of(CHUNK)
    }

    /// # Shapes
    ///
    /// `coordinates`: [place, `width`]; `rounded`: \[place\].
    pub(super) fn new(coordinates: Vec<i16>, width: usize, rounded: &[Rounded]) -> Self {
        let units: Vec<f64> = rounded.iter().map(|rounded| rounded.unit).collect();
        let rows = coordinates.chunks(width).zip(&units);
        let norms = rows.map(|(row, unit)| f64::from(product(row, row)) * unit * unit).collect();
        Cascade { coordinates, width, units, norms }
    }

    /// Returns a lower bound of the squared distance of the rows at two places, along these coordinates. Sums of integers are
    /// exact, so cancellation amplifies only the rounding errors of f64.
    #[inline(always)]
    pub(super) fn squared_distance(&self, p: usize, q: usize) -> f64 {
        let row = |place: usize| &self.coordinates[place * self.width..][..self.width];
        let product = f64::from(product(row(p), row(q))) * (self.units[p] * self.units[q]);
        let norms = self.norms[p] + self.norms[q];
        norms * (1.0 - 8.0 * UNIT_F64) - 2.0 * product
    }
}

/// Returns the product of two rows of integers.
#[inline(always)]
fn product(x: &[i16], y: &[i16]) -> i32 {
    let mut sums = [0_i32; CHUNK / 2];
    for (x, y) in x.as_chunks::<CHUNK>().0.iter().zip(y.as_chunks::<CHUNK>().0) {
        let pairs = x.as_chunks::<2>().0.iter().zip(y.as_chunks::<2>().0);
        for (sum, (x, y)) in sums.iter_mut().zip(pairs) {
            *sum += i32::from(x[0]) * i32::from(y[0]) + i32::from(x[1]) * i32::from(y[1]);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::integer_products::round;

    proptest! {
        #[test]
        fn the_bound_never_exceeds_the_distance(
            values in prop::collection::vec(-1_f64..1.0, 2 * 40), exponent in -30_i32..0, mix in 0_f64..1.0,
        ) {
            let width = Cascade::width(40);
            let (x, rest) = values.split_at(40);
            let y: Vec<f64> = x.iter().zip(rest).map(|(x, y)| (x + mix * y) * 2_f64.powi(exponent)).collect();
            let mut coordinates = vec![0; 2 * width];
            let mut points = Vec::new();
            let rounded: Vec<Rounded> = [x, &y].into_iter().zip(coordinates.chunks_mut(width)).map(|(row, to)| {
                let mut places = to.iter_mut();
                let mut numbers = Vec::new();
                let rounded = round(row.iter().copied(), |number| {
                    numbers.push(number);
                    if let Some(place) = places.next() {
                        *place = number;
                    }
                });
                points.push(numbers.iter().map(|&number| f64::from(number) * rounded.unit).collect::<Vec<f64>>());
                rounded
            }).collect();
            let cascade = Cascade::new(coordinates, width, &rounded);
            let exact = crate::distance(&points[0], &points[1]).powi(2);
            let found = cascade.squared_distance(0, 1);
            prop_assert!(found <= exact && exact - found <= 1e-13, "{} {}", found, exact);
        }
    }
}
