//! Closest pairs in narrow formats.

use inject_sipit::{
    collisions::Verdict,
    models::{Precision, Tap, WeightFormat},
};
use inject_studies::{FormatOptions, FormatStudy, Held, InFormat, Run, StudyError, formats};

use super::{in_parts, model};

fn options() -> FormatOptions {
    let states = ["f16", "int8-row", "int4-tensor", "clip:1"].map(|word| Held::States(word.parse().unwrap()));
    let weights = WeightFormat::ALL.map(Held::Weights);
    FormatOptions {
        taps: vec![Tap::Embedding, Tap::Block(2)],
        held: [Held::AsComputed].into_iter().chain(weights).chain(states).collect(),
        seed: 1,
        noise_sample: 4,
        memory_budget: 1 << 24,
    }
}

fn prompts() -> Vec<Vec<u32>> {
    // Two end in the same token at the same position: one state at the embedding, whatever the format.
    (0..30_u32).map(|i| vec![i, (i * 7) % 97, (i * 31) % 97]).chain([vec![50, 60, 31]]).collect()
}

fn of(study: &FormatStudy, held: Held) -> Vec<&InFormat> {
    study.formats.iter().filter(|found| found.held == held).collect()
}

#[test]
fn narrow_formats_move_the_minimum_little_and_collisions_are_counted() {
    let model = model("llama", Precision::F32);
    let study =
        formats(&model.decoder, "llama", &prompts(), &options(), Run::in_memory(&mut |_| ())).unwrap();
    assert_eq!(study.prompts, 31);
    let exact = of(&study, Held::AsComputed);
    for found in &study.formats {
        match found.tap {
            Tap::Embedding => assert_eq!((found.verdict, found.collisions), (Verdict::Collision, 1)),
            _ => {
                assert_eq!((found.verdict, found.collisions), (Verdict::Separated, 0), "{}", found.held);
                let ratio = found.closest.distance / exact[1].closest.distance;
                assert!((0.1..10.0).contains(&ratio), "{}: {ratio}", found.held);
            }
        }
    }
    // Weights stored as f32 by a program that drew them lose something in every format but change no embedding in the integer ones.
    let changed = |format| of(&study, Held::Weights(format))[1].closest != exact[1].closest;
    assert!(WeightFormat::ALL.into_iter().all(changed));
}

#[test]
fn parts_add_up_and_one_prompt_is_too_few() {
    let model = model("gpt2", Precision::F32);
    let folder = tempfile::tempdir().unwrap();
    let study = |run: Run<'_>| formats(&model.decoder, "gpt2", &prompts(), &options(), run).unwrap();
    assert_eq!(in_parts(folder.path(), study), study(Run::in_memory(&mut |_| ())));
    let error = formats(&model.decoder, "gpt2", &prompts()[..1], &options(), Run::in_memory(&mut |_| ()));
    assert!(matches!(error, Err(StudyError::TooFewPrompts { found: 1, expected: 2 })));
}
