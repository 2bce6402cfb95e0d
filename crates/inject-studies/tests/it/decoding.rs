//! One-step decoding of disturbed states.

use inject_sipit::{
    collisions::distance,
    models::{FloatFormat, NumberFormat, Tap},
    states::{Disturbance, Extraction, store::Positions},
};
use inject_studies::{
    Run, StudyError, decoding,
    decoding::{DecodingOptions, DecodingStudy, Producer},
};
use ndarray::Array2;

use super::{every, in_parts, model};

const TAPS: [Tap; 2] = [Tap::Block(2), Tap::FinalNorm];
const SEED: u64 = 5;

fn options() -> DecodingOptions {
    let words = ["bf16", "int4-tensor", "dropout:0.6", "clip:0.3", "noise:40"];
    let mut options = DecodingOptions::new(TAPS.to_vec(), every(1, 2));
    options.disturbances = words.map(|word| word.parse().unwrap()).to_vec();
    options.directions = 24;
    options.dimensions = vec![1, 6];
    options.seed = SEED;
    options.memory_budget = 1 << 18;
    options
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![3, 9, 14, 15, 92, 65], vec![35, 89, 79], vec![32, 38]]
}

/// Returns the states of all 97 tokens after a prefix.
fn all_states(model: &inject_sipit::models::Model, prefix: &[u32], tap: Tap) -> Array2<f32> {
    let whole: Vec<Vec<u32>> = (0..97).map(|token| [prefix, &[token]].concat()).collect();
    let extraction = Extraction::new(vec![tap], Positions::Last).unwrap();
    extraction.run(&model.decoder, &whole, &mut |_| ()).unwrap().remove(&tap).unwrap().into_array()
}

#[test]
fn a_view_is_recovered_exactly_where_no_state_of_the_double_loop_is_nearer() {
    let model = model("llama", FloatFormat::F32);
    let quantised = model.decoder.clone().with_weights_in(NumberFormat::Int4).unwrap();
    let producers = [Producer::new("int4", &quantised)];
    let found = decoding(&model.decoder, "llama", &producers, &prompts(), &options(), Run::silent()).unwrap();
    assert_eq!((found.others, found.positions), (96, 5));
    let mut lost = 0;
    for at_tap in &found.taps {
        let extraction = Extraction::new(vec![at_tap.tap], Positions::All).unwrap();
        for (view, name) in at_tap.views.iter().map(|view| (view, view.name.as_str())) {
            let (mut recovered, mut within) = (0, 0);
            for (number, prompt) in prompts().iter().enumerate() {
                let producer = if name == "int4" { &quantised } else { &model.decoder };
                let states = extraction.run(producer, std::slice::from_ref(prompt), &mut |_| ()).unwrap();
                let mut states = states[&at_tap.tap].mapv(f64::from);
                if let Ok(disturbance) = name.parse::<Disturbance>() {
                    disturbance.apply(&mut states, SEED ^ number as u64);
                }
                for position in (1..prompt.len()).step_by(2) {
                    let given = states.row(position).to_vec();
                    let all = all_states(&model, &prompt[..position], at_tap.tap);
                    let truth = all.row(prompt[position] as usize).to_vec();
                    let error = distance(&truth, &given);
                    let others = (0..97).filter(|&token| token != prompt[position] as usize);
                    let others: Vec<Vec<f32>> = others.map(|token| all.row(token).to_vec()).collect();
                    let nearest =
                        others.iter().map(|other| distance(other, &given)).fold(f64::INFINITY, f64::min);
                    let margin =
                        others.iter().map(|other| distance(other, &truth)).fold(f64::INFINITY, f64::min);
                    recovered += usize::from(nearest >= error);
                    within += usize::from(error < margin / 2.0);
                }
            }
            assert_eq!(
                (view.recovered, view.within_half_margin),
                (recovered, within),
                "{}, {name}",
                at_tap.tap
            );
            assert!(view.recovered >= view.within_half_margin, "Theorem 3.2");
            assert_eq!(view.lost.len(), (view.positions - view.recovered).min(8));
            assert!(view.lost.iter().all(|lost| lost.distance < lost.error && lost.nearest != lost.token));
            lost += view.lost.len();
        }
    }
    assert!(lost > 0, "no disturbance was large enough to lose a position");
}

