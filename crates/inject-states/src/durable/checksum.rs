//! The checksum of a stream of bytes.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

/// The XXH3 of a stream of bytes, in 64 bits. It is displayed as 16 hexadecimal digits.
///
/// It detects damage and exchanged files. It does not defend against a file made to deceive.
///
/// # Source
///
/// <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>, XXH3 in its 64-bit form with the seed 0.
///
/// # Example
///
/// ```
/// use inject_states::durable::Checksum;
///
/// let mut checksum = Checksum::new();
/// checksum.update(b"two ");
/// checksum.update(b"pieces");
/// assert_eq!(checksum.to_string(), Checksum::of(b"two pieces").to_string());
/// assert_eq!(Checksum::new().to_string(), "2d06800538d394c2");
/// ```
#[derive(Clone)]
pub struct Checksum(Xxh3);

impl Checksum {
    /// Returns the checksum of no bytes.
    pub fn new() -> Self {
        Checksum(Xxh3::new())
    }

    /// Returns the checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut checksum = Checksum::new();
        checksum.update(bytes);
        checksum
    }

    /// Adds the bytes that follow.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the checksum as a number.
    pub fn value(&self) -> u64 {
        self.0.digest()
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Checksum::new()
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.value())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths lie on both sides of the limits at which the algorithm changes: 16, 128, 240, and its blocks of 1,024.
    #[test]
    fn the_values_are_those_of_the_reference_implementation() {
        let bytes: Vec<u8> = (0..4096_u32).map(|place| (place * 37 + (place >> 8)) as u8).collect();
        for (length, expected) in REFERENCE {
            assert_eq!(Checksum::of(&bytes[..length]).to_string(), expected, "{length} bytes");
        }
    }

    /// By Python's xxhash, `xxh3_64_hexdigest`, of the bytes of the test.
    const REFERENCE: [(usize, &str); 14] = [
        (0, "2d06800538d394c2"),
        (1, "c44bdff4074eecdb"),
        (3, "2b15aa0b3d075427"),
        (8, "44db4d702e7af307"),
        (16, "79e8aab409bf708c"),
        (17, "eab8a05663e5e451"),
        (128, "d0c5f5cbbce75e08"),
        (129, "b983f428e1f4b8cd"),
        (240, "97ca2e159ebf5174"),
        (241, "8a70955e58ec2034"),
        (1023, "4a93a7d6e0754f64"),
        (1024, "4adcaceb384e2d8b"),
        (1025, "2d9efb2b7fcbbb3a"),
        (4096, "7dc38e1f751948d7"),
    ];
}
