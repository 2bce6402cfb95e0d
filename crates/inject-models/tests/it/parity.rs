//! States at every tap against Hugging Face transformers, for every family, within [`fixture::tolerance`].

use burn::tensor::Device;
use inject_models::{Decoder, FloatFormat};
pub(crate) use inject_testing::parity::CASES;
use inject_testing::parity::compare;

use crate::fixture;

#[test]
fn every_family_has_a_reference() {
    fixture::check_families(CASES.map(|(case, _)| case));
}

#[test]
fn states_at_every_tap_equal_the_reference() {
    for device in inject_testing::compiled() {
        for (case, file) in CASES {
            let worst = check(case, file, FloatFormat::F32, &device);
            println!("{case}/{file} on {device:?}: worst distance {worst:.2} of the tolerance");
        }
    }
}

#[test]
fn states_in_f64_equal_the_reference_to_the_last_digits() {
    for device in inject_testing::compiled().into_iter().filter(inject_testing::computes_in_f64) {
        for (case, file) in CASES {
            check(case, file, FloatFormat::F64, &device);
        }
    }
}

/// Compares a fixture with its golden file and returns the largest distance as a share of its tolerance.
fn check(case: &str, file: &str, format: FloatFormat, device: &Device) -> f64 {
    check_decoder(case, file, format, device, &fixture::load(case, format, device).decoder)
}

/// Compares a decoder with the golden file of a fixture, and returns the largest distance as a share of its tolerance.
pub(crate) fn check_decoder(
    case: &str,
    file: &str,
    format: FloatFormat,
    device: &Device,
    decoder: &Decoder,
) -> f64 {
    let comparison = compare(decoder, &fixture::folder(case).join(format!("{file}.safetensors")), format);
    assert!(comparison.holds(), "{case} in {format} on {device:?}: {comparison}");
    comparison.state.share
}
