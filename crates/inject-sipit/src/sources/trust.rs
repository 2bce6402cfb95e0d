//! The trust in several predictors, learned from the tokens found.

/// Updates the trust in several predictors after a token was found. A total of one is added, divided in proportion to each
/// predictor's probability of the token times its current trust. A token that no predictor expected changes nothing.
pub(super) fn credit(trust: &mut [f64], likelihoods: impl IntoIterator<Item = f64>) {
    let shares: Vec<f64> =
        trust.iter().zip(likelihoods).map(|(trust, likelihood)| trust * likelihood).collect();
    let all: f64 = shares.iter().sum();
    if all > 0.0 {
        trust.iter_mut().zip(shares).for_each(|(trust, share)| *trust += share / all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_found_token_counts_once_divided_by_what_was_predicted() {
        let mut trust = [1.0, 3.0, 1.0];
        credit(&mut trust, [0.3, 0.1, 0.0]);
        assert_eq!(trust, [1.5, 3.5, 1.0]);
        credit(&mut trust, [0.0; 3]);
        assert_eq!(trust, [1.5, 3.5, 1.0]);
    }
}
