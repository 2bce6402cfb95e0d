//! Reading the head of a file in order, without leaving it.

use std::ops::Range;

use super::error::GgufError;

/// A place in the bytes of a file.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Passes over bytes and returns their place.
    pub(super) fn skip(&mut self, wanted: u64) -> Result<Range<usize>, GgufError> {
        let left = self.bytes.len() - self.at;
        if wanted > left as u64 {
            return Err(GgufError::CutOff { at: self.at, wanted, length: self.bytes.len() });
        }
        let place = self.at..self.at + wanted as usize;
        self.at = place.end;
        Ok(place)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let place = self.skip(N as u64)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[place]);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a text and returns its place.
    pub(super) fn text(&mut self) -> Result<Range<usize>, GgufError> {
        let length = self.u64()?;
        let place = self.skip(length)?;
        match std::str::from_utf8(&self.bytes[place.clone()]) {
            Ok(_) => Ok(place),
            Err(_) => Err(GgufError::Text { at: place.start }),
        }
    }

    /// Reads a text into a string of its own.
    pub(super) fn name(&mut self) -> Result<String, GgufError> {
        let place = self.text()?;
        Ok(text(self.bytes, &place).to_owned())
    }

    /// Reads a number of items that take at least `smallest` bytes each.
    pub(super) fn count(&mut self, items: &'static str, smallest: u64) -> Result<u64, GgufError> {
        let found = self.u64()?;
        self.fits(items, found, smallest)?;
        Ok(found)
    }

    /// Checks that the rest of the file can hold `found` items.
    pub(super) fn fits(&self, items: &'static str, found: u64, smallest: u64) -> Result<(), GgufError> {
        let most = (self.bytes.len() - self.at) as u64 / smallest;
        if found <= most { Ok(()) } else { Err(GgufError::Count { items, found, most }) }
    }
}

/// The text at a place that [`Cursor::text`] has checked.
pub(super) fn text<'a>(bytes: &'a [u8], place: &Range<usize>) -> &'a str {
    std::str::from_utf8(&bytes[place.clone()]).unwrap_or_default()
}
