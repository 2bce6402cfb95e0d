//! Quantised matrices that stay in a safetensors file.

use std::{ops::Range, sync::Arc};

use memmap2::Mmap;

use super::{Method, Restored};
use crate::{checkpoint::Checkpoint, decoder::Codes, error::ModelError};

/// The rows of a matrix, with the scales of all of them.
pub(in super::super) struct Rows {
    map: Arc<Mmap>,
    /// The place of the codes in the file.
    codes: Range<usize>,
    stored: Restored,
    scales: Vec<f32>,
    rows: usize,
    width: usize,
}

impl Restored {
    /// The memory that the scales of so many numbers take.
    pub(in super::super) fn bytes_of_scales(&self, numbers: usize) -> usize {
        let scales = match &self.method {
            Method::FourBits(method) => method.blocks(numbers),
            Method::EightBits(method) => method.scales.shape.iter().product(),
            Method::Float8(method) => method.n_scales(),
        };
        scales * size_of::<f32>()
    }

    /// The rows of a matrix.
    pub(in super::super) fn rows(
        &self,
        checkpoint: &Checkpoint,
        [rows, width]: [usize; 2],
    ) -> Result<Rows, ModelError> {
        let len = self.method.codes(0..rows * width).len();
        let map = checkpoint.map(self.codes.file, self.codes.begin, len as u64)?;
        let begin = self.codes.begin as usize;
        let scales = self.scales(checkpoint)?;
        Ok(Rows { map, codes: begin..begin + len, stored: self.clone(), scales, rows, width })
    }
}

impl Codes for Rows {
    fn rows(&self) -> usize {
        self.rows
    }

    fn restore(&self, row: usize, columns: Range<usize>, numbers: &mut [f32]) {
        let first = row * self.width + columns.start;
        let codes = self.stored.method.codes(first..first + numbers.len());
        let codes = &self.map[self.codes.clone()][codes];
        self.stored.method.restore(&self.scales, codes, first, self.width, numbers);
    }

    fn places(&self) -> Vec<(&Mmap, Range<usize>)> {
        vec![(&self.map, self.codes.clone())]
    }
}
