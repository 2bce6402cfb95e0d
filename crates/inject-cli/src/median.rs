//! The median of measured values.

/// Returns the median of values in ascending order, at least one. Of an even number of values it is the mean of the middle two.
pub(crate) fn median(ascending: &[f64]) -> f64 {
    let count = ascending.len();
    (ascending[(count - 1) / 2] + ascending[count / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_of_values_has_the_mean_of_the_middle_two() {
        assert_eq!(median(&[4.0]), 4.0);
        assert_eq!(median(&[1.0, 3.0]), 2.0);
        assert_eq!(median(&[1.0, 3.0, 9.0]), 3.0);
        assert_eq!(median(&[1.0, 3.0, 5.0, 9.0]), 4.0);
    }
}
