//! Weights that are held in another format, or in another place, than is computed in.

mod changed;
mod coded;
mod memory;

use std::{fs, path::Path};

use burn::tensor::Device;
use inject_models::{
    Alternative, Decoder, FloatFormat, Hold, Logits, Model, Origin, Precision, Tap, TokenBatch,
    WeightsHeldAs, host,
};
use safetensors::SafeTensors;

use crate::{
    fixture::{self, ONE_PER_FAMILY, distance, golden, values},
    parity::{CASES, check_decoder},
};

const MAPPED: Precision = precision(Hold::Stored);

const fn precision(hold: Hold) -> Precision {
    let mut precision = Precision::F32;
    precision.hold = hold;
    precision
}

fn load(folder: &Path, precision: impl Into<Precision>, device: &Device) -> Decoder {
    Model::load(Origin::of_folder(folder), precision, device).unwrap().decoder
}

/// A copy of a reference model whose weights are rounded to a format.
fn stored_in(case: &str, format: FloatFormat, device: &Device) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture::load(case, FloatFormat::F32, device);
    fs::copy(fixture::folder(case).join("config.json"), folder.path().join("config.json")).unwrap();
    let path = folder.path().join("model.safetensors");
    model.decoder.save_weights(model.family(), format, &path).unwrap();
    folder
}

#[test]
fn states_of_mapped_weights_equal_the_reference() {
    for device in inject_testing::compiled() {
        for (case, file) in CASES {
            let decoder = load(&fixture::folder(case), MAPPED, &device);
            let worst = check_decoder(case, file, FloatFormat::F32, &device, &decoder);
            println!("{case}/{file} mapped: worst distance {worst:.2} of the tolerance");
        }
    }
}

