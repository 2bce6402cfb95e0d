//! All tensors that do not fit a model, before any of them is read.

use std::collections::BTreeSet;

use super::Weights;
use crate::{
    config::DecoderConfig,
    error::{ModelError, TensorFault},
    families::Stored,
    random_checkpoint::shapes,
};

impl Weights<'_> {
    /// Checks that the checkpoint has the tensors of a decoder, in their shapes, and no others but those that are known and not used.
    ///
    /// # Errors
    ///
    /// Fails with all faults.
    pub(crate) fn refuse_unfit(&self, config: &DecoderConfig) -> Result<(), ModelError> {
        let table = [config.vocab_size, config.d_model];
        self.checkpoint.refuse_padding(&self.embedding, table)?;
        self.checkpoint.refuse_padding(&self.head_name(), table)?;
        let mut needed = BTreeSet::new();
        let (mut faults, mut missing) = (Vec::new(), Vec::new());
        for (name, shape) in shapes(config, self.names) {
            let (name, expected) = self.in_checkpoint(name, shape);
            let tensor = self.checkpoint.own_name(&name);
            match self.checkpoint.tensors.get(&name).map(|entry| &entry.shape) {
                None => {
                    missing.push(name.clone());
                    faults.push(TensorFault::Missing { tensor, expected });
                }
                Some(found) if *found != expected => {
                    faults.push(TensorFault::Shape { tensor, found: found.clone(), expected });
                }
                Some(_) => {}
            }
            needed.insert(name);
        }
        let is_before = |step: &&str| {
            let mut names = missing.iter().map(|name| format!("{step}.{name}"));
            !missing.is_empty() && names.all(|name| self.checkpoint.contains(&name))
        };
        if let Some(step) = self.common_step().filter(is_before) {
            let path = self.checkpoint.path.clone();
            return Err(ModelError::Within { path, step: step.to_owned(), family: self.family });
        }
        // One that is tied and stored is compared with the embedding.
        needed.insert(self.head_name());
        let surplus = self.checkpoint.tensors.iter();
        let surplus = surplus.filter(|(name, _)| !needed.contains(*name) && !self.is_ignored(name));
        faults.extend(surplus.map(|(name, entry)| TensorFault::Surplus {
            tensor: self.checkpoint.own_name(name),
            found: entry.shape.clone(),
            family: self.family,
        }));
        // A single fault is found and named where the tensor is read.
        match faults.len() {
            0 | 1 => Ok(()),
            _ => Err(ModelError::Tensors { path: self.checkpoint.path.clone(), faults }),
        }
    }

    /// The first step of the names of all tensors, if they have one in common.
    fn common_step(&self) -> Option<&str> {
        let mut steps = self.checkpoint.tensors.keys().map(|name| Some(name.split_once('.')?.0));
        let first = steps.next()??;
        steps.all(|step| step == Some(first)).then_some(first)
    }

    /// The name and the shape of a family's tensor in this checkpoint.
    fn in_checkpoint(&self, name: String, mut shape: Vec<usize>) -> (String, Vec<usize>) {
        let usual = self.names.prefixes[0];
        if name == self.names.head {
            return (self.head_name(), shape);
        }
        let Some(stem) = name.strip_prefix(usual) else { return (name, shape) };
        if stem == self.names.embedding {
            return (self.embedding.clone(), shape);
        }
        let here = format!("{}{stem}", self.prefix);
        let of_family = self.names.out.stored;
        if stem.starts_with(self.names.block)
            && of_family == Stored::InOut
            && self.checkpoint.layout(&here, of_family) != of_family
        {
            shape.reverse();
        }
        (here, shape)
    }
}
