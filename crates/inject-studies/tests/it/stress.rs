//! The study of similar prompts, on the model that ships with the project, because it has a tokenizer.

use std::path::Path;

use inject_sipit::{
    collisions::distance,
    models::{Bos, FloatFormat, Model, Origin, Tap},
    states::{Extraction, store::Positions},
};
use inject_studies::{
    Run, StudyError, stress,
    stress::{StressKind, StressSet, StressStudy, TextModel, stress_ids, stress_texts},
    tap_distances::TapOptions,
};

use super::{in_parts, noise_of_a_distance};

const TAPS: [Tap; 2] = [Tap::Block(1), Tap::FinalNorm];

fn bundled() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-cli/model");
    Model::load(Origin::of_folder(&folder), FloatFormat::F32, &inject_testing::any_device()).unwrap()
}

fn study(model: &Model, sets: &[StressSet]) -> Result<StressStudy, StudyError> {
    study_as(model, sets, Run::silent())
}

fn study_as(model: &Model, sets: &[StressSet], run: Run<'_>) -> Result<StressStudy, StudyError> {
    let reader = TextModel::new(&model.decoder, model.tokenizer().ok(), "bundled");
    stress(&reader, sets, &TAPS, &TapOptions::default(), run)
}

fn sets(model: &Model, texts: &[String], count: usize) -> [StressSet; 5] {
    StressKind::ALL.map(|kind| {
        let texts = stress_texts(kind, texts, count);
        StressSet::of_texts(kind, &texts, model.tokenizer().unwrap(), Bos::Auto).unwrap()
    })
}

#[test]
fn parts_add_up_to_the_whole() {
    let model = bundled();
    let texts: Vec<String> = ["Mia has a red box.", "def f(x):\n    return x"].map(str::to_owned).into();
    let sets = sets(&model, &texts, 8);
    let folder = tempfile::tempdir().unwrap();
    let parts = in_parts(
        folder.path(),
        |study: &StressStudy| &study.completeness,
        |run| study_as(&model, &sets, run).unwrap(),
    );
    assert_eq!(parts, study(&model, &sets).unwrap());
}

#[test]
fn every_set_has_the_minimum_of_the_double_loop_and_prompts_of_the_same_tokens_are_counted_apart() {
    let model = bundled();
    let texts: Vec<String> =
        ["Mia has a red box. It is new, too.", "def f(x):\n    return x"].map(str::to_owned).into();
    let sets = sets(&model, &texts, 20).map(|mut set| {
        set.prompts.push(set.prompts[0].clone());
        set
    });
    let found = study(&model, &sets).unwrap();
    for (set, report) in sets.iter().zip(&found.sets) {
        assert_eq!(set.kind, report.kind);
        assert!(report.same_tokens >= 1 && report.prompts + report.same_tokens == set.prompts.len());
        let prompts = &set.prompts;
        let extraction = Extraction::new(TAPS.to_vec(), Positions::Last).unwrap();
        let states = extraction.run(&model.decoder, prompts, &mut |_| ()).unwrap();
        for at in &report.taps {
            let (mut naive, mut noise) = (f64::INFINITY, 0.0_f64);
            for (a, b) in (0..prompts.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                if prompts[a] != prompts[b] {
                    let longest = prompts[a].len().max(prompts[b].len());
                    let [a, b] = [a, b].map(|row| states[&at.tap].row(row).to_vec());
                    naive = naive.min(distance(&a, &b));
                    // No distance differs by more than this from its value in other batches, so the smallest does not either.
                    noise = noise.max(noise_of_a_distance(&model.decoder, at.tap, longest, [&a, &b]));
                }
            }
            let off = (at.distances.minimum - naive).abs();
            assert!(off <= noise, "{} {}: {off} off {naive}, noise {noise}", set.kind, at.tap);
            assert_eq!(at.closest_prompts[0].distance, at.distances.minimum);
            assert!(at.closest_prompts[0].text.is_some());
        }
    }
}

#[test]
fn a_set_of_one_prompt_is_refused() {
    let set = StressSet::new(StressKind::NearDuplicates, vec![vec![5], vec![5]]);
    let error = study(&bundled(), &[set]).unwrap_err();
    assert!(matches!(error, StudyError::TooFewPrompts { found: 1, expected: 2 }));
}

#[test]
fn prompts_of_ids_need_no_tokenizer() {
    let model = bundled();
    let prompts: Vec<Vec<u32>> = (0..6).map(|i| vec![i, 2 * i + 1, 40 + i]).collect();
    let made = StressKind::ALL.into_iter().filter_map(|kind| Some((kind, stress_ids(kind, &prompts, 20)?)));
    let sets: Vec<StressSet> = made.map(|(kind, prompts)| StressSet::new(kind, prompts)).collect();
    let reader = TextModel::new(&model.decoder, None, "bundled");
    let found = stress(&reader, &sets, &TAPS, &TapOptions::default(), Run::silent()).unwrap();
    assert_eq!(found.sets.len(), 2);
    for report in &found.sets {
        assert!(
            report.taps.iter().all(|at| at.distances.minimum > 0.0 && at.closest_prompts[0].text.is_none())
        );
    }
    // A tokenizer adds the texts and changes nothing else.
    let mut with = study(&model, &sets).unwrap();
    for at in with.sets.iter_mut().flat_map(|report| &mut report.taps) {
        at.closest_prompts.iter_mut().for_each(|pair| assert!(pair.text.take().is_some()));
    }
    assert_eq!(with, found);
}
