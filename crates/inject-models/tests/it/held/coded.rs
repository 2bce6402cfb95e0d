//! Weights that are held as the codes of their files.

use burn::tensor::Device;
use inject_models::{
    Decoder, FloatFormat, Hold, Logits, ModelFiles, Origin, Precision, Tap, TokenBatch, WeightsHeldAs,
};

use super::{MAPPED, load, precision};
use crate::{
    fixture::{self, distance, values},
    gguf, parity, quantised,
};

/// The states of some tokens at every tap.
fn states(decoder: &Decoder) -> Vec<Vec<f64>> {
    let taps = Tap::all(decoder.config().n_layers());
    let batch = TokenBatch::new(&[[3, 1, 4, 1, 5, 9, 2, 6]]).unwrap();
    let mut states = decoder.forward(&batch, &taps, Logits::None).unwrap().states;
    taps.iter().map(|tap| values(states.remove(tap).unwrap())).collect()
}

#[test]
fn states_of_gguf_files_equal_the_reference_where_they_are() {
    for device in inject_testing::compiled() {
        for (file, case, goldens) in gguf::FILES {
            let decoder = load(&gguf::path(file), MAPPED, &device);
            assert!(decoder.held_in_files() > 0, "{file}");
            for golden in goldens {
                let worst = parity::check_decoder(case, golden, FloatFormat::F32, &device, &decoder);
                println!("{file}.gguf mapped on {device:?}: worst distance {worst:.2} of the tolerance");
            }
        }
    }
}

#[test]
fn quantised_weights_where_they_are_give_the_states_of_restored_ones() {
    let device = Device::flex();
    for case in quantised::CASES {
        let folder = fixture::folder("quantised").join(case);
        let oracle = states(&load(&folder, FloatFormat::F64, &device));
        let computed = states(&load(&folder, precision(Hold::Computed), &device));
        let decoder = load(&folder, MAPPED, &device);
        assert!(decoder.held_in_files() > 0, "{case}");
        for (tap, found) in states(&decoder).into_iter().enumerate() {
            // The rounding of F32, as another order of additions shows it.
            let noise = distance(&computed[tap], &oracle[tap]);
            let tolerance = fixture::tolerance(FloatFormat::F32, noise, &oracle[tap]);
            let apart = distance(&found, &oracle[tap]);
            assert!(apart <= tolerance, "{case}, tap {tap}: {apart:e} > {tolerance:e}");
        }
        assert_eq!(states(&decoder.widened()), computed, "{case}");
    }
}

/// The model takes the bytes of its file, and little more. By default only its plain matrices stay in the file, because codes are
/// slower than numbers.
#[test]
fn quantised_weights_do_not_count_as_tensors() {
    let device = Device::flex();
    let paths = quantised::CASES.map(|case| fixture::folder("quantised").join(case));
    for path in paths {
        let origin = Origin::of_folder(&path);
        let files = ModelFiles::open(origin).unwrap();
        let as_tensors = [Precision::F32, Precision::default(), MAPPED]
            .map(|precision| files.bytes_in_memory(precision, &device));
        assert!(as_tensors.is_sorted_by(|more, less| more > less), "{path:?}: {as_tensors:?}");
        let in_files = |precision: Precision| load(&path, precision, &device).held_in_files() as u64;
        let (some, all) = (in_files(Precision::default()), in_files(MAPPED));
        // States of the two differ by rounding, so their records differ.
        let held_as = |precision: Precision| load(&path, precision, &device).weights_held_as();
        assert_eq!(held_as(MAPPED), WeightsHeldAs::StoredCodes, "{path:?}");
        assert_ne!(held_as(Precision::default()), WeightsHeldAs::StoredCodes, "{path:?}");
        assert!(
            some < all && as_tensors[2] + all < as_tensors[0],
            "{path:?}: {some}, {all} of {as_tensors:?}"
        );
    }
}

/// A pass reads the codes, and computes each number of them.
#[test]
fn a_pass_over_codes_counts_the_numbers_that_it_restores() {
    let device = Device::flex();
    for case in quantised::CASES {
        let folder = fixture::folder("quantised").join(case);
        let last = Tap::FinalNorm;
        let [codes, numbers] = [MAPPED, Precision::F32].map(|precision| load(&folder, precision, &device));
        let (codes, numbers) = (codes.bytes_of_a_pass(last), numbers.bytes_of_a_pass(last));
        assert_eq!((codes.restored, numbers.restored), (numbers.from_memory, 0), "{case}");
        assert!(codes.from_memory < numbers.from_memory, "{case}: {codes:?} {numbers:?}");
    }
}
