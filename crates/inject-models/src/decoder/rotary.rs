//! Rotary position embedding.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::config::{RotaryConfig, RotaryScaling};

/// Cosines and sines for a run of consecutive positions.
///
/// They are computed in f64 and rounded once to the dtype of the model. The reference works in f32 throughout, so
/// it carries an error that grows with the position; ours does not.
#[derive(Clone, Debug)]
pub(super) struct RotaryTable {
    /// Shape `[1, 1, positions, rotary_dim / 2]`.
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RotaryTable {
    /// The table for `positions` positions from `begin` on, within a sequence of `sequence_len` tokens in all.
    pub(super) fn new(
        config: &RotaryConfig,
        begin: usize,
        positions: usize,
        sequence_len: usize,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let frequencies = frequencies(config, sequence_len);
        let amplitude = match config.scaling {
            RotaryScaling::LongRope { attention_factor, .. } => attention_factor,
            RotaryScaling::None | RotaryScaling::Linear { .. } | RotaryScaling::Llama3 { .. } => 1.0,
        };
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f64> = (begin..begin + positions)
                .flat_map(|position| {
                    frequencies.iter().map(move |frequency| f(position as f64 * frequency) * amplitude)
                })
                .collect();
            let shape = [1, 1, positions, frequencies.len()];
            let data = match dtype {
                DType::F64 => TensorData::new(values, shape),
                _ => TensorData::new(values.iter().map(|&value| value as f32).collect(), shape),
            };
            Tensor::from_data(data, (device, dtype))
        };
        RotaryTable { cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// Rotates the first half of the rotating coordinates of each head against the second half.
    ///
    /// # Shapes
    ///
    /// `[batch, heads, positions, d_head]` to the same.
    ///
    /// # Source
    ///
    /// Hugging Face transformers 5.23, `modeling_llama.py` (`rotate_half`) and `modeling_phi3.py` (partial rotation).
    pub(super) fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let half = self.cos.dims()[3];
        let d_head = x.dims()[3];
        let first = x.clone().narrow(3, 0, half);
        let second = x.clone().narrow(3, half, half);
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        let mut parts = vec![
            first.clone() * cos.clone() - second.clone() * sin.clone(),
            second * cos + first * sin,
        ];
        if 2 * half < d_head {
            parts.push(x.narrow(3, 2 * half, d_head - 2 * half));
        }
        Tensor::cat(parts, 3)
    }
}

/// Angle per position of each pair of coordinates, in radians.
///
/// # Source
///
/// Hugging Face transformers 5.23, `modeling_rope_utils.py`.
fn frequencies(config: &RotaryConfig, sequence_len: usize) -> Vec<f64> {
    let pairs = config.rotary_dim / 2;
    let plain = (0..pairs).map(|pair| config.base.powf(-2.0 * pair as f64 / config.rotary_dim as f64));
    match &config.scaling {
        RotaryScaling::None => plain.collect(),
        RotaryScaling::Linear { factor } => plain.map(|frequency| frequency / factor).collect(),
        &RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_len } => plain
            .map(|frequency| {
                let wavelength = 2.0 * std::f64::consts::PI / frequency;
                if wavelength < original_len / high_freq_factor {
                    frequency
                } else if wavelength > original_len / low_freq_factor {
                    frequency / factor
                } else {
                    let smooth =
                        (original_len / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            })
            .collect(),
        RotaryScaling::LongRope { short_factor, long_factor, original_len, .. } => {
            let factors = if sequence_len > *original_len { long_factor } else { short_factor };
            plain.zip(factors).map(|(frequency, factor)| frequency / factor).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_rope_switches_above_its_original_length_only() {
        let config = RotaryConfig {
            rotary_dim: 4,
            base: 100.0,
            scaling: RotaryScaling::LongRope {
                short_factor: vec![1.0, 2.0],
                long_factor: vec![4.0, 8.0],
                original_len: 32,
                attention_factor: 1.0,
            },
        };
        assert_eq!(frequencies(&config, 32), [1.0, 0.1 / 2.0]);
        assert_eq!(frequencies(&config, 33), [1.0 / 4.0, 0.1 / 8.0]);
    }

    #[test]
    fn llama3_keeps_high_and_stretches_low_frequencies() {
        let scaling =
            RotaryScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_len: 8192.0 };
        let config = RotaryConfig { rotary_dim: 128, base: 500_000.0, scaling };
        let plain = RotaryConfig { scaling: RotaryScaling::None, ..config.clone() };
        let (scaled, plain) = (frequencies(&config, 1), frequencies(&plain, 1));
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[63], plain[63] / 8.0);
        assert!(scaled.iter().zip(&plain).all(|(s, p)| (p / 8.0..=*p).contains(s)));
    }
}
