//! Parameters of the decoder, mapped in their files or read into memory.

use burn::{
    module::{Param, ParamId},
    tensor::Tensor,
};

use super::{Weights, buffer::Buffer, memory::Form};
use crate::{
    checkpoint::values::Place,
    decoder::{HeldTable, Mapped, MappedLayout},
    error::ModelError,
    format::FloatFormat,
    precision::Hold,
};

impl Weights<'_> {
    pub(super) fn table(&mut self, name: String, shape: [usize; 2]) -> Result<HeldTable, ModelError> {
        self.checkpoint.check(&name, &shape)?;
        if let Some(mapped) = self.mapped(MappedLayout::ByOutput, [name.as_str()].into_iter())? {
            self.taken.insert(name);
            return Ok(HeldTable::Mapped(mapped));
        }
        let held = self.held([name.as_str()].into_iter());
        Ok(HeldTable::Tensor(self.rows(name, shape, held)?))
    }

    /// The rows of some tensors where they are in their files, if the model is to hold them there and can.
    pub(super) fn mapped<'n>(
        &self,
        layout: MappedLayout,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Result<Option<Mapped>, ModelError> {
        let Some(form) = self.form(layout, names.clone()) else { return Ok(None) };
        let places = names.map(|name| self.checkpoint.mapped(name)).collect::<Result<Option<Vec<_>>, _>>()?;
        let Some(places) = places else { return Ok(None) };
        let Some([_, width]) = places.first().map(|place| place.shape) else { return Ok(None) };
        Ok(match form {
            Form::Plain(format) => {
                let segments = places.into_iter().flat_map(Place::segments).collect();
                Mapped::new(format, layout, width, segments)
            }
            Form::Coded => Mapped::of_codes(width, places.into_iter().map(Place::codes).collect()),
        })
    }

    /// The format in which the parameter of some tensors is held.
    pub(super) fn held<'n>(&self, names: impl Iterator<Item = &'n str>) -> FloatFormat {
        match self.hold {
            Hold::Fastest | Hold::Computed | Hold::Stored => self.format,
            Hold::StoredOnDevice => {
                let formats = names.map(|name| self.checkpoint.float_format(name).unwrap_or(self.format));
                let widest = formats.max_by_key(|format| format.bytes()).unwrap_or(self.format);
                if widest.bytes() < self.format.bytes() { widest } else { self.format }
            }
        }
    }

    pub(super) fn rows(
        &mut self,
        name: String,
        shape: [usize; 2],
        held: FloatFormat,
    ) -> Result<Param<Tensor<2>>, ModelError> {
        self.checkpoint.check(&name, &shape)?;
        let mut values = Buffer::zeros(shape[0] * shape[1], self.format);
        self.checkpoint
            .stream(&name, shape[1], |first, piece| values.place_rows(piece, piece.len(), first, 0))?;
        self.taken.insert(name);
        Ok(self.parameter(values, shape, held))
    }

    pub(super) fn vector(&mut self, parts: &[(String, usize)]) -> Result<Param<Tensor<1>>, ModelError> {
        let width: usize = parts.iter().map(|(_, width)| width).sum();
        for (name, width) in parts {
            self.checkpoint.check(name, &[*width])?;
        }
        let mut values = Buffer::zeros(width, self.format);
        let mut begin = 0;
        for (name, width) in parts {
            self.checkpoint.stream(name, *width, |first, piece| {
                values.place_rows(piece, piece.len(), begin + first, 0);
            })?;
            begin += width;
            self.taken.insert(name.clone());
        }
        Ok(self.parameter(values, [width], self.format))
    }

    pub(super) fn parameter<const D: usize>(
        &self,
        values: Buffer,
        shape: [usize; D],
        held: FloatFormat,
    ) -> Param<Tensor<D>> {
        let data = values.into_data(&shape);
        // On the host, so that the device never has both.
        let data = if held == self.format { data } else { data.convert_dtype(held.dtype()) };
        let tensor = Tensor::from_data(data, (self.device, held.dtype()));
        Param::initialized(ParamId::new(), tensor)
    }
}
