//! Degenerate initial weights, under which some prompts collide.

use std::fmt;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::Tensor,
};
use inject_sipit::models::{Decoder, Matrix};

/// A change of newly drawn weights that makes some prompts collide.
///
/// Each of these sets of weights has measure zero: a start drawn from a density has none of them, almost surely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum DegenerateStart {
    /// The embedding row of `b` is that of `a`.
    EqualEmbeddings {
        /// The token that is copied.
        a: u32,
        /// The token that is overwritten.
        b: u32,
    },
    /// Every row of the table of positions equals the first.
    EqualPositions,
    /// The value projections of the blocks are zero, so that attention reads nothing.
    ZeroValues,
    /// The value and output projections of the blocks are zero, so that attention neither reads nor writes.
    ZeroValuesAndOutputs,
    /// Every parameter is zero, norms and biases too.
    AllZero,
}

impl DegenerateStart {
    /// Applies this change to a decoder. Its biases must be zero, as `DecoderConfig::init` sets them.
    ///
    /// # Panics
    ///
    /// Panics if a token is outside the vocabulary.
    pub fn spoil(self, decoder: Decoder) -> Decoder {
        // The columns of the values in the fused projection of each block.
        let values: Vec<[usize; 3]> =
            decoder.config().blocks.iter().map(|block| block.attention.qkv_widths()).collect();
        let without_values = |block: usize, qkv: Tensor<2>| {
            let [queries, keys, _] = values[block];
            let [rows, columns] = qkv.dims();
            qkv.slice_fill([0..rows, queries + keys..columns], 0.0)
        };
        match self {
            DegenerateStart::EqualEmbeddings { a, b } => {
                decoder.map_matrices(&mut |matrix, values| match matrix {
                    Matrix::Embedding => {
                        let (a, b) = (a as usize, b as usize);
                        let [_, width] = values.dims();
                        let row = values.clone().narrow(0, a, 1);
                        values.slice_assign([b..b + 1, 0..width], row)
                    }
                    _ => values,
                })
            }
            DegenerateStart::EqualPositions => decoder.map_matrices(&mut |matrix, values| match matrix {
                Matrix::Positions => {
                    let [rows, _] = values.dims();
                    values.narrow(0, 0, 1).repeat_dim(0, rows)
                }
                _ => values,
            }),
            DegenerateStart::ZeroValues => decoder.map_matrices(&mut |matrix, values| match matrix {
                Matrix::QueryKeyValue { block } => without_values(block, values),
                _ => values,
            }),
            DegenerateStart::ZeroValuesAndOutputs => {
                decoder.map_matrices(&mut |matrix, values| match matrix {
                    Matrix::QueryKeyValue { block } => without_values(block, values),
                    Matrix::AttentionOut { .. } => values.zeros_like(),
                    _ => values,
                })
            }
            DegenerateStart::AllZero => decoder.map(&mut Zero),
        }
    }
}

/// Sets every parameter to zero.
struct Zero;

impl ModuleMapper for Zero {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|values| values.zeros_like())
    }
}

impl fmt::Display for DegenerateStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DegenerateStart::EqualEmbeddings { .. } => "two equal embedding rows",
            DegenerateStart::EqualPositions => "equal position rows",
            DegenerateStart::ZeroValues => "zero value projections",
            DegenerateStart::ZeroValuesAndOutputs => "zero value and output projections",
            DegenerateStart::AllZero => "all weights zero",
        })
    }
}
