//! From the parameters of a decoder to a safetensors file under a family's names.

use std::{borrow::Cow, collections::HashMap, io, path::Path};

use burn::tensor::Tensor;
use safetensors::{Dtype, SafeTensorError, View};

use crate::{
    error::ModelError,
    families::{Names, Projection, Stored},
    format::FloatFormat,
    host::to_host,
};

/// The tensors of a file that is being made: the counterpart of [`Weights`](super::Weights). It takes apart what the
/// decoder holds in one matrix, and transposes each part to the way the family stores it.
pub(crate) struct WeightWriter<'a> {
    names: &'static Names,
    format: FloatFormat,
    path: &'a Path,
    tensors: Vec<(String, Bytes)>,
}

/// One tensor as the file holds it.
struct Bytes {
    format: FloatFormat,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl<'a> WeightWriter<'a> {
    pub(crate) fn new(names: &'static Names, format: FloatFormat, path: &'a Path) -> Self {
        WeightWriter { names, format, path, tensors: Vec::new() }
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
                    Stored::OutIn | Stored::OutInByHead => part.transpose(),
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

    /// Writes all tensors to one safetensors file.
    pub(crate) fn finish(self) -> Result<(), ModelError> {
        // transformers refuses a file that does not say which library's layout it has.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(self.tensors, Some(metadata), self.path).map_err(|error| {
            let source = match error {
                SafeTensorError::IoError(source) => source,
                other => io::Error::other(other),
            };
            ModelError::Write { path: self.path.to_owned(), source }
        })
    }

    fn tensor<const D: usize>(&mut self, name: String, values: Tensor<D>) -> Result<(), ModelError> {
        let shape = values.dims().to_vec();
        let values = to_host::<f32, D>(values)?;
        let mut bytes = Vec::new();
        if let Err(refused) = self.format.encode(&values, &mut bytes) {
            return Err(ModelError::NotFinite {
                path: self.path.to_owned(),
                tensor: name,
                element: refused.index,
                found: self.format.round(f64::from(refused.value)),
            });
        }
        self.tensors.push((name, Bytes { format: self.format, shape, bytes }));
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
        self.format.safetensors()
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
