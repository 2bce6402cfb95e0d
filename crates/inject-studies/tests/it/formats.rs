//! Closest pairs in narrow formats.

use std::num::NonZeroUsize;

use inject_sipit::{
    NoiseModel,
    collisions::{Resolution, distance, norm},
    models::{Decoder, FloatFormat, NumberFormat, Tap, silent},
    states::{Extraction, store::Positions},
};
use inject_studies::{
    Run, StudyError, formats,
    formats::{FormatOptions, FormatStudy, InFormat, Storage},
};
use ndarray::Array2;

use super::{in_parts, model};

fn options() -> FormatOptions {
    let states =
        ["f16", "int8-row", "int4-tensor", "clip:1"].map(|word| Storage::States(word.parse().unwrap()));
    let weights = NumberFormat::narrow().iter().copied().map(Storage::Weights);
    let storages = [Storage::AsComputed].into_iter().chain(weights).chain(states).collect();
    let mut options = FormatOptions::new(vec![Tap::Embedding, Tap::Block(2)], storages);
    options.seed = 1;
    options.noise_sample = NonZeroUsize::new(4).unwrap();
    options.memory_budget = 1 << 24;
    options
}

fn prompts() -> Vec<Vec<u32>> {
    // Two prompts end in the same token at the same position, so they have the same state at the embedding in every format.
    (0..30_u32).map(|i| vec![i, (i * 7) % 97, (i * 31) % 97]).chain([vec![50, 60, 31]]).collect()
}

fn of(study: &FormatStudy, storage: Storage) -> Vec<&InFormat> {
    study.formats.iter().filter(|found| found.storage == storage).collect()
}

/// Returns the last states of the prompts in a storage. Each prompt is computed by itself, so in other batches than in the study.
fn states_in(decoder: &Decoder, storage: Storage, tap: Tap) -> Array2<f64> {
    let decoder = match storage {
        Storage::Weights(format) => decoder.clone().with_weights_in(format).unwrap(),
        _ => decoder.clone(),
    };
    let extraction = Extraction::new(vec![tap], Positions::Last).unwrap().with_memory_budget(1);
    let states = extraction.run(&decoder, &prompts(), &mut silent).unwrap().remove(&tap).unwrap();
    let mut states = states.mapv(f64::from);
    if let Storage::States(disturbance) = storage {
        disturbance.apply(&mut states, options().seed);
    }
    states
}

/// Returns an upper bound of the distance between two computations of a state of the prompts.
fn noise(decoder: &Decoder, tap: Tap, states: &Array2<f64>) -> f64 {
    let largest = states.outer_iter().map(|state| norm(&state.to_vec())).fold(0.0, f64::max);
    NoiseModel::measure(decoder, tap, 3).unwrap().bound(largest, 0.0)
}

#[test]
fn a_format_moves_the_minimum_by_no_more_than_it_moves_two_states_and_collisions_are_counted() {
    let model = model("llama", FloatFormat::F32);
    let study = formats(&model.decoder, "llama", &prompts(), &options(), Run::silent()).unwrap();
    assert_eq!(study.prompts, 31);
    let exact = of(&study, Storage::AsComputed);
    for found in &study.formats {
        match found.tap {
            Tap::Embedding => assert_eq!((found.resolution, found.collisions), (Resolution::Collision, 1)),
            tap => {
                let label = found.storage;
                assert_eq!((found.resolution, found.collisions), (Resolution::Separated, 0), "{label}");
                // By the triangle inequality, a distance changes by at most the sum of its two states' movements, so the smallest
                // distance changes by at most twice the largest movement. The study computed each of the four states in other
                // batches.
                let [before, after] =
                    [Storage::AsComputed, label].map(|storage| states_in(&model.decoder, storage, tap));
                let movement = before.outer_iter().zip(after.outer_iter());
                let movement = movement.map(|(a, b)| distance(&a.to_vec(), &b.to_vec())).fold(0.0, f64::max);
                let noise = noise(&model.decoder, tap, &before) + noise(&model.decoder, tap, &after);
                let moved = (found.closest.distance - exact[1].closest.distance).abs();
                assert!(moved <= 2.0 * (movement + noise), "{label}: {moved}, states moved by {movement}");
            }
        }
    }
    // Weights stored as f32 by a program that drew them lose something in every format but change no embedding in the integer
    // ones.
    let changed = |format| of(&study, Storage::Weights(format))[1].closest != exact[1].closest;
    assert!(NumberFormat::narrow().iter().copied().all(changed));
}

#[test]
fn parts_add_up_and_one_prompt_is_too_few() {
    let model = model("gpt2", FloatFormat::F32);
    let folder = tempfile::tempdir().unwrap();
    let study = |run: Run<'_>| formats(&model.decoder, "gpt2", &prompts(), &options(), run).unwrap();
    assert_eq!(in_parts(folder.path(), |study| &study.completeness, study), study(Run::silent()));
    let error = formats(&model.decoder, "gpt2", &prompts()[..1], &options(), Run::silent());
    assert!(matches!(error, Err(StudyError::TooFewPrompts { found: 1, expected: 2 })));
}
