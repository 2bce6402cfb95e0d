//! Weights in narrow formats, compared with the definitions of the formats.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use half::{bf16, f16};
use inject_models::{Decoder, FloatFormat, Matrix, ModelError, NumberFormat, host::to_host};
use safetensors::SafeTensors;

use crate::fixture::{folder, load};

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

/// `rounded.safetensors` has matrices, many of whose numbers are at or beside the bounds between codes.
#[test]
fn weights_are_rounded_to_the_numbers_of_bitsandbytes_bit_for_bit() {
    let bytes = std::fs::read(folder("quantised").join("rounded.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |name: &str| -> Vec<f32> {
        let view = file.tensor(name).unwrap();
        view.data().as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
    };
    for format in [NumberFormat::Nf4, NumberFormat::Fp4, NumberFormat::Int8] {
        let mut rounded: Vec<f64> = numbers("weights").into_iter().map(f64::from).collect();
        rounded.chunks_mut(NumberFormat::WEIGHTS_PER_SCALE).for_each(|row| format.round_weights(row));
        let expected = numbers(format.name());
        let other = rounded.iter().zip(&expected).filter(|(found, expected)| **found as f32 != **expected);
        assert_eq!(other.count(), 0, "{format}: of {} numbers", expected.len());
    }
}

/// The expected numbers are those that the checkpoints of bitsandbytes are restored to.
#[test]
fn a_rounded_decoder_is_that_of_the_checkpoint_that_bitsandbytes_makes() {
    let device = inject_testing::any_device();
    let of_first_block = |decoder: &Decoder| -> Vec<Values> {
        matrices(decoder).into_iter().filter(|(matrix, ..)| matrix.in_block()).take(4).collect()
    };
    for (case, format) in [("nf4", NumberFormat::Nf4), ("int8", NumberFormat::Int8)] {
        let restored = of_first_block(&load(&format!("quantised/{case}"), FloatFormat::F32, &device).decoder);
        let plain = load("llama", FloatFormat::F32, &device).decoder;
        assert!(of_first_block(&plain.with_weights_in(format).unwrap()) == restored, "{format}");
    }
}

#[test]
fn integers_of_four_bits_have_even_steps_in_blocks_along_the_inputs() {
    for decoder in inject_testing::on_each(|device| load("llama", FloatFormat::F32, device).decoder) {
        let quantised = decoder.clone().with_weights_in(NumberFormat::Int4).unwrap();
        for ((matrix, [d_in, d_out], before), (_, _, after)) in
            matrices(&decoder).into_iter().zip(matrices(&quantised))
        {
            if !matrix.in_block() {
                assert_eq!(before, after, "{matrix:?}");
                continue;
            }
            // Output by output, as transformers stores it.
            let place = |flat: usize| (flat % d_in) * d_out + flat / d_in;
            for begin in (0..d_in * d_out).step_by(NumberFormat::WEIGHTS_PER_SCALE) {
                let end = (begin + NumberFormat::WEIGHTS_PER_SCALE).min(d_in * d_out);
                let members: Vec<usize> = (begin..end).map(place).collect();
                let largest = members.iter().map(|&at| before[at].abs()).fold(0.0, f64::max);
                for at in members {
                    let expected = (before[at] / largest * 7.0).round_ties_even() / 7.0 * largest;
                    // One rounding to f32.
                    assert!((after[at] - expected).abs() <= 1e-7 * largest, "{matrix:?}");
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
