//! The policy for the token that begins a sequence.

use std::{fmt, str::FromStr};

use inject_models::Bos;

use crate::store::error::StoreError;

/// The textual form of [`BosPolicy::AsGiven`].
const AS_GIVEN: &str = "as given";

/// The origin of the first token of each prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BosPolicy {
    /// The prompts were given as token ids.
    AsGiven,
    /// The prompts were given as text and encoded with this setting for BOS.
    Encoded(Bos),
}

impl From<Bos> for BosPolicy {
    fn from(bos: Bos) -> Self {
        BosPolicy::Encoded(bos)
    }
}

impl fmt::Display for BosPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BosPolicy::AsGiven => f.write_str(AS_GIVEN),
            BosPolicy::Encoded(bos) => bos.fmt(f),
        }
    }
}

impl FromStr for BosPolicy {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        match text {
            AS_GIVEN => Ok(BosPolicy::AsGiven),
            _ => text
                .parse()
                .map(BosPolicy::Encoded)
                .map_err(|_| StoreError::UnknownBosPolicy { found: text.to_owned() }),
        }
    }
}

inject_models::serialise_as_text!(BosPolicy);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_have_the_same_spelling() {
        for policy in [BosPolicy::AsGiven, Bos::Auto.into(), Bos::Yes.into(), Bos::No.into()] {
            assert_eq!(policy.to_string().parse::<BosPolicy>().unwrap(), policy);
            assert_eq!(serde_json::to_value(policy).unwrap(), policy.to_string());
        }
    }

    #[test]
    fn an_unknown_policy_is_refused_with_the_known_ones() {
        let error = "never".parse::<BosPolicy>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown policy for BOS `never`: expected `auto`, `yes`, `no` or `as given`"
        );
    }
}
