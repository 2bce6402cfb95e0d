//! The matrix of a linear map, and a table of rows: tensors, or in a mapped file.

use std::ops::Range;

use burn::{
    module::{Module, Param, ParamId},
    tensor::{DType, Device, Tensor},
};

use super::{full_precision::matmul, mapped::Mapped};
use crate::tokens::ids_tensor;

/// The matrix of a linear map.
#[derive(Module, Debug)]
pub(crate) enum Weight {
    /// Shape `[in, out]`: the matrix product reads it in order, several times faster than a transposed view. A tensor in a
    /// narrower format than the states is widened when it is used.
    Tensor(Param<Tensor<2>>),
    /// In the order of the file.
    Mapped(Mapped),
}

/// Rows of `d_model` numbers: the token embedding or the head.
#[derive(Module, Debug)]
pub(crate) enum Table {
    /// On the device. Shape `[rows, d_model]`.
    Tensor(Param<Tensor<2>>),
    /// In its file, with the same shape, [`Layout::ByOutput`](super::mapped::Layout).
    Mapped(Mapped),
}

impl Weight {
    /// The matrix in a mapped file, if it is in one.
    pub(super) fn mapped(&self) -> Option<&Mapped> {
        match self {
            Weight::Tensor(_) => None,
            Weight::Mapped(mapped) => Some(mapped),
        }
    }

    /// The size of the matrix.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Weight::Tensor(weight) => weight.val().dtype().size() * weight.dims().iter().product::<usize>(),
            Weight::Mapped(mapped) => mapped.bytes(),
        }
    }

    /// Returns the width of a factor, and that of its product.
    pub(super) fn dims(&self) -> [usize; 2] {
        match self {
            Weight::Tensor(weight) => weight.dims(),
            Weight::Mapped(mapped) => {
                let [d_out, d_in] = mapped.dims();
                [d_in, d_out]
            }
        }
    }

    /// The matrix as a tensor.
    ///
    /// # Shapes
    ///
    /// `[in, out]`.
    pub(super) fn tensor(&self, device: &Device, dtype: DType) -> Tensor<2> {
        match self {
            Weight::Tensor(weight) => in_dtype(weight.val(), dtype),
            Weight::Mapped(mapped) => mapped.tensor(device, dtype).transpose(),
        }
    }

    /// The matrix as a parameter that can be changed, in the dtype that is computed in.
    pub(super) fn param(&mut self, device: &Device, dtype: DType) -> &mut Param<Tensor<2>> {
        *self = Weight::Tensor(self.clone().into_param(device, dtype));
        match self {
            Weight::Tensor(weight) => weight,
            Weight::Mapped(_) => unreachable!("a tensor was just put there"),
        }
    }

    /// The same matrix as a parameter.
    pub(super) fn into_param(self, device: &Device, dtype: DType) -> Param<Tensor<2>> {
        match self {
            Weight::Tensor(weight) if weight.val().dtype() == dtype => weight,
            weight => {
                let [d_in, d_out] = weight.dims();
                // A copy, because a transposed view is read out of order.
                let zeros = Tensor::zeros([d_in, d_out], (device, dtype));
                let values = zeros.slice_assign([0..d_in, 0..d_out], weight.tensor(device, dtype));
                Param::initialized(ParamId::new(), values)
            }
        }
    }
}

impl Table {
    /// The table in a mapped file, if it is in one.
    pub(super) fn mapped(&self) -> Option<&Mapped> {
        match self {
            Table::Tensor(_) => None,
            Table::Mapped(mapped) => Some(mapped),
        }
    }

    /// The number of rows and their width.
    pub(super) fn dims(&self) -> [usize; 2] {
        match self {
            Table::Tensor(table) => table.dims(),
            Table::Mapped(mapped) => mapped.dims(),
        }
    }

    /// Consecutive rows as a tensor.
    ///
    /// # Shapes
    ///
    /// `[rows.len(), d_model]`.
    pub(super) fn rows(&self, rows: Range<usize>, device: &Device, dtype: DType) -> Tensor<2> {
        match self {
            Table::Tensor(table) if rows == (0..table.dims()[0]) => in_dtype(table.val(), dtype),
            Table::Tensor(table) => in_dtype(table.val().narrow(0, rows.start, rows.len()), dtype),
            Table::Mapped(mapped) => mapped.select(rows, device, dtype),
        }
    }

    /// The whole table as a tensor.
    pub(super) fn tensor(&self, device: &Device, dtype: DType) -> Tensor<2> {
        self.rows(0..self.dims()[0], device, dtype)
    }

    /// The rows with these numbers.
    ///
    /// # Shapes
    ///
    /// `[rows, d_model]`.
    pub(super) fn select(&self, rows: &[u32], device: &Device, dtype: DType) -> Tensor<2> {
        match self {
            Table::Tensor(table) => in_dtype(table.val().select(0, ids_tensor(rows, device)), dtype),
            Table::Mapped(mapped) => mapped.select(rows.iter().map(|&row| row as usize), device, dtype),
        }
    }

    /// Multiplies states with consecutive rows.
    ///
    /// # Shapes
    ///
    /// `[states, d_model]` to `[states, rows.len()]`.
    pub(super) fn product(&self, states: Tensor<2>, rows: Range<usize>) -> Tensor<2> {
        match self {
            // The large matrix stays on the left, in the order in which it is stored: a transposed view of it would be read
            // out of order.
            Table::Tensor(table) => {
                let table = table.val().narrow(0, rows.start, rows.len());
                matmul(in_dtype(table, states.dtype()), states.transpose()).transpose()
            }
            Table::Mapped(mapped) => mapped.product(states, rows),
        }
    }

    /// The table as a parameter that can be changed, in the dtype that is computed in.
    pub(super) fn param(&mut self, device: &Device, dtype: DType) -> &mut Param<Tensor<2>> {
        *self = Table::Tensor(self.clone().into_param(device, dtype));
        match self {
            Table::Tensor(table) => table,
            Table::Mapped(_) => unreachable!("a tensor was just put there"),
        }
    }

    /// The same table as a parameter.
    pub(super) fn into_param(self, device: &Device, dtype: DType) -> Param<Tensor<2>> {
        match self {
            Table::Tensor(table) if table.val().dtype() == dtype => table,
            table => Param::initialized(ParamId::new(), table.tensor(device, dtype)),
        }
    }
}

pub(super) fn in_dtype(values: Tensor<2>, dtype: DType) -> Tensor<2> {
    if values.dtype() == dtype { values } else { values.cast(dtype) }
}
