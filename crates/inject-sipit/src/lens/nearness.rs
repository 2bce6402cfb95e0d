//! The nearness of tokens' points to a direction.

use half::{f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

use super::{Codebook, Lens};
use crate::tuning::WIDENED_TOGETHER;

impl Lens {
    /// Returns the points of some tokens at positions other than the first, concatenated.
    pub(crate) fn points(&self, ids: &[u32]) -> Vec<f64> {
        let rank = self.later.rank();
        let point =
            |&id: &u32| self.later.codes[id as usize * rank..][..rank].iter().map(|value| value.to_f64());
        ids.iter().flat_map(point).collect()
    }

    /// Returns the nearness of each token to `point` at positions other than the first: the cosine of the angle between their
    /// points, both relative to the mean of all tokens, up to a factor that is the same for all tokens.
    ///
    /// The cosine is used because a guess by ridge regression is too short: by distance, the tokens near the mean would be nearest
    /// to it, whatever its direction.
    pub(crate) fn nearness(&self, point: &[f64]) -> Vec<f64> {
        self.later.nearness(point)
    }
}

impl Codebook {
    fn nearness(&self, point: &[f64]) -> Vec<f64> {
        let rank = self.rank();
        let mean = self.mean.get_or_init(|| mean(&self.codes, rank));
        let direction: Vec<f32> = point.iter().zip(mean).map(|(point, mean)| *point as f32 - mean).collect();
        let of_some = |codes: &[f16]| {
            let mut values = vec![0.0; codes.len()];
            codes.convert_to_f32_slice(&mut values);
            let near = |point: &[f32]| {
                let (mut product, mut square) = (0.0_f32, 0.0_f32);
                for ((value, mean), direction) in point.iter().zip(mean).zip(&direction) {
                    let from_mean = value - mean;
                    product += from_mean * direction;
                    square += from_mean * from_mean;
                }
                f64::from(product / square.max(f32::MIN_POSITIVE).sqrt())
            };
            values.chunks(rank).map(near).collect::<Vec<f64>>()
        };
        self.codes.par_chunks(WIDENED_TOGETHER * rank).flat_map_iter(of_some).collect()
    }
}

/// Returns the mean of points, `[points, rank]` row-major.
fn mean(codes: &[f16], rank: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; rank];
    for point in codes.chunks(rank) {
        sum.iter_mut().zip(point).for_each(|(sum, value)| *sum += value.to_f64());
    }
    let count = (codes.len() / rank).max(1) as f64;
    sum.into_iter().map(|sum| (sum / count) as f32).collect()
}

#[cfg(test)]
mod tests {
    use crate::states::random::SplitMix;
    use burn::tensor::Tensor;

    use super::*;
    use crate::lens::CodebookKind;

    #[test]
    fn nearness_is_the_cosine_from_the_mean_but_for_a_factor() {
        const RANK: usize = 19;
        let mut numbers = SplitMix::seeded(11);
        let mut draw = |count: usize| -> Vec<f32> {
            (0..count).map(|_| numbers.below(2001) as f32 / 1e2 + 3.0).collect()
        };
        // More tokens than are widened together.
        let tokens = 2 * WIDENED_TOGETHER + 7;
        let (codes, point) = (draw(tokens * RANK), draw(RANK));
        let device = inject_testing::any_device();
        let zeros = |rows: usize| Tensor::<2>::zeros([rows, RANK], &device);
        let codebook = Codebook::new(zeros(4), zeros(1), &codes, CodebookKind::BesidePrior).unwrap();
        let codes: Vec<Vec<f64>> = codebook
            .codes
            .chunks(RANK)
            .map(|code| code.iter().map(|value| value.to_f64()).collect())
            .collect();
        let mean: Vec<f64> =
            (0..RANK).map(|i| codes.iter().map(|code| code[i]).sum::<f64>() / tokens as f64).collect();
        let point: Vec<f64> = point.into_iter().map(f64::from).collect();
        let from_mean = |code: &[f64]| -> Vec<f64> { code.iter().zip(&mean).map(|(a, b)| a - b).collect() };
        let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let direction = from_mean(&point);
        let length = product(&direction, &direction).sqrt();
        let found = codebook.nearness(&point);
        assert_eq!(found.len(), tokens);
        for (found, code) in found.iter().zip(&codes) {
            let code = from_mean(code);
            let cosine = product(&code, &direction) / product(&code, &code).sqrt();
            // The rounding errors of the mean, of two differences and of two sums of 19 terms, relative to the lengths.
            let within = 2.0 * (RANK + 4) as f64 * f64::from(f32::EPSILON) * 2.0 * length;
            assert!((found - cosine).abs() <= within, "{found}, expected {cosine} within {within}");
        }
    }
}
