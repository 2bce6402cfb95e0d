//! Rotary position embedding.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::rowwise;
use crate::{
    config::{RotaryConfig, RotaryScaling},
    host::indices,
};

/// Cosines and sines of the angles at some positions.
///
/// A model in f32 rounds where the reference rounds: frequencies, angles and their cosines are each an f32 there. An angle
/// of thousands of radians is then off by thousandths, and by the same thousandths in every state that transformers ever
/// wrote. A more exact angle would be farther from all of those states. A model in f64 has the exact values.
#[derive(Clone, Debug)]
pub(super) struct RotaryTable {
    /// Shape `[1, 1, positions, pairs]`, or `[rows, 1, 1, pairs]` for rows of one position each.
    cos: Tensor<4>,
    /// The sines, in the shape of `cos`.
    sin: Tensor<4>,
}

/// The rounding of every intermediate result.
type Rounding = fn(f64) -> f64;

/// Rounds to f32. An operation on f32 operands, computed in f64 and then rounded, equals the operation in f32.
fn to_f32(value: f64) -> f64 {
    f64::from(value as f32)
}

fn exact(value: f64) -> f64 {
    value
}

impl RotaryTable {
    /// The table of consecutive positions in a sequence of `sequence_len` tokens in all.
    pub(super) fn new(
        config: &RotaryConfig,
        positions: Range<usize>,
        sequence_len: usize,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let round: Rounding = if dtype == DType::F64 { exact } else { to_f32 };
        let frequencies = frequencies(config, sequence_len, round);
        let amplitude = match config.scaling {
            RotaryScaling::LongRope { attention_factor, .. } => attention_factor,
            RotaryScaling::None | RotaryScaling::Linear { .. } | RotaryScaling::Llama3 { .. } => 1.0,
        };
        let table = |f: fn(f64) -> f64| {
            let values = positions.clone().flat_map(|position| {
                let angles = frequencies.iter().map(move |frequency| round(position as f64 * frequency));
                angles.map(move |angle| round(round(f(angle)) * amplitude))
            });
            let shape = [1, 1, positions.len(), frequencies.len()];
            let data = match dtype {
                DType::F64 => TensorData::new(values.collect::<Vec<f64>>(), shape),
                _ => TensorData::new(values.map(|value| value as f32).collect::<Vec<f32>>(), shape),
            };
            Tensor::from_data(data, (device, dtype))
        };
        RotaryTable { cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// The table of rows of one position each, given by their places among the positions of this table. A single place
    /// serves any number of rows.
    pub(super) fn of_rows(&self, places: &[usize]) -> Self {
        let (rows, half) = (places.len(), self.cos.dims()[3]);
        let at = |table: &Tensor<4>| {
            let places = indices(places, &table.device());
            table.clone().select(2, places).reshape([rows, 1, 1, half])
        };
        RotaryTable { cos: at(&self.cos), sin: at(&self.sin) }
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
        if rowwise::is_in_memory(&x) {
            return rowwise::rotated(x, self.cos.clone(), self.sin.clone());
        }
        let half = self.cos.dims()[3];
        let d_head = x.dims()[3];
        let first = x.clone().narrow(3, 0, half);
        let second = x.clone().narrow(3, half, half);
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        let mut parts =
            vec![first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin];
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
/// Hugging Face transformers 5.23, `modeling_rope_utils.py`, operation by operation.
fn frequencies(config: &RotaryConfig, sequence_len: usize, round: Rounding) -> Vec<f64> {
    let periods = (0..config.pairs()).map(|pair| {
        let exponent = round(2.0 * pair as f64 / config.rotary_dim as f64);
        round(config.base.powf(exponent))
    });
    match &config.scaling {
        RotaryScaling::None => periods.map(|period| round(1.0 / period)).collect(),
        RotaryScaling::Linear { factor } => {
            periods.map(|period| round(round(1.0 / period) / round(*factor))).collect()
        }
        &RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_len } => periods
            .map(|period| {
                let frequency = round(1.0 / period);
                let wavelength = round(2.0 * std::f64::consts::PI / frequency);
                if wavelength < original_len / high_freq_factor {
                    frequency
                } else if wavelength > original_len / low_freq_factor {
                    round(frequency / factor)
                } else {
                    let above = round(round(original_len / wavelength) - low_freq_factor);
                    let smooth = round(above / (high_freq_factor - low_freq_factor));
                    let stretched = round(round((1.0 - smooth) * frequency) / factor);
                    round(stretched + round(smooth * frequency))
                }
            })
            .collect(),
        RotaryScaling::LongRope { short_factor, long_factor, original_len, .. } => {
            let factors = if sequence_len > *original_len { long_factor } else { short_factor };
            periods.zip(factors).map(|(period, factor)| round(1.0 / round(round(*factor) * period))).collect()
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
        assert_eq!(frequencies(&config, 32, exact), [1.0, 1.0 / 20.0]);
        assert_eq!(frequencies(&config, 33, exact), [1.0 / 4.0, 1.0 / 80.0]);
    }

    #[test]
    fn llama3_keeps_high_and_stretches_low_frequencies() {
        let scaling = RotaryScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_len: 8192.0,
        };
        let config = RotaryConfig { rotary_dim: 128, base: 500_000.0, scaling };
        let plain = RotaryConfig { scaling: RotaryScaling::None, ..config.clone() };
        let (scaled, plain) = (frequencies(&config, 1, exact), frequencies(&plain, 1, exact));
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[63], plain[63] / 8.0);
        assert!(scaled.iter().zip(&plain).all(|(s, p)| (p / 8.0..=*p).contains(s)));
    }
}
