//! Rows rounded to integer multiples of a unit.

/// The largest length of a row, in units. It ensures that coordinates fit into 16 bits and products of two rows into 31 bits,
/// even after rounding.
const LARGEST: f64 = 32_766.0;
/// The smallest unit. With a smaller one, products would underflow in f32.
const SMALLEST_UNIT: f64 = 1.0 / (1_u64 << 48) as f64;

/// The unit of a rounded row, and the error of the rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rounded {
    /// The unit: a power of two, so that f32 holds the rounded coordinates exactly.
    pub(crate) unit: f64,
    /// An upper bound of the distance between the row and its rounded form.
    pub(crate) moved: f64,
}

/// Passes each coordinate of a row to `take`, in the smallest unit in which the row is at most [`LARGEST`] long.
pub(crate) fn round(row: impl Iterator<Item = f64> + Clone, mut take: impl FnMut(i16)) -> Rounded {
    let length = row.clone().map(|value| value * value).sum::<f64>().sqrt();
    let unit = (length / LARGEST).log2().ceil().exp2().max(SMALLEST_UNIT);
    let mut moved = 0.0;
    for value in row {
        let exact = value / unit;
        let rounded = exact.round();
        moved += (rounded - exact).powi(2);
        take(rounded as i16);
    }
    // The last factor covers the rounding of the sum.
    Rounded { unit, moved: moved.sqrt() * unit * (1.0 + 1e-9) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_follows_the_length() {
        for (length, unit) in [(1.0, -14), (0.7, -15), (0.0, -48), (1e-30, -48)] {
            let rounded = round([length, 0.0].into_iter(), |_| ());
            assert_eq!(rounded.unit, 2_f64.powi(unit), "{length}");
        }
    }
}
