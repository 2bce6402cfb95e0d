//! The spread of measured values.

use serde::{Deserialize, Serialize};

/// The mean, deviation, median and largest of some numbers, one for each prompt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Spread {
    /// The mean over all prompts.
    pub(crate) mean: f64,
    /// The standard deviation of the sample, with one less than the count in the denominator. Zero for a single number.
    pub(crate) standard_deviation: f64,
    /// The median over all prompts.
    pub(crate) median: f64,
    /// The largest of all prompts.
    pub(crate) largest: f64,
}

impl Spread {
    /// Describes at least one number. The median of an even number of them is the mean of the middle two.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Spread {
            mean,
            standard_deviation: (squares / count.saturating_sub(1).max(1) as f64).sqrt(),
            median: (values[(count - 1) / 2] + values[count / 2]) / 2.0,
            largest: values[count - 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_of_values_has_the_mean_of_the_middle_two_as_its_median() {
        for (values, median) in
            [(&[4.0][..], 4.0), (&[3.0, 1.0], 2.0), (&[9.0, 3.0, 1.0], 3.0), (&[9.0, 3.0, 5.0, 1.0], 4.0)]
        {
            assert_eq!(Spread::of(values.to_vec()).median, median, "{values:?}");
        }
    }
}
