//! Matrices that stay in a mapped file.
//!
//! Nothing is copied when such a matrix is made. Its numbers are widened to F32 where they are multiplied, by own code on the CPU.

mod kernel;
mod product;
mod stored;

use std::{fmt, ops::Range, sync::Arc};

use burn::{
    module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor},
    tensor::{DType, Device, Tensor, TensorData},
};
#[cfg(unix)]
use memmap2::Advice;
use memmap2::Mmap;

use self::kernel::Kernel;
use crate::format::FloatFormat;

/// A matrix in a mapped file. A clone shares it.
#[derive(Clone, Debug)]
pub(crate) struct Mapped(Arc<MappedMatrix>);

/// The rows of a matrix, each with `d_in` numbers.
struct MappedMatrix {
    format: FloatFormat,
    d_in: usize,
    segments: Vec<Segment>,
    /// The number of rows up to the end of each segment.
    ends: Vec<usize>,
    kernel: Kernel,
}

/// Consecutive rows in one file.
#[derive(Clone)]
pub(crate) struct Segment {
    /// The file.
    pub(crate) map: Arc<Mmap>,
    /// The first byte.
    pub(crate) begin: usize,
    /// The number of rows.
    pub(crate) rows: usize,
}

impl fmt::Debug for MappedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}, {}] in a file", self.format, self.rows(), self.d_in)
    }
}

impl Mapped {
    /// Makes a matrix of the rows of several segments, one after another. Returns nothing for F64, which is not computed with.
    ///
    /// # Panics
    ///
    /// Panics if a segment exceeds its file: the header was checked.
    pub(crate) fn new(format: FloatFormat, d_in: usize, segments: Vec<Segment>) -> Option<Self> {
        if format == FloatFormat::F64 || d_in == 0 || cfg!(target_endian = "big") {
            return None;
        }
        let row = d_in * format.bytes();
        let mut rows = 0;
        let mut ends = Vec::with_capacity(segments.len());
        for Segment { map, begin, rows: more } in &segments {
            assert!(begin + more * row <= map.len(), "a matrix exceeds its file");
            rows += more;
            ends.push(rows);
        }
        let kernel = Kernel::detect();
        Some(Mapped(Arc::new(MappedMatrix { format, d_in, segments, ends, kernel })))
    }

    /// The size of the matrix in its files.
    pub(super) fn bytes(&self) -> usize {
        self.0.rows() * self.0.d_in * self.0.format.bytes()
    }

    /// The number of rows and the width.
    pub(super) fn dims(&self) -> [usize; 2] {
        [self.0.rows(), self.0.d_in]
    }

    /// The same matrix with its rows divided into `outer * inner` equal parts, the two counts exchanged.
    pub(super) fn exchanged(&self, [outer, inner]: [usize; 2]) -> Self {
        let rows = self.0.rows() / (outer * inner);
        let segments = (0..inner).flat_map(|i| (0..outer).map(move |o| o * inner + i));
        let segments = segments.flat_map(|part| self.0.segments_of(part * rows..(part + 1) * rows)).collect();
        Mapped::new(self.0.format, self.0.d_in, segments).unwrap_or_else(|| self.clone())
    }

    /// Asks the system to read the matrix into memory, in the order in which it is in its files.
    pub(super) fn read_ahead(&self) {
        // Linux reads no more than a window at a time, whatever is asked for. This is the smallest usual one.
        #[cfg(unix)]
        const WINDOW: usize = 128 << 10;
        #[cfg(unix)]
        for (map, bytes) in self.0.places() {
            for begin in bytes.clone().step_by(WINDOW) {
                // A system that does not do so reads the pages when they are used.
                let _ = map.advise_range(Advice::WillNeed, begin, WINDOW.min(bytes.end - begin));
            }
        }
    }

