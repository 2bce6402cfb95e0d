//! Weights in narrow formats, compared with the definitions of the formats.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use half::{bf16, f16};
use inject_models::{Decoder, FloatFormat, Matrix, ModelError, NumberFormat, host::to_host};

use crate::fixture::load;

/// The place, the shape and the values of a matrix.
type Values = (Matrix, [usize; 2], Vec<f64>);

/// The values of every matrix.
fn matrices(decoder: &Decoder) -> Vec<Values> {
    let mut found = Vec::new();
    decoder.clone().map_matrices(&mut |matrix, values| {
        found.push((matrix, values.dims(), to_host::<f64, 2>(values.clone()).unwrap()));
        values
    });
    found
}

/// Collects all parameters, one after another.
struct Parameters(Vec<f64>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(to_host::<f64, D>(param.val()).unwrap());
    }
}

fn parameters(decoder: &Decoder) -> Vec<f64> {
    let mut visitor = Parameters(Vec::new());
    decoder.visit(&mut visitor);
    visitor.0
}

#[test]
fn sixteen_bits_hold_every_parameter_rounded_to_nearest() {
    for decoder in inject_testing::on_each(|device| load("gpt2", FloatFormat::F32, device).decoder) {
        let found = |format: FloatFormat| parameters(&decoder.clone().with_weights_in(format).unwrap());
        let exact = parameters(&decoder);
        // The parameters are F32. `half` takes some doubles near a tie for the tie.
        let halves: Vec<f64> = exact.iter().map(|&value| f16::from_f32(value as f32).to_f64()).collect();
        assert_eq!(found(FloatFormat::F16), halves);
        let brains: Vec<f64> = exact.iter().map(|&value| bf16::from_f32(value as f32).to_f64()).collect();
        assert_eq!(found(FloatFormat::Bf16), brains);
    }
}

#[test]
fn integers_scale_each_output_and_blocks_go_along_the_inputs() {
    for decoder in inject_testing::on_each(|device| load("llama", FloatFormat::F32, device).decoder) {
        for (format, steps) in [(NumberFormat::Int8, 127.0), (NumberFormat::Int4, 7.0)] {
            let quantised = decoder.clone().with_weights_in(format).unwrap();
            for ((matrix, [d_in, d_out], before), (_, _, after)) in
                matrices(&decoder).into_iter().zip(matrices(&quantised))
            {
                if !matrix.in_block() {
                    assert_eq!(before, after, "{matrix:?}");
                    continue;
                }
                // Output by output, as transformers stores it.
                let place = |flat: usize| (flat % d_in) * d_out + flat / d_in;
                let block = if format == NumberFormat::Int8 { d_in } else { NumberFormat::WEIGHTS_PER_SCALE };
                for begin in (0..d_in * d_out).step_by(block) {
                    let members: Vec<usize> = (begin..(begin + block).min(d_in * d_out)).map(place).collect();
                    let largest = members.iter().map(|&at| before[at].abs()).fold(0.0, f64::max);
                    for at in members {
                        let expected = (before[at] / largest * steps).round_ties_even() / steps * largest;
                        // One rounding to f32.
                        assert!((after[at] - expected).abs() <= 1e-7 * largest, "{format}, {matrix:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn four_bit_codes_have_sixteen_values_a_block_and_int8_is_closer() {
    for decoder in inject_testing::on_each(|device| load("gemma3", FloatFormat::F32, device).decoder) {
        let error = |&format: &NumberFormat| {
            let quantised = decoder.clone().with_weights_in(format).unwrap();
            let pairs = matrices(&decoder).into_iter().zip(matrices(&quantised));
            let squares = pairs.flat_map(|((_, _, before), (_, _, after))| {
                before.into_iter().zip(after).map(|(before, after)| (before - after).powi(2))
            });
            squares.sum::<f64>().sqrt()
        };
        let errors: Vec<f64> = NumberFormat::narrow().iter().map(error).collect();
        let [f16, bf16, int8, q8_0, int4, nf4, fp4, q4_0, q4_1] = errors[..] else { panic!("{errors:?}") };
        assert!(f16 < bf16 && bf16 < int8.min(q8_0) && int8.max(q8_0) < nf4 && nf4 < int4 && nf4 < fp4);
        assert!(int8.max(q8_0) < q4_0.min(q4_1) && q4_0.max(q4_1) < fp4);
    }
}

#[test]
fn a_weight_that_a_format_cannot_hold_is_refused() {
    for device in inject_testing::compiled() {
        let loud =
            load("gpt2", FloatFormat::F32, &device).decoder.map_matrices(&mut |_, values| values * 1e6);
        let error = loud.with_weights_in(FloatFormat::F16).unwrap_err();
        let ModelError::BeyondFormat { format, .. } = error else { panic!("{error:?}") };
        assert_eq!(format, FloatFormat::F16.into());
    }
}
