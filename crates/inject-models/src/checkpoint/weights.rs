//! From stored tensors to the parameters of the decoder.

mod buffer;
mod faults;
mod memory;
mod parameters;

use std::collections::BTreeSet;

use burn::{
    module::Param,
    tensor::{Device, Tensor},
};

use self::buffer::Buffer;
use super::Checkpoint;
use crate::{
    decoder::{HeldTable, HeldWeight},
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
    /// [`Hold::Fastest`] only where it leaves matrices in their files.
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
        let outer = self.prefix.strip_suffix("model.");
        let names = [self.names.head, Names::HEAD_OF_CLASSES].into_iter().flat_map(|name| {
            let outer = outer.map(|outer| format!("{outer}{name}"));
            outer.into_iter().chain([name.to_owned(), format!("{}{name}", self.prefix)])
        });
        let mut stored = names.filter(|name| self.checkpoint.contains(name));
        stored.next().unwrap_or_else(|| self.names.head.to_owned())
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
        let mapped_layout = self.layout(names(), projection.stored);
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
        let mut others = self.checkpoint.tensors.iter();
        let surplus = others.find(|(name, _)| !self.taken.contains(*name) && !self.is_ignored(name));
        match surplus {
            None => Ok(()),
            Some((name, entry)) => Err(ModelError::SurplusTensor {
                path: self.checkpoint.files[entry.file].path.clone(),
                tensor: self.checkpoint.own_name(name),
                found: entry.shape.clone(),
                family: self.family,
            }),
        }
    }

    /// Whether the family has no use for a tensor.
    fn is_ignored(&self, name: &str) -> bool {
        self.names.ignored.iter().chain(Ignored::IN_EVERY_FAMILY).any(|pattern| pattern.matches(name))
    }

    fn in_block(&self, block: usize, stem: &str) -> String {
        self.names.in_block(self.prefix, block, stem)
    }
}
