//! Amounts of memory.

use std::{fmt, str::FromStr};

/// A whole number of megabytes (2^20 bytes), from 1 to 16 million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Megabytes(usize);

impl Megabytes {
    /// Far more than any machine has, and far from what overflows.
    const MOST: usize = 1 << 24;

    /// A number of bytes, rounded down to megabytes but to 1 at least.
    pub(crate) const fn of_bytes(bytes: usize) -> Self {
        let megabytes = bytes >> 20;
        Megabytes(if megabytes == 0 { 1 } else { megabytes })
    }

    pub(crate) const fn bytes(self) -> usize {
        self.0 << 20
    }

    /// The bytes of an option that may be absent.
    pub(crate) fn bytes_or(given: Option<Self>, default: usize) -> usize {
        given.map_or(default, Megabytes::bytes)
    }
}

impl FromStr for Megabytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<usize>() {
            Ok(megabytes) if (1..=Self::MOST).contains(&megabytes) => Ok(Megabytes(megabytes)),
            _ => Err(format!("expected a whole number of megabytes from 1 to {}", Self::MOST)),
        }
    }
}

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_amounts_are_refused_and_none_wraps_around() {
        for text in ["0", "-1", "1.5", "17592186044416", "16777217", "18446744073709551615"] {
            let expected = "expected a whole number of megabytes from 1 to 16777216".to_owned();
            assert_eq!(text.parse::<Megabytes>(), Err(expected), "{text}");
        }
        assert_eq!("512".parse::<Megabytes>().unwrap().bytes(), 512 << 20);
        assert_eq!(Megabytes(Megabytes::MOST).bytes(), 1 << 44);
        assert_eq!(Megabytes::of_bytes(5), Megabytes(1));
    }
}
