//! The values of metadata keys.

use std::ops::Range;

use super::{cursor::Cursor, error::GgufError};

/// The value of a key. Texts and lists stay in the file, at a place that was checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Flag(bool),
    Text(Range<usize>),
    List(List),
}

/// A list of values of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List {
    pub(super) items: Kind,
    pub(super) len: usize,
    pub(super) place: Range<usize>,
}

/// The kind of a value that is not a list.
///
/// # Source
///
/// github.com/ggml-org/ggml, `docs/gguf.md` (`gguf_metadata_value_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Flag,
    Text,
    U64,
    I64,
    F64,
}

const LIST: u32 = 9;

impl Kind {
    fn of(number: u32) -> Option<Kind> {
        Some(match number {
            0 => Kind::U8,
            1 => Kind::I8,
            2 => Kind::U16,
            3 => Kind::I16,
            4 => Kind::U32,
            5 => Kind::I32,
            6 => Kind::F32,
            7 => Kind::Flag,
            8 => Kind::Text,
            10 => Kind::U64,
            11 => Kind::I64,
            12 => Kind::F64,
            _ => return None,
        })
    }

    /// The least bytes of an item in a list.
    fn smallest(self) -> u64 {
        match self {
            Kind::U8 | Kind::I8 | Kind::Flag => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            // The length of a text is a number of 64 bits.
            Kind::Text | Kind::U64 | Kind::I64 | Kind::F64 => 8,
        }
    }

    /// Reads one value of this kind.
    pub(super) fn read(self, cursor: &mut Cursor<'_>, key: &str) -> Result<Value, GgufError> {
        Ok(match self {
            Kind::U8 => Value::Unsigned(cursor.array().map(u8::from_le_bytes)?.into()),
            Kind::I8 => Value::Signed(cursor.array().map(i8::from_le_bytes)?.into()),
            Kind::U16 => Value::Unsigned(cursor.array().map(u16::from_le_bytes)?.into()),
            Kind::I16 => Value::Signed(cursor.array().map(i16::from_le_bytes)?.into()),
            Kind::U32 => Value::Unsigned(cursor.u32()?.into()),
            Kind::I32 => Value::Signed(cursor.array().map(i32::from_le_bytes)?.into()),
            Kind::F32 => Value::Float(cursor.array().map(f32::from_le_bytes)?.into()),
            Kind::U64 => Value::Unsigned(cursor.u64()?),
            Kind::I64 => Value::Signed(cursor.array().map(i64::from_le_bytes)?),
            Kind::F64 => Value::Float(cursor.array().map(f64::from_le_bytes)?),
            Kind::Text => Value::Text(cursor.text()?),
            Kind::Flag => match cursor.array()? {
                [0] => Value::Flag(false),
                [1] => Value::Flag(true),
                [found] => return Err(GgufError::Flag { key: key.to_owned(), found }),
            },
        })
    }
}

impl Value {
    /// The value as a whole number from 0 on, however it is stored.
    pub(super) fn whole(&self) -> Option<u64> {
        match self {
            Value::Unsigned(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The value as a finite number, however it is stored.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Value::Unsigned(number) => Some(*number as f64),
            Value::Signed(number) => Some(*number as f64),
            Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
            _ => None,
        }
    }

    /// Whether two values are equal. Numbers are compared as numbers, however they are stored.
    pub(super) fn means(&self, other: &Value) -> bool {
        match [self, other].map(Value::number) {
            [Some(a), Some(b)] => a == b,
            _ => self == other,
        }
    }

    /// Reads the value of a key, its type first.
    pub(super) fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, GgufError> {
        let unknown = |found| GgufError::ValueType { key: key.to_owned(), found };
        let number = cursor.u32()?;
        if number != LIST {
            return Kind::of(number).ok_or_else(|| unknown(number))?.read(cursor, key);
        }
        let number = cursor.u32()?;
        if number == LIST {
            return Err(GgufError::NestedList { key: key.to_owned() });
        }
        let items = Kind::of(number).ok_or_else(|| unknown(number))?;
        let len = cursor.count("items in a list", items.smallest())?;
        let begin = cursor.position();
        for _ in 0..len {
            items.read(cursor, key)?;
        }
        Ok(Value::List(List { items, len: len as usize, place: begin..cursor.position() }))
    }
}

impl List {
    /// Returns the items, in order.
    pub(super) fn values<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = Value> + use<'a> {
        let items = self.items;
        let begin = self.place.start;
        let mut cursor = Cursor::new(&bytes[self.place.clone()]);
        // The list was read once already, so that no item fails.
        (0..self.len).filter_map(move |_| items.read(&mut cursor, "").ok()).map(move |value| match value {
            Value::Text(place) => Value::Text(begin + place.start..begin + place.end),
            other => other,
        })
    }
}
