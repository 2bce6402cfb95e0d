//! Soft caps on scores and logits.

use burn::tensor::Tensor;

/// Bends numbers so that none exceeds the cap, if there is one: `c tanh(x / c)`.
///
/// # Source
///
/// Hugging Face transformers 5.23, `modeling_gemma2.py` (`eager_attention_forward`, `Gemma2ForCausalLM.forward`).
pub(super) fn capped<const D: usize>(x: Tensor<D>, cap: Option<f64>) -> Tensor<D> {
    match cap {
        None => x,
        Some(cap) => x.div_scalar(cap).tanh().mul_scalar(cap),
    }
}
