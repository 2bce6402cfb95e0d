//! The study of prompt lengths.

use inject_sipit::{
    collisions::distance,
    models::{FloatFormat, Tap},
    states::{Extraction, store::Positions},
};
use inject_studies::{Run, StudyError, lengths, lengths::LengthOptions};

use super::{in_parts, model};

fn prompts() -> Vec<Vec<u32>> {
    (0..12_u32).map(|prompt| (0..9).map(|position| 2 + (prompt * 7 + position * 13) % 91).collect()).collect()
}

#[test]
fn minimum_mean_and_maximum_are_those_of_the_double_loop_at_every_length() {
    let model = model("gpt2", FloatFormat::F32);
    let taps = [Tap::Block(1), Tap::Block(3)];
    let run = Run::silent();
    let found = lengths(
        &model.decoder,
        "gpt2",
        &prompts(),
        &LengthOptions::new(taps.to_vec(), vec![1, 4, 9], 10),
        run,
    )
    .unwrap();
    for at in &found.lengths {
        let cut: Vec<Vec<u32>> = prompts().iter().take(10).map(|ids| ids[..at.length].to_vec()).collect();
        assert_eq!(at.prompts, 10);
        let extraction = Extraction::new(taps.to_vec(), Positions::Last).unwrap();
        let states = extraction.run(&model.decoder, &cut, &mut |_| ()).unwrap();
        for (tap, spread) in &at.taps {
            let rows: Vec<Vec<f32>> = states[tap].rows().into_iter().map(|row| row.to_vec()).collect();
            let pairs =
                rows.iter().enumerate().flat_map(|(i, a)| rows[..i].iter().map(move |b| distance(a, b)));
            let naive: Vec<f64> = pairs.collect();
            assert_eq!(spread.pairs, naive.len() as u64);
            assert_eq!(spread.minimum, naive.iter().copied().fold(f64::INFINITY, f64::min));
            assert_eq!(spread.maximum, naive.iter().copied().fold(0.0, f64::max));
            let mean = naive.iter().sum::<f64>() / naive.len() as f64;
            assert!((spread.mean - mean).abs() <= 1e-12 * mean);
        }
    }
}

#[test]
fn lengths_of_parts_add_up() {
    let model = model("llama", FloatFormat::F32);
    let folder = tempfile::tempdir().unwrap();
    let study = |run: Run<'_>| {
        lengths(
            &model.decoder,
            "llama",
            &prompts(),
            &LengthOptions::new(vec![Tap::Block(2)], vec![2, 3, 5, 8], 12),
            run,
        )
        .unwrap()
    };
    assert_eq!(in_parts(folder.path(), |study| &study.completeness, study), study(Run::silent()));
}

#[test]
fn a_length_that_no_two_prompts_have_is_refused() {
    let model = model("gpt2", FloatFormat::F32);
    let error = |length: usize, count: usize| {
        let options = LengthOptions::new(vec![Tap::Block(1)], vec![length], count);
        lengths(&model.decoder, "gpt2", &prompts(), &options, Run::silent()).unwrap_err()
    };
    assert!(matches!(error(20, 10), StudyError::TooFewPrompts { found: 0, expected: 2 }));
    assert!(matches!(error(4, 1), StudyError::TooFewPrompts { found: 1, expected: 2 }));
    assert!(matches!(error(0, 10), StudyError::TooFew { found: 0, expected: 1, .. }));
}
