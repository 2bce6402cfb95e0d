//! Matrices of plain numbers.

use std::{fmt, ops::Range, sync::Arc};

use memmap2::Mmap;

use super::{
    Layout,
    coded::Codes,
    kernel::{Kernel, by_input::Columns},
};
use crate::format::FloatFormat;

/// A matrix of numbers of one format. Beside parts of other formats it is read as codes are.
pub(crate) struct PlainMatrix {
    pub(super) format: FloatFormat,
    pub(super) layout: Layout,
    /// The numbers of a row.
    pub(super) width: usize,
    pub(super) segments: Vec<Segment>,
    /// The number of rows up to the end of each segment.
    pub(super) ends: Vec<usize>,
    pub(super) kernel: Kernel,
}

/// Consecutive rows in one file.
#[derive(Clone)]
pub(crate) struct Segment {
    /// The mapped file that holds the rows.
    pub(crate) map: Arc<Mmap>,
    /// Offset of the first row in the file, in bytes.
    pub(crate) begin: usize,
    /// The number of consecutive rows.
    pub(crate) rows: usize,
}

impl fmt::Debug for PlainMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}, {}] in a file", self.format, self.rows(), self.width)
    }
}

impl PlainMatrix {
    /// See [`Mapped::new`](super::Mapped::new).
    pub(super) fn new(
        format: FloatFormat,
        layout: Layout,
        width: usize,
        segments: Vec<Segment>,
    ) -> Option<Self> {
        let computed_with = format != FloatFormat::F64 && width > 0 && cfg!(target_endian = "little");
        let one_matrix = layout == Layout::ByOutput || segments.len() == 1;
        (computed_with && one_matrix).then(|| Self::of_segments(format, layout, width, segments))
    }

    /// A matrix of the rows of several segments, one after another.
    ///
    /// # Panics
    ///
    /// Panics if a segment exceeds its file: the header was checked.
    pub(crate) fn of_segments(
        format: FloatFormat,
        layout: Layout,
        width: usize,
        segments: Vec<Segment>,
    ) -> Self {
        let row = width * format.bytes();
        let mut rows = 0;
        let mut ends = Vec::with_capacity(segments.len());
        for Segment { map, begin, rows: more } in &segments {
            assert!(begin + more * row <= map.len(), "a matrix exceeds its file");
            rows += more;
            ends.push(rows);
        }
        PlainMatrix { format, layout, width, segments, ends, kernel: Kernel::detect() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows() * self.width * self.format.bytes()
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    pub(super) fn inputs(&self) -> usize {
        match self.layout {
            Layout::ByOutput => self.width,
            Layout::ByInput => self.rows(),
        }
    }

    pub(super) fn outputs(&self) -> usize {
        match self.layout {
            Layout::ByOutput => self.rows(),
            Layout::ByInput => self.width,
        }
    }

    /// The weights of some outputs for some inputs, stored input by input.
    pub(super) fn columns(&self, inputs: Range<usize>, outputs: Range<usize>) -> Columns<'_> {
        // `new` takes one segment.
        let Segment { map, begin, .. } = &self.segments[0];
        let at = |input: usize, output: usize| begin + (input * self.width + output) * self.format.bytes();
        Columns {
            bytes: &map[at(inputs.start, outputs.start)..at(inputs.end - 1, outputs.end)],
            stride: self.width * self.format.bytes(),
            inputs: inputs.len(),
            outputs: outputs.len(),
        }
    }

    /// The bytes of some columns of a row.
    pub(super) fn part(&self, row: usize, columns: Range<usize>) -> &[u8] {
        let segment = self.ends.partition_point(|&end| end <= row);
        let Segment { map, begin, rows } = &self.segments[segment];
        let within = row + rows - self.ends[segment];
        let bytes = self.format.bytes();
        &map[begin + (within * self.width + columns.start) * bytes..][..columns.len() * bytes]
    }

    /// The matrix of some ranges of these rows, one after another.
    pub(super) fn with_rows(&self, ranges: impl Iterator<Item = Range<usize>>) -> Self {
        let segments = ranges.flat_map(|rows| self.segments_of(rows)).collect();
        Self::of_segments(self.format, self.layout, self.width, segments)
    }

    /// The segments that hold consecutive rows.
    fn segments_of(&self, rows: Range<usize>) -> Vec<Segment> {
        let row_bytes = self.width * self.format.bytes();
        let ends = self.ends.iter().zip(&self.segments);
        let parts = ends.filter_map(|(&end, segment)| {
            let first = end - segment.rows;
            let (begin, end) = (rows.start.max(first), rows.end.min(end));
            (begin < end).then(|| Segment {
                map: Arc::clone(&segment.map),
                begin: segment.begin + (begin - first) * row_bytes,
                rows: end - begin,
            })
        });
        parts.collect()
    }

    /// The places of the matrix in its files.
    pub(super) fn places(&self) -> impl Iterator<Item = (&Mmap, Range<usize>)> {
        let row = self.width * self.format.bytes();
        self.segments
            .iter()
            .map(move |Segment { map, begin, rows }| (map.as_ref(), *begin..begin + rows * row))
    }
}

impl Codes for PlainMatrix {
    fn rows(&self) -> usize {
        PlainMatrix::rows(self)
    }

    fn restore(&self, row: usize, columns: Range<usize>, numbers: &mut [f32]) {
        self.format.decode(self.part(row, columns), numbers);
    }

    fn places(&self) -> Vec<(&Mmap, Range<usize>)> {
        PlainMatrix::places(self).collect()
    }
}
