//! Trust in several predictors, learned from the tokens found.

/// Adds one found token to the trust in several predictors, divided in proportion to each one's probability of the token times its
/// trust so far. A token that none of them expected changes nothing.
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
