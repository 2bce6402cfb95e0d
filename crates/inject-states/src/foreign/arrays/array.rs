//! A named array: its numbers, its axes and its place in the file.

use std::fmt;

use crate::foreign::{
    ForeignProblem,
    encoding::{ByteOrder, Encoding},
};

/// A named array whose values have not been read.
#[derive(Clone, Debug)]
pub(in crate::foreign) struct Array {
    pub(in crate::foreign) name: String,
    pub(in crate::foreign) elements: Elements,
    pub(in crate::foreign) axes: Vec<Axis>,
    /// The index of its bytes in [`Archive::contents`](super::Archive::contents).
    pub(in crate::foreign) content: usize,
    /// The offset of the first value there.
    pub(in crate::foreign) start: u64,
    /// Whether its values lie there. A tensor of a damaged file that nobody reads is no reason to refuse the others.
    pub(in crate::foreign) is_whole: bool,
}

/// The numbers of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::foreign) enum Elements {
    Float(Encoding),
    Integer {
        bytes: usize,
        signed: bool,
        byte_order: ByteOrder,
    },
    /// One byte each, 0 or 1.
    Truth,
    /// Numbers that are neither states nor ids, by the name the file gives them.
    Other(String),
}

/// The length of an axis, and the distance of its neighbours in values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::foreign) struct Axis {
    pub(in crate::foreign) length: usize,
    pub(in crate::foreign) stride: usize,
}

impl Array {
    /// An array in the order of C, whose last axis varies fastest.
    pub(in crate::foreign) fn contiguous(
        name: impl Into<String>,
        elements: Elements,
        shape: &[usize],
        content: usize,
        start: u64,
    ) -> Self {
        let mut stride = 1_usize;
        let mut axes: Vec<Axis> = Vec::with_capacity(shape.len());
        for &length in shape.iter().rev() {
            axes.push(Axis { length, stride });
            stride = stride.saturating_mul(length);
        }
        axes.reverse();
        Array { name: name.into(), elements, axes, content, start, is_whole: true }
    }

    /// The same array in Fortran's order, whose first axis varies fastest.
    pub(in crate::foreign) fn in_fortran_order(mut self) -> Self {
        let mut stride = 1_usize;
        for axis in &mut self.axes {
            axis.stride = stride;
            stride = stride.saturating_mul(axis.length);
        }
        self
    }

    pub(in crate::foreign) fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.length).collect()
    }

    /// The length of the axis before the last, which is that of the rows in a batch of one. 0 if there is none.
    pub(in crate::foreign) fn rows(&self) -> usize {
        self.axes.len().checked_sub(2).map_or(0, |place| self.axes[place].length)
    }

    /// The number of its prompts, if it is `[token, d_model]` or `[prompt, token, d_model]`.
    pub(in crate::foreign) fn prompts(&self) -> Option<usize> {
        match self.axes[..] {
            _ if !self.is_whole => None,
            [_, _] => Some(1),
            [batch, _, _] => Some(batch.length),
            _ => None,
        }
    }

    /// The encoding of its floats, if it holds floats.
    pub(in crate::foreign) fn encoding(&self) -> Option<Encoding> {
        match self.elements {
            Elements::Float(encoding) => Some(encoding),
            _ => None,
        }
    }

    /// Fails if its values do not lie where the file says.
    pub(in crate::foreign) fn check_whole(&self) -> Result<(), ForeignProblem> {
        if self.is_whole { Ok(()) } else { Err(ForeignProblem::Storage { tensor: self.name.clone() }) }
    }

    /// Its name and shape, for people who choose among arrays.
    pub(in crate::foreign) fn described(&self) -> String {
        format!("`{}` {:?}", self.name, self.shape())
    }

    pub(in crate::foreign) fn unknown_dtype(&self, expected: &'static str) -> ForeignProblem {
        ForeignProblem::Dtype { tensor: self.name.clone(), found: self.elements.to_string(), expected }
    }

    /// Returns the number of values, unless its bytes overflow.
    pub(super) fn values(&self) -> Result<usize, ForeignProblem> {
        let product = self.axes.iter().try_fold(1_usize, |product, axis| product.checked_mul(axis.length));
        product.filter(|&values| values <= usize::MAX / 8).ok_or(ForeignProblem::OutOfMemory)
    }

    /// The offsets of its values in the order of its axes.
    pub(super) fn offsets(&self) -> impl Iterator<Item = usize> {
        let axes = &self.axes;
        let values = axes.iter().map(|axis| axis.length).product();
        (0..values).map(move |index| {
            let mut rest: usize = index;
            let mut offset = 0;
            for axis in axes.iter().rev() {
                offset += rest % axis.length * axis.stride;
                rest /= axis.length;
            }
            offset
        })
    }
}

impl Elements {
    /// The bytes of one number, if these are numbers that can be read.
    pub(in crate::foreign) fn bytes(&self) -> Option<usize> {
        match self {
            Elements::Float(encoding) => Some(encoding.format.bytes()),
            Elements::Integer { bytes, .. } => Some(*bytes),
            Elements::Truth => Some(1),
            Elements::Other(_) => None,
        }
    }
}

impl fmt::Display for Elements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Elements::Float(encoding) => write!(f, "{}", encoding.format.to_string().to_uppercase()),
            Elements::Integer { bytes, signed, .. } => {
                write!(f, "{}{}", if *signed { 'I' } else { 'U' }, 8 * bytes)
            }
            Elements::Truth => f.write_str("BOOL"),
            Elements::Other(name) => f.write_str(name),
        }
    }
}