    /// Tells the system that the matrix is not needed for a while, so that its pages are the first to make room.
    pub(super) fn drop_pages(&self) {
        #[cfg(target_os = "linux")]
        for (map, bytes) in self.0.places() {
            // Whole pages only: the ends belong to the neighbours too.
            const PAGE: usize = 64 << 10;
            let (begin, end) = (bytes.start.next_multiple_of(PAGE), bytes.end / PAGE * PAGE);
            if begin < end {
                // SAFETY: the range is in the map, and begins at a page. The pages are read from the file again when they are used.
                unsafe { libc::madvise(map.as_ptr().add(begin).cast_mut().cast(), end - begin, libc::MADV_PAGEOUT) };
            }
        }
    }

    /// Multiplies rows of F32 with some rows of the matrix.
    ///
    /// # Shapes
    ///
    /// `x` is `[rows, d_in]`, and the result `[rows, outputs.len()]`.
    pub(super) fn product(&self, x: Tensor<2>, outputs: Range<usize>) -> Tensor<2> {
        let device = x.device();
        // The gradient of `x` needs tensors all the way, and other formats the products of the device.
        if device.is_autodiff() || x.dtype() != DType::F32 {
            let weight = self.tensor(outputs, &device, x.dtype());
            return x.matmul(weight.transpose());
        }
        let [rows, _] = x.dims();
        let x = x.into_data();
        let x = x.as_slice::<f32>().expect("the dtype was compared");
        let shape = [rows, outputs.len()];
        let values = product::product(self.0.kernel, &self.0, outputs, x);
        Tensor::from_data(TensorData::new(values, shape), &device)
    }

    /// Some rows as a tensor on a device.
    ///
    /// # Shapes
    ///
    /// `[rows.len(), d_in]`.
    pub(super) fn tensor(&self, rows: Range<usize>, device: &Device, dtype: DType) -> Tensor<2> {
        self.select(rows, device, dtype)
    }

    /// The rows with these numbers as a tensor on a device.
    ///
    /// # Shapes
    ///
    /// `[rows, d_in]`.
    pub(super) fn select(
        &self,
        rows: impl ExactSizeIterator<Item = usize>,
        device: &Device,
        dtype: DType,
    ) -> Tensor<2> {
        let MappedMatrix { d_in, format, .. } = *self.0;
        let shape = [rows.len(), d_in];
        let mut values = vec![0.0; shape[0] * d_in];
        for (row, values) in rows.zip(values.chunks_exact_mut(d_in)) {
            format.decode(self.0.part(row, 0..d_in), values);
        }
        Tensor::from_data(TensorData::new(values, shape), (device, dtype))
    }
}

impl MappedMatrix {
    fn rows(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The places of the matrix in its files.
    #[cfg(unix)]
    fn places(&self) -> impl Iterator<Item = (&Mmap, Range<usize>)> {
        let row = self.d_in * self.format.bytes();
        self.segments.iter().map(move |Segment { map, begin, rows }| (map.as_ref(), *begin..begin + rows * row))
    }

    /// The bytes of some columns of a row.
    fn part(&self, row: usize, columns: Range<usize>) -> &[u8] {
        let segment = self.ends.partition_point(|&end| end <= row);
        let Segment { map, begin, rows } = &self.segments[segment];
        let within = row + rows - self.ends[segment];
        let bytes = self.format.bytes();
        &map[begin + (within * self.d_in + columns.start) * bytes..][..columns.len() * bytes]
    }

    /// The segments that hold consecutive rows.
    fn segments_of(&self, rows: Range<usize>) -> Vec<Segment> {
        let row_bytes = self.d_in * self.format.bytes();
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
}

/// No parameter: a mapped matrix is neither trained nor moved.
impl Module for Mapped {
    fn visit<V: ModuleVisitor>(&self, _: &mut V) {}

    fn map<M: ModuleMapper>(self, _: &mut M) -> Self {
        self
    }

    fn to_device(self, _: &Device) -> Self {
        self
    }

    fn fork(self, _: &Device) -> Self {
        self
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn train(self) -> Self {
        self
    }
}

impl ModuleDisplayDefault for Mapped {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&format!("{:?}", self.0)).optional()
    }
}

impl ModuleDisplay for Mapped {}
