//! Medians, which a few outliers do not move.

/// The median: the upper of the two middle values if their number is even, zero if there is none. Reorders the values.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f64::total_cmp).1 }
}

/// The median and the median distance from it.
pub(crate) fn centre_and_spread(mut values: Vec<f64>) -> (f64, f64) {
    let centre = median(&mut values);
    values.iter_mut().for_each(|value| *value = (*value - centre).abs());
    (centre, median(&mut values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_moves_neither_the_centre_nor_the_spread() {
        assert_eq!(centre_and_spread(vec![1.0, 2.0, 3.0, 4.0, 5.0]), (3.0, 1.0));
        assert_eq!(centre_and_spread(vec![1.0, 2.0, 3.0, 4.0, 5e9]), (3.0, 1.0));
        assert_eq!(centre_and_spread(Vec::new()), (0.0, 0.0));
    }
}
