//! Decoders merged with an adapter.

use std::ops::Range;

use burn::{
    module::Param,
    tensor::{Tensor, TensorData},
};

use super::{Decoder, by_head, full_precision::matmul};
use crate::{
    checkpoint::{Adapter, AdapterError, Factors, Module},
    config::Head,
    error::ModelError,
    families::{Family, Names, Projection, Stored},
};

/// A map of the decoder that an adapter can change.
enum Target {
    Embedding,
    Head,
    InBlock { block: usize, map: Map, part: usize },
}

/// A linear map of a block.
#[derive(Clone, Copy, Debug)]
enum Map {
    QueryKeyValue,
    Out,
    Up,
    Down,
}

impl Decoder {
    /// Adds the changes of an adapter to the weights, in the dtype that is computed in. The matrices that the adapter changes are
    /// widened to it.
    ///
    /// # Errors
    ///
    /// Fails if the adapter changes a module that this decoder does not have, or one of another shape.
    pub(crate) fn merged(mut self, adapter: &Adapter, family: Family) -> Result<Self, ModelError> {
        if self.config.head == Head::Tied && !self.stays_tied(adapter, family.names())? {
            self.head = Some(self.embedding.clone());
            self.config.head = Head::Untied;
        }
        for (name, tensor) in adapter.replaced() {
            self.replace(adapter, family.names(), name, tensor)?;
        }
        for (path, module) in adapter.modules() {
            if ignored(family.names(), path) {
                continue;
            }
            let target = self.target(family.names(), path, module).ok_or_else(|| {
                let module = path.to_owned();
                adapter.error(AdapterError::UnknownModule { module, family: family.to_string() })
            })?;
            self.merge(adapter, family.names(), path, target)?;
        }
        Ok(self)
    }

    /// The map that a module is, if the decoder has it.
    fn target(&self, names: &Names, path: &str, module: Module) -> Option<Target> {
        let weight = format!("{path}.weight");
        let stems = names.prefixes.iter().filter_map(|prefix| path.strip_prefix(prefix));
        match module {
            Module::Embedding => names.is_embedding(&weight).then_some(Target::Embedding),
            Module::Linear if names.is_head(&weight) => Some(Target::Head),
            Module::Linear => stems.filter_map(|stem| in_block(names, stem)).find(|target| match target {
                Target::InBlock { block, .. } => *block < self.blocks.len(),
                Target::Embedding | Target::Head => true,
            }),
        }
    }

    /// Returns whether embedding and head are the same matrix after they are changed and replaced. PEFT replaces each separately.
    fn stays_tied(&self, adapter: &Adapter, names: &Names) -> Result<bool, ModelError> {
        if !adapter.changes_apart(names).is_empty() {
            return Ok(false);
        }
        let shape = [self.config.vocab_size, self.config.d_model];
        let mut replaced = adapter.replaced().map(|(_, tensor)| adapter.matrix(tensor, shape));
        Ok(match (replaced.next().transpose()?, replaced.next().transpose()?) {
            (None, _) => true,
            (Some(first), Some(second)) => first == second,
            (Some(_), None) => false,
        })
    }

    /// Replaces the embedding or the head with a matrix of the adapter.
    fn replace(
        &mut self,
        adapter: &Adapter,
        names: &'static Names,
        name: &str,
        tensor: &str,
    ) -> Result<(), ModelError> {
        let path = name.trim_end_matches(".weight");
        let shape = [self.config.vocab_size, self.config.d_model];
        let (device, dtype) = (self.device(), self.dtype());
        let read = |name: &str| -> Result<Tensor<2>, ModelError> {
            let data = TensorData::new(adapter.matrix(name, shape)?, shape).convert_dtype(dtype);
            Ok(Tensor::from_data(data, (&device, dtype)))
        };
        let target =
            self.target(names, path, Module::Embedding).or_else(|| self.target(names, path, Module::Linear));
        match target {
            Some(Target::Embedding) => {
                let matrix = read(tensor)?;
                let embedding = self.embedding.param(&device, dtype);
                *embedding = embedding.clone().map(|_| matrix);
            }
            Some(Target::Head) => {
                let matrix = read(tensor)?;
                // Without a head there is nothing to replace, and a tied one is replaced as the embedding.
                if let Some(head) = &mut self.head {
                    let head = head.param(&device, dtype);
                    *head = head.clone().map(|_| matrix);
                }
            }
            Some(Target::InBlock { .. }) | None => {
                return Err(adapter.error(AdapterError::UnknownTensor { tensor: tensor.to_owned() }));
            }
        }
        Ok(())
    }

