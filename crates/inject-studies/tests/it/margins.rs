//! One-step margins.

use inject_sipit::{
    collisions::Verdict,
    collisions::distance,
    models::{Precision, Tap},
    states::{Extraction, store::Positions},
};
use inject_studies::{MarginOptions, Run, StudyError, margins};

use super::{in_parts, model};

const TAPS: [Tap; 2] = [Tap::Block(1), Tap::FinalNorm];

fn options() -> MarginOptions {
    MarginOptions { taps: TAPS.to_vec(), first: 1, every: 2, memory_budget: 1 << 18 }
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![3, 9, 14, 15, 92, 65], vec![35, 89, 79], vec![32, 38, 46, 26]]
}

#[test]
fn the_margin_is_the_distance_to_the_nearest_other_token() {
    let model = model("llama", Precision::F32);
    let found =
        margins(&model.decoder, "llama", &prompts(), &options(), Run::in_memory(&mut |_| ())).unwrap();
    assert_eq!(found.others, 96);
    for report in &found.taps {
        assert_eq!(report.verdict, Verdict::Separated);
        // Positions 1, 3 and 5 of the first prompt, 1 of the second, 1 and 3 of the third.
        assert_eq!(report.steps.len(), 6);
        for step in &report.steps {
            let prefix = &prompts()[step.prompt][..step.position];
            let whole: Vec<Vec<u32>> = (0..97).map(|token| [prefix, &[token]].concat()).collect();
            let extraction = Extraction::new(vec![report.tap], Positions::Last).unwrap();
            let states =
                extraction.run(&model.decoder, &whole, &mut |_| ()).unwrap().remove(&report.tap).unwrap();
            let truth = states.row(step.token as usize).to_vec();
            let others = (0..97).filter(|&token| token != step.token);
            let naive = others.map(|token| distance(&truth, &states.row(token as usize).to_vec()));
            let naive = naive.fold(f64::INFINITY, f64::min);
            assert!((step.margin - naive).abs() <= 1e-4 * naive, "{} for {naive}", step.margin);
        }
        assert_eq!(report.margins[0].lower, report.steps[0].margin);
    }
}

#[test]
fn margins_of_parts_add_up() {
    let model = model("gpt2", Precision::F32);
    let folder = tempfile::tempdir().unwrap();
    let study = |run: Run<'_>| margins(&model.decoder, "gpt2", &prompts(), &options(), run).unwrap();
    assert_eq!(
        in_parts(folder.path(), study).taps[0].steps,
        study(Run::in_memory(&mut |_| ())).taps[0].steps
    );
}

#[test]
fn a_prompt_outside_the_vocabulary_and_no_prompt_are_refused() {
    let model = model("gpt2", Precision::F32);
    let study = |prompts: &[Vec<u32>]| {
        margins(&model.decoder, "gpt2", prompts, &options(), Run::in_memory(&mut |_| ())).unwrap_err()
    };
    assert!(matches!(study(&[]), StudyError::TooFewPrompts { .. }));
    assert!(matches!(study(&[vec![3, 500]]), StudyError::Model(_)));
}
