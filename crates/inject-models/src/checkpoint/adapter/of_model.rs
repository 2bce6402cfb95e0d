//! Tensors of the model in an adapter's file.
//!
//! PEFT writes the matrices of embedding and head beside the factors if one of the two changes, if there are new tokens, or if they are
//! among `modules_to_save`. The `state_dict` of a model with an adapter has all tensors of the model.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{Adapter, AdapterError, Module, Pairs, Part, Selection};
use crate::{
    checkpoint::Checkpoint,
    error::ModelError,
    families::{Ignored, Names},
};

/// A tensor of the model in an adapter's file.
#[derive(Debug)]
pub(super) struct OfModel {
    /// Its name in the file.
    tensor: String,
    /// Whether PEFT puts it in the place of the model's own.
    replaces: bool,
}

/// Finds the tensors of the model, by their names there.
pub(super) fn of_model(
    checkpoint: &Checkpoint,
    selection: &Selection,
    pairs: &Pairs<'_>,
) -> Result<BTreeMap<String, OfModel>, AdapterError> {
    let mut found = BTreeMap::new();
    for tensor in checkpoint.tensors.keys() {
        let (name, replaces) = match Part::of(tensor) {
            Some(Part::Saved { path, .. }) => (format!("{path}.weight"), selection.saves(path)?),
            Some(Part::OfModel { path, kind, wrapped }) => {
                // All linear maps are selected only by name of kind. Those that change have factors.
                let is_linear = pairs.contains_key(&(path, Module::Linear));
                let module = if is_linear { Module::Linear } else { Module::Embedding };
                // A module that changes has its own matrix within it.
                (format!("{path}.{kind}"), wrapped == selection.has(path, module)?)
            }
            _ => continue,
        };
        match found.entry(name) {
            Entry::Vacant(place) => place.insert(OfModel { tensor: tensor.clone(), replaces }),
            Entry::Occupied(_) => return Err(AdapterError::UnknownTensor { tensor: tensor.clone() }),
        };
    }
    Ok(found)
}

impl Adapter {
    /// The tensors that take the place of some of the model, by their names there. All names end with `.weight`.
    pub(crate) fn replaced(&self) -> impl Iterator<Item = (&str, &str)> {
        let replaced = self.of_model.iter().filter(|(_, found)| found.replaces);
        replaced.map(|(name, found)| (name.as_str(), found.tensor.as_str()))
    }

    /// Compares the tensors of the model that the file has with the model's own. Those that are equal and those without a part in the
    /// states are left out, so that only embedding and head remain.
    ///
    /// # Errors
    ///
    /// Fails if another tensor differs, or if the model does not have it.
    pub(crate) fn compare(&mut self, model: &Checkpoint, names: &Names) -> Result<(), ModelError> {
        let mut remaining = BTreeMap::new();
        for (name, found) in std::mem::take(&mut self.of_model) {
            if is_ignored(names, &name) {
                continue;
            }
            let own = own_name(model, names, &name);
            if let Some(own) = &own
                && model.sum_of(own)? == self.checkpoint.sum_of(&found.tensor)?
            {
                continue;
            }
            if found.replaces && (names.is_head(&name) || names.is_embedding(&name)) {
                remaining.insert(name, found);
                continue;
            }
            let OfModel { tensor, .. } = found;
            return Err(self.error(match own {
                Some(_) => AdapterError::OtherModel { tensor },
                None => AdapterError::UnknownTensor { tensor },
            }));
        }
        self.of_model = remaining;
        Ok(())
    }
}

/// The name of a tensor in the model's files. A tied head is the embedding there.
fn own_name(model: &Checkpoint, names: &Names, name: &str) -> Option<String> {
    let stems = names.prefixes.iter().filter_map(|prefix| name.strip_prefix(prefix));
    let others = stems.flat_map(|stem| names.prefixes.iter().map(move |prefix| format!("{prefix}{stem}")));
    let heads = [names.head, Names::HEAD_OF_CLASSES].map(str::to_owned).into_iter();
    let embeddings = names.prefixes.iter().map(|prefix| format!("{prefix}{}", names.embedding));
    let tables = heads.chain(embeddings).filter(|_| names.is_head(name));
    [name.to_owned()].into_iter().chain(others).chain(tables).find(|name| model.contains(name))
}

/// Whether a tensor has no part in the states: that of a head of a task, of a part for images, or a buffer.
fn is_ignored(names: &Names, name: &str) -> bool {
    let of_family = names.ignored.iter().filter(|_| !names.is_head(name));
    Ignored::IN_EVERY_FAMILY.iter().chain(of_family).any(|pattern| pattern.matches(name))
}