#[test]
fn noise_along_a_direction_breaks_at_the_reported_norm_and_not_before() {
    let model = model("gpt2", FloatFormat::F32);
    let prompt = vec![3, 9];
    let mut asked = options();
    (asked.taps, asked.directions, asked.disturbances) = (vec![Tap::Block(2)], 1, vec![]);
    let found =
        decoding(&model.decoder, "gpt2", &[], std::slice::from_ref(&prompt), &asked, Run::silent()).unwrap();
    let at_tap = &found.taps[0];
    let (breaking, margin) = (at_tap.breaking[0].lower, at_tap.margins[0].lower);
    assert!(breaking >= margin / 2.0);
    // The direction for the single position of the single prompt, drawn as docs/guide/6-precision.md describes.
    let direction =
        inject_sipit::states::random::SplitMix::seeded(SEED ^ 1_u64.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .direction(all_states(&model, &[], Tap::Block(2)).ncols());
    let all = all_states(&model, &prompt[..1], Tap::Block(2));
    let nearest = |norm: f64| {
        let truth = all.row(9);
        let given: Vec<f64> = truth.iter().zip(&direction).map(|(t, u)| f64::from(*t) + norm * u).collect();
        let distances = (0..97).map(|token| distance(&all.row(token).to_vec(), &given));
        distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0
    };
    assert_eq!(nearest(breaking * 0.999), 9);
    assert_ne!(nearest(breaking * 1.001), 9);
}

#[test]
fn the_same_seed_gives_the_same_and_parts_add_up() {
    let model = model("gpt2", FloatFormat::F32);
    let folder = tempfile::tempdir().unwrap();
    let study = |run: Run<'_>| -> DecodingStudy {
        decoding(&model.decoder, "gpt2", &[], &prompts(), &options(), run).unwrap()
    };
    let whole = study(Run::silent());
    assert_eq!(in_parts(folder.path(), |study| &study.completeness, study), whole);
    let survival = &whole.taps[0].survival;
    assert!(survival.windows(2).all(|pair| pair[0].recovered >= pair[1].recovered));
    let certain = survival.iter().filter(|at| at.noise_over_margin <= 0.5);
    assert!(certain.into_iter().all(|at| at.recovered == 1.0), "Theorem 3.2");
}

#[test]
fn too_many_dimensions_no_prompts_and_a_state_that_does_not_fit_a_format_are_refused() {
    let model = model("gpt2", FloatFormat::F32);
    let study = |prompts: &[Vec<u32>], options: &DecodingOptions| {
        decoding(&model.decoder, "gpt2", &[], prompts, options, Run::silent()).unwrap_err()
    };
    assert!(matches!(study(&[], &options()), StudyError::TooFewPrompts { .. }));
    let mut late = options();
    late.positions = every(6, 1);
    assert!(matches!(study(&prompts(), &late), StudyError::TooFew { found: 0, expected: 1, .. }));
    let d_model = model.decoder.config().d_model;
    let mut wide = options();
    wide.dimensions = vec![d_model + 1];
    assert!(matches!(study(&prompts(), &wide), StudyError::Dimensions { found, .. } if found == d_model + 1));
    let loud = Disturbance::Noise { norm: 1e7 };
    // Large noise is accepted, because the states stay finite. States too large for f16 are refused.
    let mut asked = options();
    asked.disturbances = vec![loud];
    assert!(decoding(&model.decoder, "gpt2", &[], &prompts(), &asked, Run::silent()).is_ok());
    let large = model.decoder.clone().map_matrices(&mut |matrix, values| match matrix {
        inject_sipit::models::Matrix::Embedding => values * 1e6,
        _ => values,
    });
    asked.disturbances = vec!["f16".parse().unwrap()];
    let error = decoding(&large, "gpt2", &[], &prompts(), &asked, Run::silent()).unwrap_err();
    assert!(matches!(error, StudyError::View { tap: Tap::Block(2), .. }), "{error}");
}
