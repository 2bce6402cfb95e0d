//! Rows rounded to whole multiples of a unit.

/// The largest length of a row, in units: its coordinates have 16 bits then, and a product of two rows has 31, whatever rounding
/// adds.
const LARGEST: f64 = 32_766.0;
/// With shorter units than this, products would underflow in f32.
const SHORTEST: f64 = 1.0 / (1_u64 << 48) as f64;

/// How a row was rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rounded {
    /// What the whole numbers are multiples of: a power of two, so that f32 numbers hold the rounded coordinates exactly.
    pub(crate) unit: f64,
    /// How far the row was moved.
    pub(crate) moved: f64,
}

/// Hands out the coordinates of a row in units, of which it is nearly as long as a row may be.
pub(crate) fn round(row: impl Iterator<Item = f64> + Clone, mut take: impl FnMut(i16)) -> Rounded {
    let length = row.clone().map(|value| value * value).sum::<f64>().sqrt();
    let unit = (length / LARGEST).log2().ceil().exp2().max(SHORTEST);
    let mut moved = 0.0;
    for value in row {
        let exact = value / unit;
        let rounded = exact.round();
        moved += (rounded - exact).powi(2);
        take(rounded as i16);
    }
    // The sum is off by a share that the factor has room for.
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
