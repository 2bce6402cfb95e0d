//! The structs of a Parquet file's own description, without those that take long to read.
//!
//! parquet 60.1.0 skips a field that it does not know element by element. A list of booleans has up to 2^31 elements that
//! take no bytes, and beyond the end of a file a list of doubles takes none either, so a few bytes cost seconds. Parquet has no such
//! lists where this module looks: in a page's header and in the footer. Every other element takes a byte at least.
//!
//! A field that it knows is read as what it should be, whatever type the file gives it. So these types are compared too. Otherwise
//! this module would take for the bytes of a text what is then read as a list.

use std::io::{self, ErrorKind, Read};

use parquet::errors::{ParquetError, Result};

use super::structs::Fields;

/// The deepest value within a field that parquet 60.1.0 skips.
const DEEPEST: usize = 64;

/// Fails if `bytes` do not begin with a struct of these fields and others, or if it contains a list, a set or a map of booleans.
///
/// # Source
///
/// <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>
pub(super) fn check(bytes: impl Read, fields: Fields) -> Result<()> {
    (Walk { bytes }).value(STRUCT, Some(&Type::Struct(fields)), DEEPEST).map_err(|stop| match stop {
        Stop::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            ParquetError::EOF("a struct of the file's description is cut off".to_owned())
        }
        Stop::Io(error) => error.into(),
        Stop::Malformed => ParquetError::General("a struct of the file's description is damaged".to_owned()),
        Stop::Booleans(count) => {
            ParquetError::General(format!("{count} booleans in a field that is not Parquet's"))
        }
    })
}

/// The type that a field has in Parquet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    Bool,
    Byte,
    /// An integer of 16 to 64 bits, or an enum.
    Number,
    Double,
    Binary,
    List(&'static Type),
    Struct(Fields),
}

impl Type {
    fn is_written_as(self, kind: u8) -> bool {
        match self {
            Type::Bool => BOOLEANS.contains(&kind),
            Type::Byte => kind == BYTE,
            Type::Number => INTEGERS.contains(&kind),
            Type::Double => kind == DOUBLE,
            Type::Binary => kind == BINARY,
            Type::List(_) => kind == LIST,
            Type::Struct(_) => kind == STRUCT,
        }
    }
}

const BOOLEANS: [u8; 2] = [1, 2];
const BYTE: u8 = 3;
const INTEGERS: [u8; 3] = [4, 5, 6];
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
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

type Step<T> = std::result::Result<T, Stop>;

struct Walk<R> {
    bytes: R,
}

