//! Matrices whose numbers are restored from codes.

use std::{fmt, ops::Range, sync::Arc};

use memmap2::Mmap;

use super::kernel::Kernel;

/// A range of columns that is restored by itself begins at a multiple of this number. It is a multiple of the blocks of every format,
/// because a block is restored as a whole.
pub(crate) const CODES_TOGETHER: usize = 256;

/// A matrix in a mapped file whose numbers share scales, tables and the like with their neighbours.
pub(crate) trait Codes: Send + Sync {
    /// The number of rows, one for each output.
    fn rows(&self) -> usize;

    /// Restores some numbers of a row. The range begins at a multiple of [`CODES_TOGETHER`], and ends at one or at the end of the row.
    fn restore(&self, row: usize, columns: Range<usize>, numbers: &mut [f32]);

    /// The places of the codes in their files.
    fn places(&self) -> Vec<(&Mmap, Range<usize>)>;
}

/// A matrix of codes, stored output by output.
pub(super) struct CodedMatrix {
    width: usize,
    tensors: Vec<Arc<dyn Codes>>,
    parts: Vec<Part>,
    /// The number of rows up to the end of each part.
    ends: Vec<usize>,
    pub(super) kernel: Kernel,
}

/// Consecutive rows of a tensor.
#[derive(Clone)]
struct Part {
    tensor: usize,
    rows: Range<usize>,
}

impl fmt::Debug for CodedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "codes [{}, {}] in a file", self.rows(), self.width)
    }
}

impl CodedMatrix {
    pub(super) fn new(width: usize, tensors: Vec<Arc<dyn Codes>>) -> Option<Self> {
        let parts = tensors.iter().enumerate().map(|(tensor, codes)| Part { tensor, rows: 0..codes.rows() });
        let parts = parts.collect();
        (width > 0).then(|| Self::of_parts(width, tensors, parts))
    }

    fn of_parts(width: usize, tensors: Vec<Arc<dyn Codes>>, parts: Vec<Part>) -> Self {
        let mut rows = 0;
        let mut end = |part: &Part| {
            rows += part.rows.len();
            rows
        };
        let ends = parts.iter().map(&mut end).collect();
        CodedMatrix { width, tensors, parts, ends, kernel: Kernel::detect() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.places().map(|(_, bytes)| bytes.len()).sum()
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Restores some numbers of a row: see [`Codes::restore`].
    pub(super) fn restore(&self, row: usize, columns: Range<usize>, numbers: &mut [f32]) {
        let place = self.ends.partition_point(|&end| end <= row);
        let Part { tensor, rows } = &self.parts[place];
        self.tensors[*tensor].restore(row + rows.end - self.ends[place], columns, numbers);
    }

    /// The matrix of some ranges of these rows, one after another.
    pub(super) fn with_rows(&self, ranges: impl Iterator<Item = Range<usize>>) -> Self {
        let parts = ranges.flat_map(|rows| self.parts_of(rows)).collect();
        Self::of_parts(self.width, self.tensors.clone(), parts)
    }

    /// The parts that hold consecutive rows.
    fn parts_of(&self, rows: Range<usize>) -> Vec<Part> {
        let ends = self.ends.iter().zip(&self.parts);
        let parts = ends.filter_map(|(&end, part)| {
            let first = end - part.rows.len();
            let (begin, end) = (rows.start.max(first), rows.end.min(end));
            let within = |row: usize| part.rows.start + row - first;
            (begin < end).then(|| Part { tensor: part.tensor, rows: within(begin)..within(end) })
        });
        parts.collect()
    }

    /// The places of the codes in their files.
    pub(super) fn places(&self) -> impl Iterator<Item = (&Mmap, Range<usize>)> {
        self.tensors.iter().flat_map(|codes| codes.places())
    }
}
