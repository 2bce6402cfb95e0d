//! The structs of a Parquet file's own description, without those that take long to skip.
//!
//! parquet 60.1.0 skips a field that it does not know element by element. A list of booleans has up to 2^31 elements that
//! take no bytes, so a few bytes cost seconds. Parquet has no such list where this module looks: in a page's header and in
//! the footer. Every other element takes a byte at least.

use std::io::{self, ErrorKind, Read};

use parquet::errors::{ParquetError, Result};

/// The deepest struct within a struct that parquet 60.1.0 skips.
const DEEPEST: usize = 64;

/// Fails if a list, a set or a map of booleans occurs in the struct with which `bytes` begin.
///
/// The reader reports bytes that are cut off or malformed in another way.
///
/// # Source
///
/// <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>
pub(super) fn refuse_booleans(bytes: impl Read) -> Result<()> {
    match (Walk { bytes }).value(STRUCT, DEEPEST) {
        Ok(()) | Err(Stop::Malformed) => Ok(()),
        Err(Stop::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
        Err(Stop::Io(error)) => Err(error.into()),
        Err(Stop::Booleans(count)) => {
            Err(ParquetError::General(format!("{count} booleans in a field that is not Parquet's")))
        }
    }
}

const BOOLEANS: [u8; 2] = [1, 2];
const BYTE: u8 = 3;
const INTEGERS: [u8; 3] = [4, 5, 6];
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LISTS: [u8; 2] = [9, 10];
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// The reason why a walk ends early.
enum Stop {
    Booleans(u64),
    Malformed,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Io(error)
    }
}

struct Walk<R> {
    bytes: R,
}

impl<R: Read> Walk<R> {
    /// Passes over a value of type `kind`.
    fn value(&mut self, kind: u8, depth: usize) -> std::result::Result<(), Stop> {
        let depth = depth.checked_sub(1).ok_or(Stop::Malformed)?;
        match kind {
            // The value of a field stands in its type.
            _ if BOOLEANS.contains(&kind) => Ok(()),
            BYTE => self.byte().map(drop),
            _ if INTEGERS.contains(&kind) => self.number().map(drop),
            DOUBLE => self.pass(8),
            UUID => self.pass(16),
            BINARY => {
                let length = self.number()?;
                self.pass(length)
            }
            STRUCT => loop {
                let head = self.byte()?;
                match head & 0x0f {
                    0 => return Ok(()),
                    field => {
                        if head >> 4 == 0 {
                            self.number()?;
                        }
                        self.value(field, depth)?;
                    }
                }
            },
            _ if LISTS.contains(&kind) => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.number()?,
                    few => u64::from(few),
                };
                self.elements(count, &[head & 0x0f], depth)
            }
            MAP => match self.number()? {
                0 => Ok(()),
                count => {
                    let kinds = self.byte()?;
                    self.elements(count, &[kinds >> 4, kinds & 0x0f], depth)
                }
            },
            _ => Err(Stop::Malformed),
        }
    }

    /// Passes over `count` elements, each of one value of every type in `kinds`.
    fn elements(&mut self, count: u64, kinds: &[u8], depth: usize) -> std::result::Result<(), Stop> {
        if count > 0 && kinds.iter().all(|kind| BOOLEANS.contains(kind)) {
            return Err(Stop::Booleans(count));
        }
        for _ in 0..count {
            for &kind in kinds {
                self.value(kind, depth)?;
            }
        }
        Ok(())
    }

    fn byte(&mut self) -> std::result::Result<u8, Stop> {
        let mut byte = [0];
        self.bytes.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Reads a number of at most 64 bits, 7 bits a byte.
    fn number(&mut self) -> std::result::Result<u64, Stop> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Stop::Malformed)
    }

    fn pass(&mut self, length: u64) -> std::result::Result<(), Stop> {
        match io::copy(&mut self.bytes.by_ref().take(length), &mut io::sink())? {
            passed if passed == length => Ok(()),
            _ => Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^31 - 1 as Thrift writes it.
    const MANY: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x07];

    fn found(bytes: &[u8]) -> Option<String> {
        refuse_booleans(bytes).err().map(|error| error.to_string())
    }

    #[test]
    fn collections_of_booleans_are_refused_wherever_they_stand() {
        let list = [&[0x19, 0xf1][..], &MANY, &[0]].concat();
        let set = [&[0x1a, 0xf2][..], &MANY, &[0]].concat();
        let map = [&[0x1b][..], &MANY, &[0x12, 0]].concat();
        let in_a_struct = [&[0x15, 2, 0x1c][..], &list, &[0]].concat();
        let in_a_list = [&[0x19, 0x2c][..], &list, &[0, 0]].concat();
        // The field's number is written out.
        let far = [&[0x09, 0x80, 0x01, 0xf1][..], &MANY, &[0]].concat();
        for bytes in [list, set, map, in_a_struct, in_a_list, far] {
            let text = found(&bytes).unwrap();
            assert!(text.contains("2147483647 booleans in a field that is not Parquet's"), "{text}");
        }
    }

    #[test]
    fn other_structs_pass() {
        // A boolean, an integer, a double, bytes, an empty list, a list of two numbers, a map from a number to a boolean.
        let fields: [&[u8]; 7] = [
            &[0x11],
            &[0x15, 4],
            &[0x17, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x18, 2, 9, 9],
            &[0x19, 0],
            &[0x19, 0x25, 1, 1],
            &[0x1b, 1, 0x51, 7],
        ];
        let whole = [fields.concat(), vec![0]].concat();
        for end in 0..=whole.len() {
            assert_eq!(found(&whole[..end]), None, "cut off after {end} bytes");
        }
    }

    #[test]
    fn deep_structs_end_the_walk() {
        assert_eq!(found(&[0x1c; 1 << 20]), None);
    }

    #[test]
    fn many_elements_end_with_the_bytes() {
        assert_eq!(found(&[&[0x19, 0xfc][..], &MANY, &[0; 100]].concat()), None);
    }
}
