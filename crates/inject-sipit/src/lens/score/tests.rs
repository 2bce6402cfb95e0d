use inject_testing::models::{VOCAB_SIZE, model};

use super::*;
use crate::{
    collisions::{Arithmetic, approximate_products::Bits, norm},
    lens::{CodebookKind, FirstPosition, LensBuilder},
    models::{Tap, silent},
    tensors::read,
};

/// Half the spacing of f32 numbers at 1, which is the relative error of a rounding.
const U: f64 = f32::EPSILON as f64 / 2.0;

/// A number, and the largest error with which an arithmetic may compute it.
#[derive(Clone, Copy)]
struct Expected {
    value: f64,
    within: f64,
}

/// Returns the product of a point with a row, and an upper bound of its error.
///
/// In f32, the rounding error of a product of `n` coordinates and one addend is at most `(n + 1) u` of the product of the
/// lengths. In integers, each coordinate of the point has an error of 1/32,766 of the point's length, and each coordinate of
/// the row one of 1/254 or 1/32,766 of the row's length. By the Cauchy-Schwarz inequality, the error of the product is
/// `sqrt(n)` times as large a share of the product of the lengths.
fn product(point: &[f64], row: &[f64], arithmetic: Arithmetic, bits: Bits) -> Expected {
    let width = row.len() as f64;
    let of_row = if bits == Bits::Eight { 1.0 / 254.0 } else { 1.0 / 32_766.0 };
    let whole_numbers = width.sqrt() * (of_row + 1.0 / 32_766.0);
    let share = (width + 1.0) * U + if arithmetic == Arithmetic::F32OnDevice { 0.0 } else { whole_numbers };
    let value = point.iter().zip(row).map(|(a, b)| a * b).sum();
    Expected { value, within: share * norm(point) * norm(row) }
}

/// Returns the score of a token by a codebook: the product of the points, minus half the squared length of the token's point.
fn evidence(codebook: &Codebook, point: &[f64], id: usize, arithmetic: Arithmetic) -> Expected {
    let code: Vec<f64> =
        codebook.codes[id * codebook.rank()..][..codebook.rank()].iter().map(|x| x.to_f64()).collect();
    let bits = if codebook.kind == CodebookKind::First { Bits::Eight } else { Bits::Sixteen };
    let half_square = 0.5 * norm(&code).powi(2);
    let product = product(point, &code, arithmetic, bits);
    // Half the squared length is rounded to f32, and so is the sum. Boxes sum squared differences instead.
    let rounding = (code.len() as f64 + 2.0) * U * (norm(point) + norm(&code)).powi(2);
    Expected { value: product.value - half_square, within: product.within + rounding }
}

#[test]
fn every_arithmetic_reads_a_lens_within_its_error() {
    let text: Vec<Vec<u32>> = (0..48_u32)
        .map(|i| (0..16_u32).map(|j| (i * i * 31 + j * j * 7 + i * j) % VOCAB_SIZE).collect())
        .collect();
    let prompt = text[7].clone();
    for decoder in inject_testing::on_each(|device| model("llama", device).decoder) {
        let prefixes = vec![vec![5, 6, 7], vec![80, 3, 11, 4]];
        let taps = vec![Tap::Block(1), Tap::FinalNorm];
        let builder = LensBuilder::new(taps, prefixes, text.clone(), FirstPosition::Any);
        let head = decoder.own_head().unwrap_or_else(|| decoder.token_embedding());
        let width = decoder.config().d_model;
        let head: Vec<Vec<f64>> = read(head).unwrap().chunks(width).map(<[f64]>::to_vec).collect();
        for lens in builder.build(&decoder, "of these weights", &mut silent).unwrap() {
            let target = TargetStates::of_prompt(&decoder, lens.info().tap, &prompt).unwrap();
            let First::Any(first) = &lens.first else { panic!("first positions are tabulated") };
            let states = |positions: Range<usize>| rows(&target, positions, &decoder);
            let points = |codebook: &Codebook, states: Tensor<2>| -> Vec<Vec<f64>> {
                let values = read(codebook.place(states)).unwrap();
                values.chunks(codebook.rank()).map(<[f64]>::to_vec).collect()
            };
            let first_point = points(first, states(0..1)).remove(0);
            let last = prompt.len();
            let both = Tensor::cat(vec![states(1..last), states(0..last - 1)], 1);
            let later_points = points(&lens.later, both);
            let expected_finals: Option<Vec<Vec<f64>>> = lens.prior.as_ref().map(|prior| {
                let finals = states(0..last - 1).matmul(prior.map.clone()) + prior.offset.clone();
                read(finals).unwrap().chunks(width).map(<[f64]>::to_vec).collect()
            });
            for arithmetic in [Arithmetic::F32OnDevice, Arithmetic::I16OnProcessor, Arithmetic::I16Portable] {
                let lens = lens.clone().with_arithmetic(arithmetic).unwrap();
                let vocabulary = Vocabulary::new(&decoder, arithmetic);
                let found = lens.read(&vocabulary, &target, usize::MAX).unwrap();
                assert_eq!(found.len(), last);
                for (position, scores) in found.into_iter().enumerate() {
                    assert_eq!(scores.len(), VOCAB_SIZE as usize, "no more tokens than the vocabulary has");
                    for (id, score) in scores {
                        let id = id as usize;
                        let expected = match position.checked_sub(1) {
                            None => evidence(first, &first_point, id, arithmetic),
                            Some(before) => {
                                let sharpness = lens.info().sharpness;
                                let seen = evidence(&lens.later, &later_points[before], id, arithmetic);
                                let (weight, logit) = match (&lens.prior, &expected_finals) {
                                    (Some(prior), Some(finals)) => (
                                        prior.weight,
                                        product(&finals[before], &head[id], arithmetic, Bits::Eight),
                                    ),
                                    _ => (1.0, Expected { value: 0.0, within: 0.0 }),
                                };
                                let value = sharpness * (seen.value * weight + logit.value);
                                let within = sharpness * (seen.within * weight + logit.within);
                                // The weight, the sum and the sharpness are rounded to f32.
                                let terms = (seen.value * weight).abs() + logit.value.abs();
                                Expected { value, within: within + 4.0 * U * sharpness * terms }
                            }
                        };
                        let apart = (f64::from(score) - expected.value).abs();
                        assert!(
                            apart <= expected.within,
                            "{arithmetic:?}, position {position}, token {id}: {score}, {} within {}",
                            expected.value,
                            expected.within
                        );
                    }
                }
            }
        }
    }
}