    fn merge(
        &mut self,
        adapter: &Adapter,
        names: &'static Names,
        path: &str,
        target: Target,
    ) -> Result<(), ModelError> {
        let (d_model, vocab_size) = (self.config.d_model, self.config.vocab_size);
        let (device, dtype) = (self.device(), self.dtype());
        match target {
            Target::Embedding => {
                let factors = adapter.factors(path, vocab_size, d_model)?;
                let embedding = self.embedding.param(&device, dtype);
                add(embedding, &factors, [vocab_size, d_model], |change| change);
                Ok(())
            }
            Target::Head => {
                let factors = adapter.factors(path, d_model, vocab_size)?;
                // Without a head there is nothing that the change could reach.
                if let Some(head) = &mut self.head {
                    let head = head.param(&device, dtype);
                    add(head, &factors, [d_model, vocab_size], Tensor::transpose);
                }
                Ok(())
            }
            Target::InBlock { block, map, part } => {
                let block = &mut self.blocks[block];
                let attention = &block.attention.config;
                let n_heads = attention.n_heads;
                let (projection, linear, widths) = match map {
                    Map::QueryKeyValue => {
                        (&names.qkv, &mut block.attention.qkv, attention.qkv_widths().to_vec())
                    }
                    Map::Out => (&names.out, &mut block.attention.out, vec![d_model]),
                    Map::Up => {
                        let widths = block.feed_forward.config.up_widths();
                        (&names.up, &mut block.feed_forward.up, widths)
                    }
                    Map::Down => (&names.down, &mut block.feed_forward.down, vec![d_model]),
                };
                let columns = columns(projection, &widths, part);
                let [d_in, _] = linear.weight.dims();
                let factors = adapter.factors(path, d_in, columns.len())?;
                let stored = projection.stored;
                let weight = linear.weight.param(&device, dtype);
                add_to_columns(weight, &factors, columns, |change| match stored {
                    Stored::InOut | Stored::OutIn => change,
                    Stored::OutInByHead => by_head::loaded_matrix(change, n_heads),
                });
                Ok(())
            }
        }
    }
}

/// Whether a module is outside of the decoder: a part for images, for example.
fn ignored(names: &Names, path: &str) -> bool {
    let weight = format!("{path}.weight");
    !names.is_head(&weight) && names.ignored.iter().any(|pattern| pattern.matches(&weight))
}

/// The linear map that has this name without the prefix of all names.
fn in_block(names: &Names, stem: &str) -> Option<Target> {
    let (block, stem) = stem.strip_prefix(names.block)?.split_once('.')?;
    let block = block.parse().ok()?;
    let maps = [
        (Map::QueryKeyValue, &names.qkv),
        (Map::Out, &names.out),
        (Map::Up, &names.up),
        (Map::Down, &names.down),
    ];
    maps.into_iter().find_map(|(map, projection)| {
        let part = projection.parts.iter().position(|part| *part == stem)?;
        Some(Target::InBlock { block, map, part })
    })
}

/// The columns of a part in the matrix of the decoder.
fn columns(projection: &Projection, widths: &[usize], part: usize) -> Range<usize> {
    let tensors = projection.tensors(widths, str::to_owned);
    let begin = tensors[..part].iter().map(|(_, width)| width).sum();
    begin..begin + tensors[part].1
}

/// Adds a change to some columns of a linear map, in the order that `arrange` gives to the columns.
fn add_to_columns(
    weight: &mut Param<Tensor<2>>,
    factors: &Factors,
    columns: Range<usize>,
    arrange: impl FnOnce(Tensor<2>) -> Tensor<2>,
) {
    let [d_in, _] = weight.dims();
    let change = arrange(change(weight, factors, [d_in, columns.len()]));
    *weight = weight.clone().map(|weight| {
        let sum = weight.clone().narrow(1, columns.start, columns.len()) + change;
        weight.slice_assign([0..d_in, columns], sum)
    });
}

/// Adds a change of shape `[d_in, d_out]` to a matrix, in the shape that `arrange` gives to it.
fn add(
    matrix: &mut Param<Tensor<2>>,
    factors: &Factors,
    shape: [usize; 2],
    arrange: impl FnOnce(Tensor<2>) -> Tensor<2>,
) {
    let change = arrange(change(matrix, factors, shape));
    *matrix = matrix.clone().map(|values| values + change);
}

/// The change that two factors make.
///
/// # Shapes
///
/// `[d_in, d_out]`.
///
/// # Source
///
/// PEFT 0.21.2, `tuners/lora/layer.py` (`get_delta_weight`), transposed.
fn change(like: &Param<Tensor<2>>, factors: &Factors, [d_in, d_out]: [usize; 2]) -> Tensor<2> {
    let like = like.val();
    let (device, dtype) = (like.device(), like.dtype());
    let tensor = |values: &[f32], shape: [usize; 2]| {
        let data = TensorData::new(values.to_vec(), shape).convert_dtype(dtype);
        Tensor::<2>::from_data(data, (&device, dtype))
    };
    let a = tensor(&factors.a, [factors.rank, d_in]);
    let b = tensor(&factors.b, [d_out, factors.rank]);
    matmul(a.transpose(), b.transpose()).mul_scalar(factors.scale)
}