impl<R: Read> Walk<R> {
    /// Passes over a value that is written as `kind`. `known` is the type that it has in Parquet, if it has one.
    fn value(&mut self, kind: u8, known: Option<&Type>, depth: usize) -> Step<()> {
        if known.is_some_and(|known| !known.is_written_as(kind)) {
            return Err(Stop::Malformed);
        }
        // Within a known type the depth is that of the tables.
        let depth = match known {
            Some(_) => DEEPEST,
            None => depth.checked_sub(1).ok_or(Stop::Malformed)?,
        };
        match kind {
            // The value of a field is in its type.
            _ if BOOLEANS.contains(&kind) => Ok(()),
            BYTE => self.byte().map(drop),
            _ if INTEGERS.contains(&kind) => self.number().map(drop),
            DOUBLE => self.pass(8),
            UUID => self.pass(16),
            BINARY => {
                let length = self.number()?;
                self.pass(length)
            }
            STRUCT => {
                let fields = if let Some(Type::Struct(fields)) = known { *fields } else { &[] };
                self.fields(fields, depth)
            }
            LIST | SET => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.number()?,
                    few => u64::from(few),
                };
                let known = if let Some(Type::List(element)) = known { Some(*element) } else { None };
                self.elements(count, &[head & 0x0f], known, depth)
            }
            MAP => match self.number()? {
                0 => Ok(()),
                count => {
                    let kinds = self.byte()?;
                    self.elements(count, &[kinds >> 4, kinds & 0x0f], None, depth)
                }
            },
            _ => Err(Stop::Malformed),
        }
    }

    /// Passes over the fields of a struct, to its end.
    fn fields(&mut self, fields: &[(i16, Type)], depth: usize) -> Step<()> {
        let mut last = 0_i16;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                return Ok(());
            }
            last = match head >> 4 {
                0 => {
                    let number = self.number()?;
                    ((number >> 1) as i64 ^ -((number & 1) as i64)) as i16
                }
                distance => last.checked_add(distance.into()).ok_or(Stop::Malformed)?,
            };
            let known = fields.iter().find(|(number, _)| *number == last);
            self.value(kind, known.map(|(_, known)| known), depth)?;
        }
    }

    /// Passes over `count` elements, each of one value of every type in `kinds`.
    fn elements(&mut self, count: u64, kinds: &[u8], known: Option<&Type>, depth: usize) -> Step<()> {
        if count > 0 && kinds.iter().all(|kind| BOOLEANS.contains(kind)) {
            return Err(Stop::Booleans(count));
        }
        for _ in 0..count {
            for &kind in kinds {
                self.value(kind, known, depth)?;
            }
        }
        Ok(())
    }

    fn byte(&mut self) -> Step<u8> {
        let mut byte = [0];
        self.bytes.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Reads a number, 7 bits a byte. Of one that is too long, bits are mixed as parquet 60.1.0 mixes them.
    fn number(&mut self) -> Step<u64> {
        let (mut number, mut place) = (0, 0_u32);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).wrapping_shl(place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            place = place.wrapping_add(7);
        }
    }

    fn pass(&mut self, length: u64) -> Step<()> {
        match io::copy(&mut self.bytes.by_ref().take(length), &mut io::sink())? {
            passed if passed == length => Ok(()),
            _ => Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::parquet::structs::{FILE, PAGE_HEADER};

    /// 2^31 - 1 as Thrift writes it.
    const MANY: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x07];

    /// The error of a struct of which no field is known.
    fn found(bytes: &[u8]) -> Option<String> {
        check(bytes, &[]).err().map(|error| error.to_string())
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
        assert_eq!(found(&whole), None);
        for end in 0..whole.len() {
            assert!(found(&whole[..end]).unwrap().contains("cut off"), "after {end} bytes");
        }
    }

    #[test]
    fn a_known_field_of_another_type_is_refused_wherever_it_stands() {
        // A boolean in the place of the sorting of a dictionary, then a text in its place.
        let dictionary = |field: &[u8]| [&[0x7c, 0x15, 2, 0x15, 0][..], field, &[0, 0]].concat();
        check(&dictionary(&[0x11])[..], PAGE_HEADER).unwrap();
        let refused = |bytes: &[u8], fields| {
            let text = check(bytes, fields).unwrap_err().to_string();
            assert!(text.contains("damaged"), "{text}");
        };
        refused(&dictionary(&[0x18, 0]), PAGE_HEADER);
        // A text in the place of the number of values, in which a list of booleans stands for the reader that takes it for a number.
        let hidden = [&[0x7c, 0x18, 9, 0x19, 0xf1][..], &MANY, &[0, 0, 0, 0]].concat();
        refused(&hidden, PAGE_HEADER);
        // Numbers where texts should be, in the list of a schema.
        refused(&[0x29, 0x25, 2, 2, 0], FILE);
        check(&[0x29, 0x0c, 0][..], FILE).unwrap();
    }

    #[test]
    fn a_list_of_doubles_beyond_the_end_is_refused() {
        for kind in [DOUBLE, UUID] {
            let bytes = [&[0x19, 0xf0 | kind][..], &MANY].concat();
            assert!(found(&bytes).unwrap().contains("cut off"));
        }
    }

    #[test]
    fn a_number_of_many_bytes_hides_nothing() {
        // The number goes on for 12 bytes.
        let bytes = [&[0x15][..], &[0x80; 11], &[1, 0x19, 0xf1], &MANY, &[0]].concat();
        assert!(found(&bytes).unwrap().contains("booleans"));
    }

    #[test]
    fn deep_structs_end_the_walk() {
        assert!(found(&[0x1c; 1 << 20]).unwrap().contains("damaged"));
    }

    #[test]
    fn many_elements_end_with_the_bytes() {
        assert!(found(&[&[0x19, 0xfc][..], &MANY, &[0; 100]].concat()).unwrap().contains("cut off"));
    }
}
