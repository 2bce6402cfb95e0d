//! Weights as a narrow number format holds them.
//!
//! The weights go through the format and back: each is replaced by the value that a kernel of that format would compute
//! with, and everything else, activations and sums included, stays in the decoder's own precision. So what is seen is the
//! rounding of the weights alone, and the quantised model is an ordinary [`Decoder`].

mod blockwise;

use std::{fmt, str::FromStr};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor, TensorData},
};
use half::{bf16, f16};

use self::blockwise::Code;
use crate::{Decoder, ModelError, to_host};

/// A number format of weights.
///
/// F16 and BF16 hold every parameter. The others hold the linear maps inside the blocks and leave embeddings, head, norms and biases as
/// they are, as the loader of transformers does with bitsandbytes. Scales are kept in f32, not quantised again.
///
/// # Source
///
/// INT8: Dettmers et al., "LLM.int8()" (arXiv 2208.07339), row-wise absmax, without the decomposition of outlier activations.
/// NF4: Dettmers et al., "QLoRA" (arXiv 2305.14314), appendix E. FP4 and the blocks:
/// github.com/bitsandbytes-foundation/bitsandbytes, `functional.py` (`get_4bit_type`, `quantize_4bit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum WeightFormat {
    /// 16 bits, 11 of them significant.
    F16,
    /// 16 bits, 8 of them significant.
    Bf16,
    /// 255 even steps between plus and minus the largest magnitude of each output's weights.
    Int8,
    /// 15 even steps between plus and minus the largest magnitude of each [`WeightFormat::BLOCK`] weights.
    Int4,
    /// 16 quantiles of a normal distribution, times the largest magnitude of each [`WeightFormat::BLOCK`] weights.
    Nf4,
    /// A sign, two bits of exponent and one of fraction, times the largest magnitude of each [`WeightFormat::BLOCK`] weights.
    Fp4,
}

impl WeightFormat {
    /// All of them, the widest first.
    pub const ALL: [WeightFormat; 6] = [
        WeightFormat::F16,
        WeightFormat::Bf16,
        WeightFormat::Int8,
        WeightFormat::Int4,
        WeightFormat::Nf4,
        WeightFormat::Fp4,
    ];

    /// Weights that share one scale in the formats of four bits: consecutive ones of one output, and on into the next output where
    /// its number of inputs is no multiple.
    pub const BLOCK: usize = 64;

    fn name(self) -> &'static str {
        match self {
            WeightFormat::F16 => "f16",
            WeightFormat::Bf16 => "bf16",
            WeightFormat::Int8 => "int8",
            WeightFormat::Int4 => "int4",
            WeightFormat::Nf4 => "nf4",
            WeightFormat::Fp4 => "fp4",
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<WeightFormat> for String {
    fn from(format: WeightFormat) -> Self {
        format.name().to_owned()
    }
}

impl TryFrom<String> for WeightFormat {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Self, ModelError> {
        text.parse()
    }
}

impl FromStr for WeightFormat {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let known = WeightFormat::ALL.into_iter().find(|format| format.name() == text);
        known.ok_or_else(|| ModelError::UnknownWeightFormat { found: text.to_owned() })
    }
}

impl Decoder {
    /// The same decoder with its weights as `format` holds them.
    ///
    /// # Errors
    ///
    /// [`ModelError::BeyondFormat`] for a parameter that is not finite in the format, [`ModelError::Device`] when the device
    /// fails.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use inject_models::{Model, Origin, Precision, WeightFormat};
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-bf16-shards");
    /// let model = Model::load(Origin::of_folder(&folder), Precision::F32, &Device::flex())?;
    /// // These weights were stored as BF16.
    /// let again = model.decoder.clone().with_weights_in(WeightFormat::Bf16)?;
    /// let values = |decoder: &inject_models::Decoder| decoder.token_embedding().into_data();
    /// assert_eq!(values(&again), values(&model.decoder));
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn with_weights_in(self, format: WeightFormat) -> Result<Self, ModelError> {
        match format {
            WeightFormat::F16 => self.every_parameter(format, |value| f16::from_f64(value).to_f64()),
            WeightFormat::Bf16 => self.every_parameter(format, |value| bf16::from_f64(value).to_f64()),
            WeightFormat::Int8 => self.linear_maps(|d_in| (Code::Even(127), d_in)),
            WeightFormat::Int4 => self.linear_maps(|_| (Code::Even(7), WeightFormat::BLOCK)),
            WeightFormat::Nf4 => self.linear_maps(|_| (Code::NF4, WeightFormat::BLOCK)),
            WeightFormat::Fp4 => self.linear_maps(|_| (Code::FP4, WeightFormat::BLOCK)),
        }
    }

    fn every_parameter(self, format: WeightFormat, round: fn(f64) -> f64) -> Result<Self, ModelError> {
        let mut rounding = Rounding { format, round, failure: None };
        let rounded = self.map(&mut rounding);
        rounding.failure.map_or(Ok(rounded), Err)
    }

    /// `code` gives the code and the block for a map of so many inputs.
    fn linear_maps(self, code: impl Fn(usize) -> (Code, usize)) -> Result<Self, ModelError> {
        let mut failure = None;
        let mapped = self.map_matrices(&mut |matrix, values| {
            if !matrix.in_block() || failure.is_some() {
                return values;
            }
            let [d_in, _] = values.dims();
            let (code, block) = code(d_in);
            // As a checkpoint of transformers has it, output by output: that is the order in which blocks are cut.
            through_host(values.clone().transpose(), |weights| {
                weights.chunks_mut(block).for_each(|weights| code.round(weights));
                Ok(())
            })
            .map_or_else(
                |error| {
                    failure = Some(error);
                    values
                },
                Tensor::transpose,
            )
        });
        failure.map_or(Ok(mapped), Err)
    }
}

/// Rounds every parameter.
struct Rounding {
    format: WeightFormat,
    round: fn(f64) -> f64,
    failure: Option<ModelError>,
}

impl ModuleMapper for Rounding {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|values| {
            let trainable = values.is_require_grad();
            let rounded = through_host(values.clone().detach(), |weights| {
                for weight in weights {
                    let rounded = (self.round)(*weight);
                    if !rounded.is_finite() {
                        return Err(ModelError::BeyondFormat { format: self.format, found: *weight });
                    }
                    *weight = rounded;
                }
                Ok(())
            });
            match rounded {
                Ok(rounded) => rounded.set_require_grad(trainable),
                Err(error) => {
                    self.failure.get_or_insert(error);
                    values
                }
            }
        })
    }
}

/// A tensor with other values, in the order of its indices, in the same dtype on the same device.
fn through_host<const D: usize>(
    values: Tensor<D>,
    change: impl FnOnce(&mut [f64]) -> Result<(), ModelError>,
) -> Result<Tensor<D>, ModelError> {
    let (shape, device, dtype): (_, _, DType) = (values.dims(), values.device(), values.dtype());
    let mut host: Vec<f64> = to_host(values)?;
    change(&mut host)?;
    Ok(Tensor::from_data(TensorData::new(host, shape).convert_dtype(dtype), (&device, dtype)))
}
