//! All one-token extensions.

use std::num::NonZeroUsize;

use inject_sipit::{
    collisions::{Resolution, distance, norm},
    models::{FloatFormat, Matrix, Model, Tap},
    states::{Extraction, store::Positions},
};
use inject_studies::{
    Run, exhaustive,
    exhaustive::{ExhaustiveOptions, ExhaustiveStudy, Scope, pairs_across, pairs_within},
};
use ndarray::Array2;

use super::{in_parts, model, noise_of_a_distance, spec};

const TAP: Tap = Tap::Block(2);

fn options() -> ExhaustiveOptions {
    let mut options = ExhaustiveOptions::new(TAP);
    options.closest = NonZeroUsize::new(5).unwrap();
    options.sampled_pairs = 500;
    options.scope = Scope::WithinAndAcross;
    // The budget is small, so that there are many batches.
    options.memory_budget = 1 << 18;
    options
}

fn prefixes() -> Vec<Vec<u32>> {
    vec![vec![3, 4, 5], vec![6], vec![9, 8]]
}

fn study(model: &Model, dir: &std::path::Path, run: Run<'_>) -> ExhaustiveStudy {
    exhaustive(&model.decoder, &spec(model, &[TAP]), &prefixes(), dir, &options(), run).unwrap()
}

/// Returns the states of all extensions. Each extended prompt is computed without a cache.
fn states(model: &Model, prefix: &[u32]) -> Array2<f32> {
    let prompts: Vec<Vec<u32>> =
        (0..model.decoder.config().vocab_size as u32).map(|token| [prefix, &[token]].concat()).collect();
    let extraction = Extraction::new(vec![TAP], Positions::Last).unwrap();
    extraction.run(&model.decoder, &prompts, &mut |_| ()).unwrap().remove(&TAP).unwrap().into_array()
}

#[test]
fn all_pairs_within_and_across_are_decided_and_the_closest_is_that_of_whole_prompts() {
    let model = model("gemma3", FloatFormat::F32);
    let folder = tempfile::tempdir().unwrap();
    let found = study(&model, folder.path(), Run::silent());
    let (k, v) = (prefixes().len() as u64, model.decoder.config().vocab_size as u64);
    assert_eq!((found.pairs_within, found.pairs_across), (pairs_within(k, v), pairs_across(k, v)));
    assert_eq!(found.resolution, Some(Resolution::Separated));
    let states: Vec<Array2<f32>> = prefixes().iter().map(|prefix| states(&model, prefix)).collect();
    for extensions in &found.extensions {
        let [first, second] = extensions.prefixes;
        let mut naive = f64::INFINITY;
        for (a, state) in states[first].rows().into_iter().enumerate() {
            for (b, other) in states[second].rows().into_iter().enumerate() {
                if first != second || a < b {
                    naive = naive.min(distance(&state.to_vec(), &other.to_vec()));
                }
            }
        }
        let closest = extensions.closest[0];
        // Candidates after a cache differ from whole prompts by rounding errors. No distance differs by more than the noise of the
        // longest states allows.
        let rows = states[first].rows().into_iter().chain(states[second].rows());
        let longest = rows.map(|row| row.to_vec()).max_by(|a, b| norm(a).total_cmp(&norm(b))).unwrap();
        let noise = noise_of_a_distance(&model.decoder, TAP, 8, [&longest, &longest]);
        let off = (closest.distance - naive).abs();
        assert!(off <= noise, "{} for {naive}, noise {noise}", closest.distance);
        let [a, b] = [0, 1].map(|i| states[closest.prefixes[i]].row(closest.tokens[i] as usize).to_vec());
        assert!((distance(&a, &b) - closest.distance).abs() <= noise);
    }
}

#[test]
fn pairs_of_tokens_with_one_embedding_are_counted_apart() {
    let mut model = model("llama", FloatFormat::F32);
    // Tokens 7, 8 and 9 all have the embedding of token 7.
    model.decoder = model.decoder.map_matrices(&mut |matrix, values| match matrix {
        Matrix::Embedding => {
            let d_model = values.dims()[1];
            let twin = values.clone().narrow(0, 7, 1);
            values.slice_assign([8..10, 0..d_model], twin.repeat_dim(0, 2))
        }
        _ => values,
    });
    let folder = tempfile::tempdir().unwrap();
    let found = study(&model, folder.path(), Run::silent());
    let (k, v) = (prefixes().len() as u64, model.decoder.config().vocab_size as u64);
    assert_eq!(found.tokens_with_equal_embeddings, [[7, 8, 9]]);
    assert_eq!(found.pairs_with_equal_embeddings, k * 3);
    // Extensions of different prompts differ in more than tokens with equal embeddings.
    assert_eq!((found.pairs_within, found.pairs_across), (pairs_within(k, v) - k * 3, pairs_across(k, v)));
    assert_eq!(found.resolution, Some(Resolution::Separated));
    let states = states(&model, &prefixes()[0]);
    assert_eq!(states.row(7), states.row(9), "the pairs that are left out are collisions");
}

#[test]
fn parts_of_the_study_add_up_to_the_whole() {
    let model = model("gpt2", FloatFormat::F32);
    let folder = tempfile::tempdir().unwrap();
    let states = folder.path().join("states");
    let whole = study(&model, &states, Run::silent());
    // The parts share the stores of extensions.
    let parts = in_parts(
        folder.path(),
        |study: &ExhaustiveStudy| &study.completeness,
        |run| study(&model, &states, run),
    );
    assert_eq!(parts.extensions, whole.extensions);
    assert_eq!((parts.pairs_within, parts.pairs_across), (whole.pairs_within, whole.pairs_across));
}

#[test]
fn a_folder_with_states_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["gpt2", "gpt-neo"].map(|name| model(name, FloatFormat::F32));
    study(&first, folder.path(), Run::silent());
    let run = Run::silent();
    let error =
        exhaustive(&second.decoder, &spec(&second, &[TAP]), &prefixes(), folder.path(), &options(), run)
            .unwrap_err();
    assert!(matches!(error, inject_studies::StudyError::Store(_)), "{error}");
}
