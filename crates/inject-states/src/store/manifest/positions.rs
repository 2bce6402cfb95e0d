//! The positions of a prompt whose states are stored.

use std::{fmt, str::FromStr};

use crate::store::error::StoreError;

/// The positions of each prompt that have a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// The last position only: one row for each prompt.
    Last,
    /// All positions: one row for each token.
    All,
}

impl Positions {
    /// Returns the number of rows of a prompt of `length` tokens.
    pub(crate) fn rows(self, length: usize) -> usize {
        match self {
            Positions::Last => 1,
            Positions::All => length,
        }
    }

    /// Returns the position to which a row of a prompt of `length` tokens belongs. `row` is counted from the prompt's first row.
    pub(crate) fn position(self, row: usize, length: usize) -> usize {
        match self {
            Positions::Last => length - 1,
            Positions::All => row,
        }
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Positions::Last => "last",
            Positions::All => "all",
        })
    }
}

impl FromStr for Positions {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "last" => Ok(Positions::Last),
            "all" => Ok(Positions::All),
            _ => Err(StoreError::UnknownPositions { found: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_have_the_same_spelling() {
        for positions in [Positions::Last, Positions::All] {
            assert_eq!(positions.to_string().parse::<Positions>().unwrap(), positions);
            assert_eq!(serde_json::to_value(positions).unwrap(), positions.to_string());
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_names() {
        let error = "first".parse::<Positions>().unwrap_err().to_string();
        assert!(error.contains("`first`") && error.contains("`last` or `all`"), "{error}");
    }
}
