//! From stored tensors to the parameters of the decoder.

mod buffer;

use std::collections::BTreeSet;

use burn::{
    module::{Param, ParamId},
    tensor::{Device, Tensor},
};

use self::buffer::Buffer;
use super::Checkpoint;
use crate::{
    decoder::{HeldTable, HeldWeight, Mapped, MappedLayout, Segment},
    error::ModelError,
    families::{Family, Ignored, Names, Projection, Stored},
    format::FloatFormat,
    precision::{Hold, Precision},
};

/// The tensors of a checkpoint under a family's names, each handed out once.
///
/// A linear map becomes one matrix `[in, out]` with its parts side by side: matrix products read that layout in order.
/// Only the places of the values change: every product still sums the same numbers.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    family: Family,
    names: &'static Names,
    prefix: &'static str,
    /// Name of the embedding's tensor.
    embedding: String,
    taken: BTreeSet<String>,
    device: &'a Device,
    /// Never [`Hold::Fastest`].
    hold: Hold,
    format: FloatFormat,
}

/// The relation of a stored head to the embedding that it is tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tie {
    Same,
    Different,
}

impl<'a> Weights<'a> {
    /// The tensors of `checkpoint`, to be used on `device`.
    ///
    /// # Panics
    ///
    /// Loading panics if the precision computes in another format than F32 and F64.
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        family: Family,
        device: &'a Device,
        precision: Precision,
    ) -> Self {
        let Precision { hold, compute: format } = precision;
        let names = family.names();
        let has = |prefix: &str, name: &str| checkpoint.contains(&format!("{prefix}{name}"));
        let final_norm = format!("{}.weight", names.final_norm);
        let mut prefixes = names.prefixes.iter();
        let fits = prefixes.clone().find(|prefix| has(prefix, names.embedding));
        // The embedding may be stored as the head alone. If no prefix fits, errors about missing tensors use the first.
        let fits = fits.or_else(|| prefixes.find(|prefix| has(prefix, &final_norm)));
        let prefix = fits.unwrap_or(&names.prefixes[0]);
        let embedding = format!("{prefix}{}", names.embedding);
        Weights { checkpoint, family, names, prefix, embedding, taken: BTreeSet::new(), device, hold, format }
    }

    /// Returns the tensor names of the checkpoint's family.
    pub(crate) fn names(&self) -> &'static Names {
        self.names
    }

    /// The token embedding. Shape `[vocab_size, d_model]`.
    pub(crate) fn embedding(&mut self, vocab_size: usize, d_model: usize) -> Result<HeldTable, ModelError> {
        let name = self.embedding.clone();
        self.checkpoint.refuse_padding(&name, [vocab_size, d_model])?;
        self.table(name, [vocab_size, d_model])
    }

    /// The learned positions. Shape `[max_len, d_model]`.
    pub(crate) fn positions(
        &mut self,
        max_len: usize,
        d_model: usize,
    ) -> Result<Param<Tensor<2>>, ModelError> {
        let name = format!("{}{}", self.prefix, self.names.positions);
        self.rows(name, [max_len, d_model], self.format)
    }

    /// Returns the name of the stored head, if there is one.
    pub(crate) fn stored_head(&self) -> Option<String> {
        let name = self.head_name();
        self.checkpoint.contains(&name).then_some(name)
    }

    /// Compares a stored head with the embedding that it is tied to. One that is stored alone is read as the embedding: where two
    /// names stand for one tensor, programs write one of them.
    pub(crate) fn tie(&mut self, head: &str) -> Result<Tie, ModelError> {
        if !self.checkpoint.contains(&self.embedding) {
            head.clone_into(&mut self.embedding);
            return Ok(Tie::Same);
        }
        let differ = self.checkpoint.differ(head, &self.embedding)?;
        Ok(if differ { Tie::Different } else { Tie::Same })
    }

    fn head_name(&self) -> String {
        let plain = self.names.head.to_owned();
        let nested = self.prefix.strip_suffix("model.").map(|outer| format!("{outer}{plain}"));
        nested.filter(|nested| self.checkpoint.contains(nested)).unwrap_or(plain)
    }

    /// The head, if it is not the embedding. Shape `[vocab_size, d_model]`.
    pub(crate) fn head(&mut self, vocab_size: usize, d_model: usize) -> Result<HeldTable, ModelError> {
        let name = self.head_name();
        self.checkpoint.refuse_padding(&name, [vocab_size, d_model])?;
        self.table(name, [vocab_size, d_model])
    }

    /// A vector of the final norm, `weight` or `bias`.
    pub(crate) fn final_norm(&mut self, part: &str, width: usize) -> Result<Param<Tensor<1>>, ModelError> {
        let name = format!("{}{}.{part}", self.prefix, self.names.final_norm);
        self.vector(&[(name, width)])
    }

    /// A vector of a norm inside a block, `weight` or `bias`.
    pub(crate) fn block_norm(
        &mut self,
        block: usize,
        norm: fn(&Names) -> &'static str,
        part: &str,
        width: usize,
    ) -> Result<Param<Tensor<1>>, ModelError> {
        let name = format!("{}.{part}", self.in_block(block, norm(self.names)));
        self.vector(&[(name, width)])
    }

    /// The matrix of a linear map inside a block, its parts of the given widths side by side.
    ///
    /// # Shapes
    ///
    /// `[d_in, sum of widths]`.
    pub(crate) fn matrix(
        &mut self,
        block: usize,
        projection: fn(&'static Names) -> &'static Projection,
        d_in: usize,
        widths: &[usize],
    ) -> Result<HeldWeight, ModelError> {
        let projection = projection(self.names);
        let parts = projection.tensors(widths, |stem| format!("{}.weight", self.in_block(block, stem)));
        let d_out: usize = widths.iter().sum();
        let layout = |name: &str| self.checkpoint.layout(name, projection.stored);
        for (name, width) in &parts {
            let expected = match layout(name) {
                Stored::InOut => [d_in, *width],
                Stored::OutIn | Stored::OutInByHead => [*width, d_in],
            };
            self.checkpoint.check(name, &expected)?;
        }
        let names = || parts.iter().map(|(name, _)| name.as_str());
        let by_input = names().filter(|name| layout(name) == Stored::InOut).count();
        let mapped_layout = match by_input {
            0 => Some(MappedLayout::ByOutput),
            _ if by_input == parts.len() => Some(MappedLayout::ByInput),
            _ => None,
        };
        let mapped = mapped_layout.map(|layout| self.mapped(layout, names())).transpose()?;
        if let Some(mapped) = mapped.flatten() {
            self.taken.extend(parts.into_iter().map(|(name, _)| name));
            return Ok(HeldWeight::Mapped(mapped));
        }
        let held = self.held(names());
        let mut values = Buffer::zeros(d_in * d_out, self.format);
        let mut column = 0;
        for (name, width) in &parts {
            let layout = layout(name);
            let row = match layout {
                Stored::InOut => *width,
                Stored::OutIn | Stored::OutInByHead => d_in,
            };
            self.checkpoint.stream(name, row, |first, piece| {
                let first_row = first / row;
                match layout {
                    Stored::InOut => values.place_rows(piece, row, first_row * d_out + column, d_out),
                    Stored::OutIn | Stored::OutInByHead => {
                        values.place_columns(piece, row, column + first_row, d_out)
                    }
                }
            })?;
            column += width;
        }
        self.taken.extend(parts.into_iter().map(|(name, _)| name));
        Ok(HeldWeight::Tensor(self.parameter(values, [d_in, d_out], held)))
    }

    /// The bias of a linear map inside a block, its parts side by side.
    pub(crate) fn bias(
        &mut self,
        block: usize,
        projection: fn(&'static Names) -> &'static Projection,
        widths: &[usize],
    ) -> Result<Param<Tensor<1>>, ModelError> {
        let name = |stem: &str| format!("{}.bias", self.in_block(block, stem));
        self.vector(&projection(self.names).tensors(widths, name))
    }

    /// Ends the loading of a complete decoder. Every tensor left over must be on the family's list of ignored ones.
    pub(crate) fn finish(self) -> Result<(), ModelError> {
        let ignored = |name: &str| {
            let patterns = self.names.ignored.iter().chain(Ignored::IN_EVERY_FAMILY);
            patterns.into_iter().any(|pattern| pattern.matches(name))
        };
        let surplus =
            self.checkpoint.tensors.iter().find(|(name, _)| !self.taken.contains(*name) && !ignored(name));
        match surplus {
            None => Ok(()),
            Some((name, entry)) => Err(ModelError::SurplusTensor {
                path: self.checkpoint.files[entry.file].path.clone(),
                tensor: name.clone(),
                found: entry.shape.clone(),
                family: self.family.to_string(),
            }),
        }
    }

    fn in_block(&self, block: usize, stem: &str) -> String {
        self.names.in_block(self.prefix, block, stem)
    }

    fn table(&mut self, name: String, shape: [usize; 2]) -> Result<HeldTable, ModelError> {
        self.checkpoint.check(&name, &shape)?;
        if let Some(mapped) = self.mapped(MappedLayout::ByOutput, [name.as_str()].into_iter())? {
            self.taken.insert(name);
            return Ok(HeldTable::Mapped(mapped));
        }
        let held = self.held([name.as_str()].into_iter());
        Ok(HeldTable::Tensor(self.rows(name, shape, held)?))
    }

    /// The rows of some tensors where they are in their files, if the model is to hold them there and can.
    fn mapped<'n>(
        &self,
        layout: MappedLayout,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Option<Mapped>, ModelError> {
        if self.hold != Hold::Mapped {
            return Ok(None);
        }
        let mut segments = Vec::new();
        let mut formats = BTreeSet::new();
        let mut width = 0;
        for name in names {
            let Some(place) = self.checkpoint.mapped(name)? else { return Ok(None) };
            formats.insert(place.format.name());
            segments.push(Segment { map: place.map, begin: place.begin, rows: place.shape[0] });
            width = place.shape[1];
        }
        let format = formats.pop_first().and_then(|name| name.parse().ok());
        // Formats that differ are widened.
        let format = format.filter(|_| formats.is_empty());
        Ok(format.and_then(|format| Mapped::new(format, layout, width, segments)))
    }

    /// The format in which the parameter of some tensors is held.
    fn held<'n>(&self, names: impl Iterator<Item = &'n str>) -> FloatFormat {
        match self.hold {
            Hold::Fastest | Hold::Computed | Hold::Mapped => self.format,
            Hold::Stored => {
                let formats = names.map(|name| self.checkpoint.float_format(name).unwrap_or(self.format));
                let widest = formats.max_by_key(|format| format.bytes()).unwrap_or(self.format);
                if widest.bytes() < self.format.bytes() { widest } else { self.format }
            }
        }
    }

    fn rows(
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

    fn vector(&mut self, parts: &[(String, usize)]) -> Result<Param<Tensor<1>>, ModelError> {
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

    fn parameter<const D: usize>(
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
