//! Closest pairs in narrow formats.

use std::num::NonZeroUsize;

use inject_sipit::{
    collisions::Resolution,
    models::{FloatFormat, NumberFormat, Tap},
};
use inject_studies::{FormatOptions, FormatStudy, InFormat, Run, Storage, StudyError, formats};

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
    // Two end in the same token at the same position: one state at the embedding, whatever the format.
    (0..30_u32).map(|i| vec![i, (i * 7) % 97, (i * 31) % 97]).chain([vec![50, 60, 31]]).collect()
}

fn of(study: &FormatStudy, storage: Storage) -> Vec<&InFormat> {
    study.formats.iter().filter(|found| found.storage == storage).collect()
}

#[test]
fn narrow_formats_move_the_minimum_little_and_collisions_are_counted() {
    let model = model("llama", FloatFormat::F32);
    let study = formats(&model.decoder, "llama", &prompts(), &options(), Run::silent()).unwrap();
    assert_eq!(study.prompts, 31);
    let exact = of(&study, Storage::AsComputed);
    for found in &study.formats {
        match found.tap {
            Tap::Embedding => assert_eq!((found.resolution, found.collisions), (Resolution::Collision, 1)),
            _ => {
                assert_eq!(
                    (found.resolution, found.collisions),
                    (Resolution::Separated, 0),
                    "{}",
                    found.storage
                );
                let ratio = found.closest.distance / exact[1].closest.distance;
                assert!((0.1..10.0).contains(&ratio), "{}: {ratio}", found.storage);
            }
        }
    }
    // Weights stored as f32 by a program that drew them lose something in every format but change no embedding in the integer ones.
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
