//! Whether some shares are all shares of one piece of work.

use std::{ops::Range, path::PathBuf};

use super::Share;

/// The result of one share: its place, and the pieces that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareResult {
    /// The file or folder that holds the result.
    pub path: PathBuf,
    /// The share of the work.
    pub share: Share,
    /// The numbers of its pieces, which are neighbours.
    pub pieces: Range<usize>,
}

/// The reason why results are not those of all shares, each once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoverError {
    /// The list of results is empty.
    #[error("no shares: expected the results of all shares of a piece of work")]
    Nothing,
    /// The work was divided in two ways.
    #[error("`{path}` is share {found} and `{other}` is share {expected}: expected shares of one division")]
    OtherDivision {
        /// The place of one share.
        path: PathBuf,
        /// The place of the other.
        other: PathBuf,
        /// The share whose result is at `path`.
        found: Share,
        /// The share whose result is at `other`.
        expected: Share,
    },
    /// Two results are of the same share.
    #[error("share {share} is there twice: in `{path}` and `{other}`")]
    Doubled {
        /// The share that occurs twice.
        share: Share,
        /// The place of one result.
        path: PathBuf,
        /// The place of the other result.
        other: PathBuf,
    },
    /// Some pieces are in no share.
    #[error("{what} {first} to {last} of {count} are missing: expected share {}", names(missing))]
    Missing {
        /// The plural noun of the pieces.
        what: &'static str,
        /// The shares that hold these pieces. Some of them may be empty.
        missing: Vec<Share>,
        /// The first missing piece, from 0.
        first: usize,
        /// The last one of those that follow it.
        last: usize,
        /// The number of pieces of all shares.
        count: usize,
    },
    /// A share holds pieces of another.
    #[error("`{path}`: share {share} begins with number {found} of the {what}, expected {expected}")]
    Displaced {
        /// The plural noun of the pieces.
        what: &'static str,
        /// The place of the share.
        path: PathBuf,
        /// The share that begins in the wrong place.
        share: Share,
        /// The number of its first piece.
        found: usize,
        /// The number after the shares before it.
        expected: usize,
    },
    /// A share holds more pieces than there are.
    #[error("`{path}`: share {share} ends before number {found} of the {what}, expected at most {count}")]
    Beyond {
        /// The plural noun of the pieces.
        what: &'static str,
        /// The place of the share.
        path: PathBuf,
        /// The share that ends too late.
        share: Share,
        /// The number after its last piece.
        found: usize,
        /// The number of pieces of all shares.
        count: usize,
    },
}

impl ShareResult {
    /// Creates the result of a share at a place.
    pub fn new(path: PathBuf, share: Share, pieces: Range<usize>) -> Self {
        ShareResult { path, share, pieces }
    }

    /// Returns the order of the results, as their numbers in the list, if they are those of all shares of `count` pieces of work,
    /// each once. Empty shares may be missing. `what` is the plural noun of the pieces.
    ///
    /// # Errors
    ///
    /// [`CoverError`].
    pub fn cover(
        results: &[ShareResult],
        count: usize,
        what: &'static str,
    ) -> Result<Vec<usize>, CoverError> {
        let first = results.first().ok_or(CoverError::Nothing)?;
        let of = first.share.of();
        if let Some(result) = results.iter().find(|result| result.share.of() != of) {
            let (path, other) = (result.path.clone(), first.path.clone());
            return Err(CoverError::OtherDivision {
                path,
                other,
                found: result.share,
                expected: first.share,
            });
        }
        let mut order: Vec<usize> = (0..results.len()).collect();
        order.sort_by_key(|&at| results[at].share.number());
        for pair in order.windows(2).map(|pair| [&results[pair[0]], &results[pair[1]]]) {
            if pair[0].share == pair[1].share {
                let [path, other] = pair.map(|result| result.path.clone());
                return Err(CoverError::Doubled { share: pair[0].share, path, other });
            }
        }
        let missing = |shares: Range<usize>, pieces: Range<usize>| CoverError::Missing {
            what,
            missing: shares.filter_map(|number| Share::new(number, of).ok()).collect(),
            first: pieces.start,
            last: pieces.end.saturating_sub(1),
            count,
        };
        let (mut next_share, mut next) = (0, 0);
        for result in order.iter().map(|&at| &results[at]) {
            let ShareResult { path, share, pieces } = result;
            if pieces.start > next && share.number() > next_share {
                return Err(missing(next_share..share.number(), next..pieces.start));
            }
            if pieces.start != next {
                let (path, share, found, expected) = (path.clone(), *share, pieces.start, next);
                return Err(CoverError::Displaced { what, path, share, found, expected });
            }
            if pieces.end > count {
                let (path, share, found) = (path.clone(), *share, pieces.end);
                return Err(CoverError::Beyond { what, path, share, found, count });
            }
            (next_share, next) = (share.number() + 1, pieces.end);
        }
        if next < count { Err(missing(next_share..of, next..count)) } else { Ok(order) }
    }
}

/// Names consecutive shares: `2/7`, or `2/7 to 6/7`.
fn names(shares: &[Share]) -> String {
    match shares {
        [] => "none".to_owned(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cover of 10 tokens by shares of these pieces, in order.
    fn cover(of: usize, pieces: &[(usize, Range<usize>)]) -> Result<Vec<usize>, String> {
        let result = |(number, pieces): &(usize, Range<usize>)| {
            let path = PathBuf::from(format!("share-{}", number + 1));
            ShareResult::new(path, Share::new(*number, of).unwrap(), pieces.clone())
        };
        let results: Vec<ShareResult> = pieces.iter().map(result).collect();
        ShareResult::cover(&results, 10, "tokens").map_err(|error| error.to_string())
    }

    #[test]
    fn shares_in_any_order_are_put_into_that_of_their_pieces() {
        assert_eq!(cover(3, &[(2, 6..10), (0, 0..3), (1, 3..6)]), Ok(vec![1, 2, 0]));
        // Empty shares may be there or not.
        assert_eq!(cover(4, &[(3, 6..10), (2, 6..6), (0, 0..6)]), Ok(vec![2, 1, 0]));
    }

    #[test]
    fn pieces_that_do_not_exist_are_refused() {
        let error = cover(2, &[(0, 0..5), (1, 5..11)]).unwrap_err();
        assert_eq!(error, "`share-2`: share 2/2 ends before number 11 of the tokens, expected at most 10");
        let error = cover(2, &[(0, 0..5), (1, 4..10)]).unwrap_err();
        assert_eq!(error, "`share-2`: share 2/2 begins with number 4 of the tokens, expected 5");
    }
}
