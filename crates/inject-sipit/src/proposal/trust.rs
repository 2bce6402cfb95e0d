//! How much each of several advisers is to be trusted, by what they said of the tokens found.

/// Adds one token found to the trust in advisers: shared out by how likely each of them held it, times how much it was trusted. What
/// none of them expected speaks for nobody.
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
    fn a_token_found_counts_once_shared_by_what_was_said_of_it() {
        let mut trust = [1.0, 3.0, 1.0];
        credit(&mut trust, [0.3, 0.1, 0.0]);
        assert_eq!(trust, [1.5, 3.5, 1.0]);
        credit(&mut trust, [0.0; 3]);
        assert_eq!(trust, [1.5, 3.5, 1.0]);
    }
}
