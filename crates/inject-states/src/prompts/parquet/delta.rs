//! The number of values that a page in a delta encoding announces.
//!
//! Blocks of equal differences take no room, so a few bytes can stand for any number of values. parquet 60.1.0 reserves four bytes for
//! each of them before it reads the first.
//!
//! # Source
//!
//! <https://github.com/apache/parquet-format/blob/master/Encodings.md>: DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY and
//! DELTA_BYTE_ARRAY.

use parquet::{basic::Encoding, column::page::Page};

/// The most values of a page. Their lengths take 64 MiB.
pub(super) const MOST_VALUES: u64 = 1 << 24;

/// Returns the number of values that a page in a delta encoding announces, the larger one if it announces two.
///
/// Returns nothing for other encodings, and where a page ends too early or does not have levels as `nullable` says: the reader reports
/// that before it reserves memory.
pub(super) fn announced_values(page: &Page, nullable: bool) -> Option<u64> {
    let encoding = page.encoding();
    if !matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY) {
        return None;
    }
    let values = page.buffer().get(length_of_levels(page, nullable)?..)?;
    let mut lengths = Lengths { bytes: values };
    let first = lengths.header()?;
    if encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY || first.values > MOST_VALUES {
        return Some(first.values);
    }
    // After the lengths of the beginnings that repeat come those of the rest.
    let second = lengths.skip_blocks(&first).and_then(|()| lengths.header());
    Some(second.map_or(first.values, |second| second.values.max(first.values)))
}

/// The bytes before the values, which say which of them are null.
fn length_of_levels(page: &Page, nullable: bool) -> Option<usize> {
    match page {
        Page::DataPage { .. } if !nullable => Some(0),
        #[expect(deprecated, reason = "old files have it")]
        Page::DataPage { num_values, def_level_encoding: Encoding::BIT_PACKED, .. } => {
            Some((*num_values as usize).div_ceil(8))
        }
        Page::DataPage { buf, .. } => {
            let length = i32::from_le_bytes(buf.get(..4)?.try_into().ok()?);
            usize::try_from(length).ok()?.checked_add(4)
        }
        Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
            Some(*def_levels_byte_len as usize + *rep_levels_byte_len as usize)
        }
        Page::DictionaryPage { .. } => None,
    }
}

/// The beginning of a list of numbers in DELTA_BINARY_PACKED.
struct Header {
    miniblocks: u64,
    values_per_miniblock: u64,
    values: u64,
}

/// Reads lists of numbers in DELTA_BINARY_PACKED.
struct Lengths<'a> {
    bytes: &'a [u8],
}

impl Lengths<'_> {
    fn header(&mut self) -> Option<Header> {
        let [block, miniblocks, values, _first] =
            [self.number()?, self.number()?, self.number()?, self.number()?];
        // parquet accepts blocks of no values too, and believes the count of values beside them.
        Some(Header { miniblocks, values_per_miniblock: block.checked_div(miniblocks)?, values })
    }

    /// Skips the blocks after a header.
    fn skip_blocks(&mut self, header: &Header) -> Option<()> {
        // The first value is in the header.
        let mut left = header.values.saturating_sub(1);
        while left > 0 {
            let _smallest = self.number()?;
            for width in self.take(header.miniblocks)? {
                if left == 0 {
                    break;
                }
                // The last miniblock is whole, too.
                self.take(u64::from(*width).checked_mul(header.values_per_miniblock)? / 8)?;
                left = left.saturating_sub(header.values_per_miniblock);
            }
        }
        Some(())
    }

    /// Reads a number of 7 bits a byte.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> Lengths<'a> {
    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(usize::try_from(len).ok()?)?;
        self.bytes = rest;
        Some(taken)
    }
}