#[test]
fn states_of_narrow_weights_equal_those_in_f64_however_they_are_held() {
    for device in inject_testing::compiled().into_iter().filter(inject_testing::computes_in_f64) {
        for case in ONE_PER_FAMILY {
            let bytes = fs::read(fixture::folder(case).join("golden.safetensors")).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let (noise, ids) = (golden(&file, "f32_noise"), fixture::ids(&golden(&file, "input_ids")));
            let batch = TokenBatch::new(&ids).unwrap();
            for format in [FloatFormat::Bf16, FloatFormat::F16] {
                let folder = stored_in(case, format, &device);
                let oracle = load(folder.path(), FloatFormat::F64, &device);
                let taps = Tap::all(oracle.config().n_layers());
                let expected = oracle.forward(&batch, &taps, Logits::None).unwrap();
                for hold in [Hold::Computed, Hold::StoredOnDevice, Hold::Stored] {
                    let decoder = load(folder.path(), precision(hold), &device);
                    assert_eq!(decoder.held_in_files() > 0, hold == Hold::Stored, "{case}");
                    let found = decoder.forward(&batch, &taps, Logits::None).unwrap();
                    for (tap, noise) in taps.iter().zip(&noise.values) {
                        let d_model = oracle.config().d_model;
                        let (a, b) =
                            (values(found.states[tap].clone()), values(expected.states[tap].clone()));
                        for (found, expected) in a.chunks(d_model).zip(b.chunks(d_model)) {
                            // The noise is that of the weights before they were rounded: a change of 2^-8 of them does not
                            // change its size by more than the factor of four in the tolerance.
                            let tolerance = fixture::tolerance(FloatFormat::F32, *noise, expected);
                            let apart = distance(found, expected);
                            assert!(
                                apart <= tolerance,
                                "{case} {format} {hold:?} {tap}: {apart:e} > {tolerance:e}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn f64_is_computed_of_mapped_weights_too() {
    for device in inject_testing::compiled().into_iter().filter(inject_testing::computes_in_f64) {
        for case in ["llama", "gpt-neox", "phi4"] {
            let decoder =
                load(&fixture::folder(case), Precision::new(Hold::Stored, FloatFormat::F64), &device);
            assert!(decoder.held_in_files() > 0);
            check_decoder(case, "golden", FloatFormat::F64, &device, &decoder);
        }
    }
}

#[test]
fn weights_stay_in_their_files_by_default_where_that_costs_no_time() {
    for device in inject_testing::compiled() {
        let folder = fixture::folder("llama-bf16-shards");
        let held = |precision: Precision| load(&folder, precision, &device).held_in_files() > 0;
        assert_eq!(held(Precision::default()), !host::is_remote(&device));
        assert!(!held(FloatFormat::F32.into()) && !held(Precision::F32));
        // Each product would widen the matrix anew.
        for compute in [FloatFormat::Bf16, FloatFormat::F16] {
            assert!(!held(Precision::new(Hold::default(), compute)));
        }
    }
}

#[test]
fn blocks_below_a_tap_are_widened_alone() {
    let device = inject_testing::any_device();
    let decoder = load(&fixture::folder("llama-bf16-shards"), MAPPED, &device);
    let (all, config) = (decoder.held_in_files(), decoder.config());
    // The embedding and the head, two bytes a number.
    let tables = 2 * 2 * config.vocab_size * config.d_model;
    let of_block = (all - tables) / config.n_layers();
    for (tap, blocks) in [(Tap::Embedding, 0), (Tap::Block(1), 1), (Tap::FinalNorm, config.n_layers())] {
        let left = decoder.clone().widened_to(tap).held_in_files();
        assert_eq!(left, all - blocks * of_block, "{tap}");
    }
}

/// The projections of a row are the same bits in every batch. What remains is the attention, which is summed in another order.
#[test]
fn candidates_and_alternatives_of_mapped_weights_are_the_states_of_a_pass() {
    for device in inject_testing::compiled() {
        let folder = fixture::folder("llama-bf16-shards");
        let decoder = load(&folder, MAPPED, &device);
        let tap = Tap::Block(decoder.config().n_layers());
        let mut cache = decoder.prefix_cache(1, 4, tap).unwrap();
        let run = TokenBatch::new(&[[3, 1, 4]]).unwrap();
        let alternative = [Alternative { place: 2, id: 9 }];
        let (run, beside) = decoder.extend_with_alternatives(&mut cache, &run, &alternative, tap).unwrap();
        let candidates = decoder.candidates(&cache, &[5, 6], tap).unwrap();
        let whole = TokenBatch::new(&[[3, 1, 4, 5], [3, 1, 9, 6]]).unwrap();
        let expected = decoder.forward(&whole, &[tap], Logits::None).unwrap().states.remove(&tap).unwrap();
        let row = |batch: usize, at: usize| values(expected.clone().narrow(0, batch, 1).narrow(1, at, 1));
        let d_model = decoder.config().d_model;
        for (found, expected) in [
            (values(run)[2 * d_model..].to_vec(), row(0, 2)),
            (values(beside), row(1, 2)),
            (values(candidates)[..d_model].to_vec(), row(0, 3)),
        ] {
            let tolerance = fixture::tolerance(FloatFormat::F32, 0.0, &expected);
            assert!(distance(&found, &expected) <= tolerance);
        }
    }
}

#[test]
fn logits_and_embeddings_of_some_tokens_are_those_of_all() {
    for device in inject_testing::compiled() {
        let decoder = load(&fixture::folder("llama-bf16-shards"), MAPPED, &device);
        let table = decoder.token_embedding();
        let rows = decoder.token_embeddings(20..50);
        assert_eq!(values(rows), values(table.clone().narrow(0, 20, 30)));
        let states = table.narrow(0, 0, 3);
        let all = decoder.logits(states.clone()).narrow(1, 20, 30);
        assert_eq!(values(decoder.logits_of(states, 20..50)), values(all));
    }
}

#[test]
fn weights_of_pickled_files_are_held_as_computed() {
    let device = inject_testing::any_device();
    assert_eq!(load(&fixture::folder("gpt-neo-bin"), MAPPED, &device).held_in_files(), 0);
}

#[test]
fn maps_that_are_stored_input_by_input_are_held_too() {
    let device = inject_testing::any_device();
    let decoder = load(&fixture::folder("gpt2"), MAPPED, &device);
    let config = decoder.config();
    // Queries, keys, values, out, up and down, each four or one times the square of the width, and the embedding.
    let matrices =
        config.n_layers() * 12 * config.d_model * config.d_model + config.vocab_size * config.d_model;
    assert_eq!(decoder.held_in_files(), 4 * matrices);
}

#[test]
fn blocks_that_are_dropped_and_read_again_give_the_same_bits() {
    let device = inject_testing::any_device();
    let stays = load(&fixture::folder("llama-bf16-shards"), MAPPED, &device);
    let in_files = stays.held_in_files();
    assert!(!stays.reads_from_disk());
    assert!(!stays.clone().with_weights_in_memory(in_files).reads_from_disk());
    let dropped = stays.clone().with_weights_in_memory(0);
    assert!(dropped.reads_from_disk());
    let last = Tap::Block(stays.config().n_layers());
    let (from_memory, from_disk) = (stays.bytes_of_a_pass(last), dropped.bytes_of_a_pass(last));
    assert_eq!((from_memory.from_disk, from_disk.from_memory), (0, 0));
    // Two bytes a weight, each of which is one product of a token: two operations.
    let bytes = stays.config().flops_per_token(last) as usize;
    assert_eq!((from_memory.from_memory, from_disk.from_disk), (bytes, bytes));
    // All prompts go through a block before it is dropped.
    assert_eq!(dropped.clone().with_lanes(2.try_into().unwrap()).parts(40, 5), vec![0..40]);
    let batch = TokenBatch::new(&[[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]]).unwrap();
    let taps = Tap::all(stays.config().n_layers());
    let states = |decoder: &Decoder| {
        let forward = decoder.forward(&batch, &taps, Logits::Last).unwrap();
        let states: Vec<Vec<f64>> = forward.states.into_values().map(values).collect();
        (states, values(forward.logits.unwrap()))
    };
    let expected = states(&stays);
    for _ in 0..3 {
        assert_eq!(states(&dropped), expected);
    }
}

#[test]
fn a_decoder_says_how_its_weights_are_held_and_not_how_they_were_asked_for() {
    let device = inject_testing::any_device();
    let held = |case: &str, precision: Precision| {
        let decoder = load(&fixture::folder(case), precision, &device);
        (decoder.weights_held_as(), decoder.clone().with_weights_in_memory(0).weights_held_as())
    };
    for (hold, expected) in [
        (Hold::Computed, WeightsHeldAs::F32),
        (Hold::StoredOnDevice, WeightsHeldAs::StoredOnDevice),
        (Hold::Stored, WeightsHeldAs::Stored),
    ] {
        let found = held("llama-bf16-shards", precision(hold));
        assert_eq!(found, (expected, expected), "{hold:?}");
    }
    // Nothing is narrower than what is computed in, and nothing can be mapped.
    assert_eq!(held("llama", precision(Hold::StoredOnDevice)).0, WeightsHeldAs::F32);
    assert_eq!(held("gpt-neo-bin", MAPPED).0, WeightsHeldAs::F32);
    let double = Precision::new(Hold::Computed, FloatFormat::F64);
    assert_eq!(held("llama-bf16-shards", double).0, WeightsHeldAs::F64);
}
