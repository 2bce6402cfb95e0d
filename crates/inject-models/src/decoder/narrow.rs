//! A decoder that computes in 16 bits.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor},
};

use super::Decoder;
use crate::format::FloatFormat;

impl Decoder {
    /// Returns the same decoder computing in another format: parameters, states and the result of every operation are rounded to it.
    ///
    /// As in transformers, the two 16-bit formats are left inside a norm and inside an activation, which compute in F32 and round
    /// their result; matrix products add up in F32; and the embedding scale is rounded to the format. So states differ from those
    /// of an F32 decoder as much as those of a program that computes in 16 bits do. They are not its states number by number, because
    /// each kernel adds in its own order.
    pub fn computing_in(self, format: FloatFormat) -> Self {
        let mut decoder = self.widened().map(&mut Cast(format.dtype()));
        let scale = decoder.config.embedding.scale;
        decoder.config.embedding.scale = scale.map(|scale| format.round(scale));
        decoder
    }
}

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|values| values.detach().cast(self.0))
    }
}

/// Whether a tensor has one of the 16-bit formats.
pub(super) fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Applies `f` in F32 to a tensor of a 16-bit format, and rounds the result.
pub(super) fn in_f32<const D: usize>(x: Tensor<D>, f: impl FnOnce(Tensor<D>) -> Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    match is_narrow(dtype) {
        true => f(x.cast(DType::F32)).cast(dtype),
        false => f(x),
    }
}
