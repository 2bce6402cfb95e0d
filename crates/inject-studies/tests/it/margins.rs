//! One-step margins.

use inject_sipit::{
    collisions::{Resolution, distance},
    models::{FloatFormat, Progress, Tap},
    states::{Extraction, store::Positions},
};
use inject_studies::{Run, StudyError, margins, margins::MarginOptions};

use super::{every, in_parts, model, noise_of_a_distance};

const TAPS: [Tap; 2] = [Tap::Block(1), Tap::FinalNorm];

fn options() -> MarginOptions {
    MarginOptions::new(TAPS.to_vec(), every(1, 2)).with_memory_budget(1 << 18)
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![3, 9, 14, 15, 92, 65], vec![35, 89, 79], vec![32, 38, 46, 26]]
}

#[test]
fn the_margin_is_the_distance_to_the_nearest_other_token() {
    let model = model("llama", FloatFormat::F32);
    let found = margins(&model.decoder, "llama", &prompts(), &options(), Run::silent()).unwrap();
    assert_eq!(found.others, 96);
    for report in &found.taps {
        assert_eq!(report.resolution, Resolution::Separated);
        // Positions 1, 3 and 5 of the first prompt, 1 of the second, 1 and 3 of the third.
        assert_eq!(report.steps.len(), 6);
        for step in &report.steps {
            let prefix = &prompts()[step.prompt][..step.position];
            let whole: Vec<Vec<u32>> = (0..97).map(|token| [prefix, &[token]].concat()).collect();
            let extraction = Extraction::new(vec![report.tap], Positions::Last).unwrap();
            let states =
                extraction.run(&model.decoder, &whole, &mut |_| ()).unwrap().remove(&report.tap).unwrap();
            let truth = states.row(step.token as usize).to_vec();
            let other = |token: u32| states.row(token as usize).to_vec();
            let others = (0..97).filter(|&token| token != step.token);
            let naive = others.map(|token| distance(&truth, &other(token))).fold(f64::INFINITY, f64::min);
            let nearest = other(step.nearest);
            let noise = noise_of_a_distance(&model.decoder, report.tap, 6, [&truth, &nearest]);
            assert!((step.margin - naive).abs() <= noise, "{} for {naive}, noise {noise}", step.margin);
            // The reported token is the nearest, up to the noise.
            assert!(distance(&truth, &nearest) <= naive + 2.0 * noise);
        }
        assert_eq!(report.margins[0].lower, report.steps[0].margin);
    }
}

#[test]
fn a_position_is_reported_batch_by_batch() {
    let model = model("llama", FloatFormat::F32);
    let positions = |budget: usize| {
        let mut parts = Vec::new();
        let mut count = |progress: Progress<'_>| parts.push(progress.fraction());
        let options = options().with_memory_budget(budget);
        margins(&model.decoder, "llama", &[vec![3, 9]], &options, Run::in_memory(&mut count)).unwrap();
        assert!(parts.is_sorted(), "{parts:?}");
        parts.into_iter().filter(|&part| part > 0.5 && part < 1.0).count()
    };
    // One position of two is measured. With memory for one candidate there is a report after each of the 96 others.
    assert_eq!(positions(1), 95);
    assert!(positions(1 << 30) < 2);
}

#[test]
fn margins_of_parts_add_up() {
    let model = model("gpt2", FloatFormat::F32);
    let folder = tempfile::tempdir().unwrap();
    let study = |run: Run<'_>| margins(&model.decoder, "gpt2", &prompts(), &options(), run).unwrap();
    assert_eq!(
        in_parts(folder.path(), |study| &study.completeness, study).taps[0].steps,
        study(Run::silent()).taps[0].steps
    );
}

#[test]
fn a_prompt_outside_the_vocabulary_and_no_prompt_are_refused() {
    let model = model("gpt2", FloatFormat::F32);
    let study = |prompts: &[Vec<u32>]| {
        margins(&model.decoder, "gpt2", prompts, &options(), Run::silent()).unwrap_err()
    };
    assert!(matches!(study(&[]), StudyError::TooFewPrompts { .. }));
    assert!(matches!(study(&[vec![3, 500]]), StudyError::Model(_)));
}
