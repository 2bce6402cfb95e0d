//! The names of the studies.

use std::{fmt, str::FromStr};

use crate::error::StudyError;

crate::models::listed! {
    /// A study that records its units in a journal.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[non_exhaustive]
    pub enum StudyName {
        /// The comparison of policies by the program `inject`.
        ComparePolicies,
        /// Distances between many prompts, by [`corpus`](crate::corpus()).
        Corpus,
        /// Noise and margins by number format, by [`decoding`](crate::decoding()).
        Decoding,
        /// `degenerate` for each case, by the program `inject`.
        Degenerate,
        /// The measurement of inversions at several taps and prompt lengths by the program `inject`.
        Depth,
        /// Every pair of prompts, by [`exhaustive`](crate::exhaustive()).
        Exhaustive,
        /// Closest pairs by number format, by [`formats`](crate::formats()).
        Formats,
        /// Distances by prompt length, by [`lengths`](crate::lengths()).
        Lengths,
        /// Margins along prompts, by [`margins`](crate::margins()).
        Margins,
        /// Decoders of random weights, by `random_weights`.
        RandomWeights,
        /// Inversion by number format, by [`recovery`](crate::recovery()).
        Recovery,
        /// Prompts that repeat one token, by [`repeats`](crate::repeats()).
        Repeats,
        /// Prompts that were made to be similar, by [`stress`](crate::stress()).
        Stress,
        /// `training` for each decoder and optimiser, by the program `inject`.
        Training,
    }

    /// Every name, in alphabetical order.
    pub const ALL;
}

impl StudyName {
    /// Returns the name that is used in journals and file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            StudyName::ComparePolicies => "compare-policies",
            StudyName::Corpus => "corpus",
            StudyName::Decoding => "decoding",
            StudyName::Degenerate => "degenerate",
            StudyName::Depth => "depth",
            StudyName::Exhaustive => "exhaustive",
            StudyName::Formats => "formats",
            StudyName::Lengths => "lengths",
            StudyName::Margins => "margins",
            StudyName::RandomWeights => "random-weights",
            StudyName::Recovery => "recovery",
            StudyName::Repeats => "repeats",
            StudyName::Stress => "stress",
            StudyName::Training => "training",
        }
    }
}

impl fmt::Display for StudyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StudyName {
    type Err = StudyError;

    /// Parses the name that [`StudyName::as_str`] returns.
    ///
    /// # Errors
    ///
    /// [`StudyError::UnknownStudy`].
    fn from_str(text: &str) -> Result<Self, StudyError> {
        let known = StudyName::ALL.iter().find(|name| name.as_str() == text);
        known.copied().ok_or_else(|| StudyError::UnknownStudy { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_it_is_written() {
        for name in StudyName::ALL {
            assert_eq!(name.to_string().parse::<StudyName>().unwrap(), *name);
            assert_eq!(serde_json::to_string(name).unwrap(), format!("\"{name}\""));
        }
        let error = "margin".parse::<StudyName>().unwrap_err().to_string();
        assert!(
            error.contains("`margin`")
                && error.contains("corpus, decoding, degenerate, depth")
                && error.contains("margins")
        );
    }
}
