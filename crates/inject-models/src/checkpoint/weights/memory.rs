//! The memory that the parameters take, before any of them is read.

use std::collections::{BTreeMap, BTreeSet};

use super::Weights;
use crate::{
    checkpoint::{Adapter, Entry, StoredAs},
    decoder::MappedLayout,
    families::{Names, Stored},
    format::FloatFormat,
    precision::Hold,
};

/// The form in which tensors stay in their files, as one matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Numbers of one format.
    Plain(FloatFormat),
    /// Codes, or numbers of several formats, which are read like codes.
    Coded,
}

/// The tensors of one matrix of the decoder.
struct Parts {
    names: Vec<String>,
    /// Their names without the prefix of all names. An adapter calls them so.
    stems: Vec<String>,
    stored: Stored,
}

impl Weights<'_> {
    /// Returns the size of the parameters of a decoder of `n_layers` blocks, and of the scales beside matrices that stay in their
    /// files. The matrices that an adapter changes do not stay there.
    ///
    /// A head that is tied to the embedding and stored beside it counts, because only its values show whether it is loaded.
    ///
    /// # Units
    ///
    /// Bytes.
    pub(crate) fn bytes_in_memory(&self, n_layers: usize, adapter: Option<&Adapter>) -> u64 {
        let changed = adapter.map(|adapter| changed(adapter, self.names)).unwrap_or_default();
        let tensors = self.checkpoint.tensors.iter();
        let mut others: BTreeMap<&str, &Entry> =
            tensors.map(|(name, entry)| (name.as_str(), entry)).collect();
        let of_matrices = self.matrices(n_layers).into_iter().map(|Parts { names, stems, stored }| {
            let entries: Vec<&Entry> = names.iter().filter_map(|name| others.remove(name.as_str())).collect();
            let names = || names.iter().map(String::as_str);
            if stems.iter().any(|stem| changed.contains(stem)) {
                return bytes(&entries, self.format);
            }
            match self.layout(names(), stored).and_then(|layout| self.form(layout, names())) {
                Some(_) => entries.into_iter().map(bytes_beside).sum(),
                None => bytes(&entries, self.held(names())),
            }
        });
        let of_matrices: u64 = of_matrices.sum();
        others.retain(|name, _| !self.is_ignored(name));
        of_matrices + bytes(&others.into_values().collect::<Vec<_>>(), self.format)
    }

    /// The matrices that can stay in their files.
    fn matrices(&self, n_layers: usize) -> Vec<Parts> {
        let names = self.names;
        let table = |name: String, stems: &[&str]| Parts {
            names: vec![name],
            stems: stems.iter().map(|&stem| stem.to_owned()).collect(),
            stored: Stored::OutIn,
        };
        let mut matrices = vec![
            table(self.embedding.clone(), &[names.embedding]),
            table(self.head_name(), &[names.head, Names::HEAD_OF_CLASSES]),
        ];
        for block in 0..n_layers {
            matrices.extend([&names.qkv, &names.out, &names.up, &names.down].map(|projection| {
                let named = |prefix: &str| {
                    let parts = projection.parts.iter();
                    parts.map(|stem| format!("{}.weight", names.in_block(prefix, block, stem))).collect()
                };
                Parts { names: named(self.prefix), stems: named(""), stored: projection.stored }
            }));
        }
        matrices
    }

    /// The layout of the matrix of some tensors in their files, if they have the same.
    pub(super) fn layout<'n>(
        &self,
        mut names: impl Iterator<Item = &'n str>,
        of_family: Stored,
    ) -> Option<MappedLayout> {
        let layout = |name| match self.checkpoint.layout(name, of_family) {
            Stored::InOut => MappedLayout::ByInput,
            Stored::OutIn | Stored::OutInByHead => MappedLayout::ByOutput,
        };
        let first = layout(names.next()?);
        names.all(|name| layout(name) == first).then_some(first)
    }

    /// The form in which some tensors stay in their files as one matrix, if the model is to hold them there and can.
    pub(super) fn form<'n>(
        &self,
        layout: MappedLayout,
        names: impl Iterator<Item = &'n str>,
    ) -> Option<Form> {
        let stays = |name| self.checkpoint.tensors.get(name).filter(|entry| self.checkpoint.stays(entry));
        let entries: Vec<&Entry> = names.map(stays).collect::<Option<_>>()?;
        let mut formats = entries.iter().map(|entry| entry.stored.plain_format());
        let first = formats.next()?;
        let of_one_format = first.filter(|_| formats.all(|format| format == first));
        match (self.hold, of_one_format) {
            (Hold::Computed | Hold::StoredOnDevice, _) => None,
            // Several are the columns of one matrix.
            (_, Some(_)) if layout == MappedLayout::ByInput && entries.len() > 1 => None,
            (Hold::Fastest | Hold::Stored, Some(format)) => Some(Form::Plain(format)),
            (Hold::Stored, None) => (layout == MappedLayout::ByOutput).then_some(Form::Coded),
            (Hold::Fastest, None) => None,
        }
    }
}

/// The names, without the prefix of all names, of the matrices that an adapter changes or replaces.
fn changed(adapter: &Adapter, names: &Names) -> BTreeSet<String> {
    let stems = |name: String| {
        let stem = |prefix: &&str| name.strip_prefix(*prefix).map(str::to_owned);
        names.prefixes.iter().filter_map(stem).collect::<Vec<_>>()
    };
    let modules = adapter.modules().flat_map(|(path, _)| stems(format!("{path}.weight")));
    // No other matrix is replaced.
    let tables = [names.embedding, names.head, Names::HEAD_OF_CLASSES];
    let replaced = adapter.replaced().flat_map(|(name, _)| stems(name.to_owned()));
    modules.chain(replaced.filter(|stem| tables.contains(&stem.as_str()))).collect()
}

fn bytes(entries: &[&Entry], format: FloatFormat) -> u64 {
    let numbers = entries.iter().map(|entry| entry.shape.iter().map(|&len| len as u64).product::<u64>());
    numbers.sum::<u64>() * format.bytes() as u64
}

/// The size of what is kept in memory beside a tensor in its file.
fn bytes_beside(entry: &Entry) -> u64 {
    match &entry.stored {
        StoredAs::Restored(stored) => stored.bytes_of_scales(entry.shape.iter().product()) as u64,
        StoredAs::Float(_) | StoredAs::Gguf(_) | StoredAs::Other(_) => 0,
    }
}
