//! One of several shares of a piece of work.

mod cover;

use std::{fmt, ops::Range, str::FromStr};

pub use self::cover::{CoverError, ShareResult};

/// One of several shares of a list of independent pieces of work.
///
/// As text and in JSON, shares are counted from 1: `2/7` is the second of seven. In Rust they are counted from 0.
///
/// # Example
///
/// ```
/// use inject_states::Share;
///
/// let second: Share = "2/3".parse()?;
/// assert_eq!((second.number(), second.of()), (1, 3));
/// assert_eq!(second.range(10), 3..6);
/// assert_eq!(second.every(10).collect::<Vec<_>>(), [1, 4, 7]);
/// assert_eq!(second.to_string(), "2/3");
/// # Ok::<(), inject_states::ShareError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    number: usize,
    of: usize,
}

/// The reason why there is no such share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The text is not two integers with a slash between them.
    #[error("`{found}` is not a share: expected SHARE/SHARES, such as 1/3 for the first of three")]
    Syntax {
        /// The text that was given.
        found: String,
    },
    /// The number of the share is beyond the number of shares.
    #[error("there is no share {share} of {shares}, counted from 0: expected one below {shares}")]
    OutOfRange {
        /// The number of the share, counted from 0.
        share: usize,
        /// The number of shares into which the work is divided.
        shares: usize,
    },
}

impl Share {
    /// The only share of work that is not divided.
    pub const WHOLE: Share = Share { number: 0, of: 1 };

    /// Share `number` of `of` shares, counted from 0.
    ///
    /// # Errors
    ///
    /// [`ShareError::OutOfRange`] if the number is not below the number of shares.
    pub fn new(number: usize, of: usize) -> Result<Self, ShareError> {
        match number < of {
            true => Ok(Share { number, of }),
            false => Err(ShareError::OutOfRange { share: number, shares: of }),
        }
    }

    /// Returns the number of the share, counted from 0.
    pub fn number(self) -> usize {
        self.number
    }

    /// Returns the number of shares.
    pub fn of(self) -> usize {
        self.of
    }

    /// Returns this share of `count` pieces as neighbours. The ranges of all shares, one after the other, are `0..count`. A range is
    /// empty if there are fewer pieces than shares.
    pub fn range(self, count: usize) -> Range<usize> {
        let begin = |number: usize| (number as u128 * count as u128 / self.of as u128) as usize;
        begin(self.number)..begin(self.number + 1)
    }

    /// Returns this share of `count` pieces as every `of`-th one. So pieces whose cost grows with their number are divided evenly.
    pub fn every(self, count: usize) -> impl Iterator<Item = usize> {
        (self.number..count).step_by(self.of)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number + 1, self.of)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let syntax = || ShareError::Syntax { found: text.to_owned() };
        let (number, of) = text.split_once('/').ok_or_else(syntax)?;
        let parse = |digits: &str| digits.parse::<usize>().map_err(|_| syntax());
        let number = parse(number)?.checked_sub(1).ok_or_else(syntax)?;
        Share::new(number, parse(of)?).map_err(|_| syntax())
    }
}

inject_models::serialise_as_text!(Share);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_counted_from_one_in_text() {
        assert_eq!("1/3".parse(), Share::new(0, 3));
        assert_eq!("3/3".parse(), Share::new(2, 3));
        for text in ["", "3", "0/3", "4/3", "a/b", "1/3/5", "-1/3"] {
            assert!(text.parse::<Share>().unwrap_err().to_string().contains("SHARE/SHARES"), "{text}");
        }
        assert_eq!(serde_json::to_string(&Share::new(1, 7).unwrap()).unwrap(), "\"2/7\"");
        let error = serde_json::from_str::<Share>("\"8/7\"").unwrap_err();
        assert!(error.to_string().contains("SHARE/SHARES"), "{error}");
    }

    proptest! {
        #[test]
        fn every_piece_is_in_exactly_one_share(of in 1_usize..20, count in 0_usize..100) {
            let shares = || (0..of).map(|number| Share::new(number, of).unwrap());
            let ranges: Vec<usize> = shares().flat_map(|share| share.range(count)).collect();
            prop_assert_eq!(ranges, (0..count).collect::<Vec<_>>());
            let mut every: Vec<usize> = shares().flat_map(|share| share.every(count)).collect();
            every.sort_unstable();
            prop_assert_eq!(every, (0..count).collect::<Vec<_>>());
        }
    }
}
