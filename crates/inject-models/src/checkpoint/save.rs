//! From the parameters of a decoder to a safetensors file under a family's names.

use std::{borrow::Cow, collections::HashMap, io, path::Path};

use burn::tensor::Tensor;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensorError, View};

use crate::{
    ModelError,
    families::{Names, Projection, Stored},
    host::to_host,
};

/// The number format of weights on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightDtype {
    /// 32 bits.
    F32,
    /// 16 bits, 11 of them precision; nothing beyond 65504.
    F16,
    /// 16 bits, 8 of them precision, with the range of 32.
    Bf16,
}

/// Tensors on their way to a file, as [`Weights`](super::Weights) is for those that come from one: a matrix that the
/// decoder holds in one piece is taken apart again and turned the way the family stores it.
pub(crate) struct WeightWriter<'a> {
    names: &'static Names,
    dtype: WeightDtype,
    path: &'a Path,
    tensors: Vec<(String, Bytes)>,
}

/// One tensor as the file holds it.
struct Bytes {
    dtype: WeightDtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl<'a> WeightWriter<'a> {
    pub(crate) fn new(names: &'static Names, dtype: WeightDtype, path: &'a Path) -> Self {
        WeightWriter { names, dtype, path, tensors: Vec::new() }
    }

    pub(crate) fn embedding(&mut self, values: Tensor<2>) -> Result<(), ModelError> {
        self.tensor(self.outside_blocks(self.names.embedding), values)
    }

    pub(crate) fn positions(&mut self, values: Tensor<2>) -> Result<(), ModelError> {
        self.tensor(self.outside_blocks(self.names.positions), values)
    }

    pub(crate) fn head(&mut self, values: Tensor<2>) -> Result<(), ModelError> {
        self.tensor(self.names.head.to_owned(), values)
    }

    pub(crate) fn final_norm(&mut self, part: &str, values: Tensor<1>) -> Result<(), ModelError> {
        self.tensor(format!("{}.{part}", self.outside_blocks(self.names.final_norm)), values)
    }

    pub(crate) fn block_norm(
        &mut self,
        block: usize,
        norm: fn(&Names) -> &'static str,
        part: &str,
        values: Tensor<1>,
    ) -> Result<(), ModelError> {
        self.tensor(format!("{}.{part}", self.in_block(block, norm(self.names))), values)
    }

    /// A matrix `[d_in, sum of widths]`, its parts side by side.
    pub(crate) fn matrix(
        &mut self,
        block: usize,
        projection: &Projection,
        widths: &[usize],
        values: Tensor<2>,
    ) -> Result<(), ModelError> {
        let mut begin = 0;
        let name = |stem: &str| format!("{}.weight", self.in_block(block, stem));
        for (name, width) in projection.tensors(widths, name) {
            let part = values.clone().narrow(1, begin, width);
            begin += width;
            self.tensor(
                name,
                match projection.stored {
                    Stored::InOut => part,
                    Stored::OutIn => part.transpose(),
                },
            )?;
        }
        Ok(())
    }

    /// A bias of the sum of widths, its parts side by side.
    pub(crate) fn bias(
        &mut self,
        block: usize,
        projection: &Projection,
        widths: &[usize],
        values: Tensor<1>,
    ) -> Result<(), ModelError> {
        let mut begin = 0;
        let name = |stem: &str| format!("{}.bias", self.in_block(block, stem));
        for (name, width) in projection.tensors(widths, name) {
            self.tensor(name, values.clone().narrow(0, begin, width))?;
            begin += width;
        }
        Ok(())
    }

    /// Writes the file.
    pub(crate) fn finish(self) -> Result<(), ModelError> {
        // transformers refuses a file that does not say which library's layout it has.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(self.tensors, Some(metadata), self.path).map_err(|error| {
            let source = match error {
                SafeTensorError::IoError(source) => source,
                other => io::Error::other(other),
            };
            ModelError::Io { path: self.path.to_owned(), source }
        })
    }

    fn tensor<const D: usize>(&mut self, name: String, values: Tensor<D>) -> Result<(), ModelError> {
        let shape = values.dims().to_vec();
        let values = to_host::<f32, D>(values)?;
        let written = |value: f32| match self.dtype {
            WeightDtype::F32 => value,
            WeightDtype::F16 => f16::from_f32(value).to_f32(),
            WeightDtype::Bf16 => bf16::from_f32(value).to_f32(),
        };
        if let Some(element) = values.iter().position(|&value| !written(value).is_finite()) {
            return Err(ModelError::NotFinite {
                path: self.path.to_owned(),
                tensor: name,
                element,
                found: f64::from(written(values[element])),
            });
        }
        let bytes = match self.dtype {
            WeightDtype::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            WeightDtype::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
            WeightDtype::Bf16 => {
                values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()
            }
        };
        self.tensors.push((name, Bytes { dtype: self.dtype, shape, bytes }));
        Ok(())
    }

    fn outside_blocks(&self, stem: &str) -> String {
        assert_named(stem);
        format!("{}{stem}", self.names.prefixes[0])
    }

    fn in_block(&self, block: usize, stem: &str) -> String {
        assert_named(stem);
        self.names.in_block(self.names.prefixes[0], block, stem)
    }
}

fn assert_named(stem: &str) {
    assert!(!stem.is_empty(), "the decoder is not of this family: it has a parameter without a name there");
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        match self.dtype {
            WeightDtype::F32 => Dtype::F32,
            WeightDtype::F16 => Dtype::F16,
            WeightDtype::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
