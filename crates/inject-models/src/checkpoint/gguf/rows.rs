//! Matrices that stay in a GGUF file.

use std::{ops::Range, sync::Arc};

use memmap2::Mmap;

use super::{Change, Stored, blocks::Blocks};
use crate::{
    checkpoint::values::StoredRows,
    decoder::{CODES_TOGETHER, Codes, Segment},
    format::FloatFormat,
};

/// The rows of a matrix, in their published order.
struct Rows {
    map: Arc<Mmap>,
    stored: Stored,
    rows: usize,
    width: usize,
}

impl Stored {
    /// Returns whether a matrix of so many rows can be used where it is.
    pub(in super::super) fn stays(&self, rows: usize) -> bool {
        let whole_rows = match self.change {
            Change::None => true,
            // The numbers of a single row are reordered, and not rows.
            Change::Reordered(_) => rows > 1,
            Change::PlusOne => false,
        };
        whole_rows && self.blocks != Blocks::Float(FloatFormat::F64)
    }

    /// The format of numbers that are not codes.
    pub(in super::super) fn plain_format(&self) -> Option<FloatFormat> {
        match self.blocks {
            Blocks::Float(format) => Some(format),
            _ => None,
        }
    }

    /// The rows of a matrix that [stays](Self::stays).
    pub(in super::super) fn rows(&self, map: &Arc<Mmap>, [rows, width]: [usize; 2]) -> StoredRows {
        let Blocks::Float(format) = self.blocks else {
            let (map, stored) = (Arc::clone(map), self.clone());
            return StoredRows::Coded(Arc::new(Rows { map, stored, rows, width }));
        };
        let segment = |row: usize, rows: usize| {
            let begin = self.place.start + row * width * format.bytes();
            Segment { map: Arc::clone(map), begin, rows }
        };
        let segments = match self.change {
            Change::Reordered(order) => (0..rows).map(|row| segment(order.place(row, rows), 1)).collect(),
            Change::None | Change::PlusOne => vec![segment(0, rows)],
        };
        StoredRows::Plain(format, segments)
    }
}

impl Codes for Rows {
    fn rows(&self) -> usize {
        self.rows
    }

    fn restore(&self, row: usize, columns: Range<usize>, numbers: &mut [f32]) {
        let blocks = self.stored.blocks;
        const { assert!(CODES_TOGETHER.is_multiple_of(256), "the longest blocks have 256 numbers") };
        let row = match self.stored.change {
            Change::Reordered(order) => order.place(row, self.rows),
            Change::None | Change::PlusOne => row,
        };
        let bytes = |numbers: usize| numbers / blocks.numbers() * blocks.bytes();
        let begin = self.stored.place.start + row * bytes(self.width) + bytes(columns.start);
        blocks.decode(&self.map[begin..][..bytes(columns.len())], numbers);
    }

    fn places(&self) -> Vec<(&Mmap, Range<usize>)> {
        vec![(&self.map, self.stored.place.clone())]
    }
}

#[cfg(test)]
mod tests {
    use memmap2::MmapMut;

    use super::{
        super::{Order, blocks::tests::of_every_format},
        *,
    };
    use crate::checkpoint::values::Place;

    #[test]
    fn parts_of_rows_are_those_of_whole_rows() {
        let (rows, width) = (12, 768);
        let changes = [
            Change::None,
            Change::Reordered(Order::Interleaved { heads: 3 }),
            Change::Reordered(Order::QueriesKeysValues { heads: 2 }),
        ];
        for (blocks, sample) in of_every_format() {
            let len = rows * width / blocks.numbers() * blocks.bytes();
            let mut map = MmapMut::map_anon(len + 32).unwrap();
            let bytes = sample.iter().copied().cycle();
            map.iter_mut().skip(32).zip(bytes).for_each(|(to, byte)| *to = byte);
            let map = Arc::new(map.make_read_only().unwrap());
            for change in changes {
                let stored = Stored { blocks, place: 32..32 + len, change };
                assert!(stored.stays(rows));
                let rows_of_file = stored.rows(&map, [rows, width]);
                let codes = Place { shape: [rows, width], rows: rows_of_file }.codes();
                assert_eq!(codes.rows(), rows);
                for row in 0..rows {
                    let mut whole = vec![0.0; width];
                    stored.row(&map, row, rows, &mut whole);
                    for columns in [0..width, 256..512, 512..width] {
                        let mut part = vec![f32::NAN; columns.len()];
                        codes.restore(row, columns.clone(), &mut part);
                        let bits = |numbers: &[f32]| {
                            numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>()
                        };
                        assert_eq!(bits(&part), bits(&whole[columns]), "{blocks:?} {change:?}, row {row}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_changed_in_every_number_does_not_stay() {
        let stored = |blocks, change| Stored { blocks, place: 0..0, change };
        let of_one_row = Change::Reordered(Order::Interleaved { heads: 1 });
        for stored in [
            stored(Blocks::Q4K, Change::PlusOne),
            stored(Blocks::Q4K, of_one_row),
            stored(Blocks::Float(FloatFormat::F64), Change::None),
        ] {
            assert!(!stored.stays(1), "{stored:?}");
        }
    }
}
