//! A decoder whose weights are rounded to a narrow number format.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Tensor, TensorData},
};

use super::Decoder;
use crate::{
    error::ModelError,
    format::{FloatFormat, NumberFormat},
    host::to_host,
};

impl NumberFormat {
    /// The number of weights that share one scale in the formats of four bits: consecutive weights of one output, continued
    /// in the next output if its number of inputs is not a multiple.
    ///
    /// # Source
    ///
    /// github.com/bitsandbytes-foundation/bitsandbytes, `functional.py` (`quantize_4bit`).
    pub const WEIGHTS_PER_SCALE: usize = 64;

    /// The number of weights that share one scale in the formats of GGUF.
    ///
    /// # Source
    ///
    /// github.com/ggml-org/ggml, `src/ggml-common.h` (`QK8_0`, `QK4_0`, `QK4_1`).
    pub const WEIGHTS_PER_BLOCK: usize = 32;
}

impl Decoder {
    /// Returns the same decoder with its weights rounded to a number format.
    ///
    /// Each weight becomes the value that a kernel of that format would compute with. Everything else, activations and sums
    /// included, stays in the decoder's own format. So the rounding of the weights alone is seen, and the result is an ordinary
    /// decoder.
    ///
    /// The floating-point formats hold every parameter. The others hold the linear maps inside the blocks and leave
    /// embeddings, head, norms and biases unchanged, as the loader of transformers does with bitsandbytes. In INT8 the
    /// weights of each output share a scale (row-wise absmax, without the decomposition of outlier activations), in the
    /// formats of GGUF each [`NumberFormat::WEIGHTS_PER_BLOCK`] weights, in the others of four bits each
    /// [`NumberFormat::WEIGHTS_PER_SCALE`].
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::BeyondFormat`] for a parameter that is not finite in the format, and with
    /// [`ModelError::Device`] if the device fails.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use inject_models::{FloatFormat, Model, Origin};
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-bf16-shards");
    /// let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &Device::flex())?;
    /// // These weights were stored as BF16.
    /// let again = model.decoder.clone().with_weights_in(FloatFormat::Bf16)?;
    /// let values = |decoder: &inject_models::Decoder| decoder.token_embedding().into_data();
    /// assert_eq!(values(&again), values(&model.decoder));
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn with_weights_in(self, format: impl Into<NumberFormat>) -> Result<Self, ModelError> {
        match format.into() {
            NumberFormat::Float(format) => self.round_parameters(format),
            format => self.map_weights_by_scale(format, &mut |weights| format.round_weights(weights)),
        }
    }

    fn round_parameters(self, format: FloatFormat) -> Result<Self, ModelError> {
        let mut rounding = Rounding { format, failure: None };
        let rounded = self.widened().map(&mut rounding);
        rounding.failure.map_or(Ok(rounded), Err)
    }

    /// Changes the weights of the linear maps inside the blocks, those that share a scale of `format` together. The weights of a
    /// floating-point format have no scale, so each is changed alone.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::Device`] if the device fails.
    pub fn map_weights_by_scale(
        self,
        format: NumberFormat,
        change: &mut dyn FnMut(&mut [f64]),
    ) -> Result<Self, ModelError> {
        let mut failure = None;
        let mapped = self.map_matrices(&mut |matrix, values| {
            if !matrix.in_block() || failure.is_some() {
                return values;
            }
            let [d_in, _] = values.dims();
            let block = match format {
                NumberFormat::Float(_) => 1,
                NumberFormat::Int8 => d_in,
                NumberFormat::Int4 | NumberFormat::Nf4 | NumberFormat::Fp4 => NumberFormat::WEIGHTS_PER_SCALE,
                NumberFormat::Q8_0 | NumberFormat::Q4_0 | NumberFormat::Q4_1 => {
                    NumberFormat::WEIGHTS_PER_BLOCK
                }
            };
            // Blocks are cut output by output, as the checkpoints of transformers store the weights.
            let rounded = through_host(values.clone().transpose(), |weights| {
                weights.chunks_mut(block).for_each(&mut *change);
                Ok(())
            });
            rounded.map(Tensor::transpose).unwrap_or_else(|error| {
                failure = Some(error);
                values
            })
        });
        failure.map_or(Ok(mapped), Err)
    }
}

/// Visits every parameter and rounds it to `format`.
struct Rounding {
    format: FloatFormat,
    failure: Option<ModelError>,
}

impl ModuleMapper for Rounding {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|values| {
            let trainable = values.is_require_grad();
            let rounded = through_host(values.clone().detach(), |weights| {
                for weight in weights {
                    let rounded = self.format.round(*weight);
                    if !rounded.is_finite() {
                        return Err(ModelError::BeyondFormat { format: self.format.into(), found: *weight });
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

/// Returns a tensor with changed values, in the same dtype on the same device.
fn through_host<const D: usize>(
    values: Tensor<D>,
    change: impl FnOnce(&mut [f64]) -> Result<(), ModelError>,
) -> Result<Tensor<D>, ModelError> {
    let (shape, device, dtype) = (values.dims(), values.device(), values.dtype());
    let mut host: Vec<f64> = to_host(values)?;
    change(&mut host)?;
    Ok(Tensor::from_data(TensorData::new(host, shape).convert_dtype(dtype), (&device, dtype)))
}
