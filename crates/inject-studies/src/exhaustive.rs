//! The exhaustive study: all pairs of all one-token extensions of some prompts.

mod counts;
mod result;

use std::{num::NonZeroUsize, path::Path};

use inject_sipit::{
    collisions::{
        Coverage, Metric, Pairs, Search, SearchOptions, StateRows, measure_noise_floors,
        tokens_with_equal_embeddings,
    },
    models::{Decoder, Tap, silent},
    states::store::{Store, StoreSpec},
};
use ndarray::Array2;

pub use self::{
    counts::{pairs_across, pairs_within},
    result::{ExhaustiveStudy, ExtensionPair, Extensions},
};
pub use crate::extension::extend_to_store;
use crate::{
    error::StudyError,
    journal::Description,
    name::StudyName,
    run::{Finished, Run},
    tap_distances::quantiles,
};

/// The tap, the number of closest prompts, and the pairs that [`exhaustive`] examines.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct ExhaustiveOptions {
    /// The tap at which states are read.
    pub tap: Tap,
    /// The metric in which distances are measured.
    pub metric: Metric,
    /// The number of closest pairs to report for each prompt and each pair of prompts.
    pub closest: NonZeroUsize,
    /// The number of pairs drawn for the quantiles of each prompt and each pair of prompts.
    pub sampled_pairs: u64,
    /// Whether extensions of different prompts are compared too.
    pub scope: Scope,
    /// The memory that one batch or one search may use, in bytes. It affects at most the last digits of the distances, and how many of
    /// them are computed directly.
    #[serde(skip)]
    pub memory_budget: usize,
}

impl ExhaustiveOptions {
    /// Creates options to report the ten closest pairs of each prompt in L2, and quantiles of a million pairs.
    pub fn new(tap: Tap) -> Self {
        ExhaustiveOptions {
            tap,
            metric: Metric::L2,
            closest: const { NonZeroUsize::new(10).unwrap() },
            sampled_pairs: 1_000_000,
            scope: Scope::Within,
            memory_budget: SearchOptions::default().memory_budget,
        }
    }
}

/// The pairs of extensions that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scope {
    /// Pairs of extensions of the same prompt, as in the paper.
    Within,
    /// Pairs of extensions of the same prompt and of different prompts.
    WithinAndAcross,
}

/// A unit of the study: one prompt or two prompts.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Unit {
    first: usize,
    second: usize,
}

/// Extends every prompt by every token and measures all pairs. A unit of the study is a prompt or a pair of prompts.
///
/// The states of each prompt's extensions are kept in a separate store in `dir`, of which at most two are in memory at a time.
/// `spec` describes the model. Its taps are replaced by the tap of the options.
///
/// # Errors
///
/// [`StudyError`] if there are no prompts, a prompt is repeated, the decoder refuses a prompt or the tap, the folder contains
/// other states, or the journal belongs to another study.
pub fn exhaustive(
    decoder: &Decoder,
    spec: &StoreSpec,
    prefixes: &[Vec<u32>],
    dir: &Path,
    options: &ExhaustiveOptions,
    run: Run<'_>,
) -> Result<ExhaustiveStudy, StudyError> {
    check(prefixes)?;
    let mut spec = spec.clone();
    spec.taps = vec![options.tap];
    let about = Description::new(
        StudyName::Exhaustive,
        serde_json::json!({ "model": spec, "prefixes": prefixes, "options": options,
        }),
    )
    .computed_by(decoder)
    .within_memory(options.memory_budget);
    let store = |prefix: usize, done: &mut dyn FnMut(f64)| {
        let dir = dir.join(format!("prefix-{prefix}"));
        extend_to_store(decoder, &prefixes[prefix], spec.clone(), &dir, options.memory_budget, done)
    };
    let equal = tokens_with_equal_embeddings(decoder)?;
    let mut embeddings: Vec<u32> = (0..decoder.config().vocab_size as u32).collect();
    for group in &equal {
        group.iter().for_each(|&token| embeddings[token as usize] = group[0]);
    }
    let Finished { results: extensions, completeness } =
        run.complete(&about, units(prefixes.len(), options.scope), |unit, done| {
            let first = store(unit.first, &mut |share| done(share / 2.0))?;
            if unit.first == unit.second {
                let rows =
                    StateRows::of_states(first.tap(options.tap)?)?.with_identities(embeddings.clone())?;
                return measure(decoder, &rows, &Pairs::All, [unit.first; 2], options, done);
            }
            let second = store(unit.second, &mut |share| done(share / 2.0))?;
            let states = side_by_side(&first, &second, options.tap)?;
            let vocab_size = decoder.config().vocab_size;
            let labels = (0..2 * vocab_size).map(|row| (row / vocab_size) as u32).collect();
            let rows = StateRows::new(states.view())?;
            measure(decoder, &rows, &Pairs::Across(labels), [unit.first, unit.second], options, done)
        })?;
    let extensions: Vec<Extensions> = extensions.into_iter().map(|(_, extensions)| extensions).collect();
    let extended = closest_extensions(prefixes, &extensions);
    let floors =
        measure_noise_floors(options.metric, decoder, None, &[options.tap], &extended, NonZeroUsize::MAX)?;
    let decided = |within: bool| {
        let counted = extensions.iter().filter(|part| (part.prefixes[0] == part.prefixes[1]) == within);
        counted.map(|part| part.pairs).sum()
    };
    let mut study = ExhaustiveStudy {
        tap: options.tap,
        vocab_size: decoder.config().vocab_size,
        pairs_with_equal_embeddings: extensions.iter().map(|part| part.pairs_with_equal_embeddings).sum(),
        tokens_with_equal_embeddings: equal,
        prefixes: prefixes.to_vec(),
        pairs_within: decided(true),
        pairs_across: decided(false),
        extensions,
        noise: floors[&options.tap],
        resolution: None,
        completeness,
    };
    study.resolution =
        study.minimum().map(|minimum| options.metric.resolution(minimum.distance, study.noise.largest()));
    Ok(study)
}

/// Returns the prompts of the closest pair of each unit. The noise floor is measured at these, because noise grows with the norm
/// of a state, and the states of some tokens, such as attention sinks, are a hundred times as long as others.
fn closest_extensions(prefixes: &[Vec<u32>], extensions: &[Extensions]) -> Vec<Vec<u32>> {
    let extended = |prefix: usize, token: u32| [prefixes[prefix].as_slice(), &[token]].concat();
    let pairs = extensions.iter().filter_map(|part| part.closest.first());
    let found: Vec<Vec<u32>> =
        pairs.flat_map(|pair| [0, 1].map(|side| extended(pair.prefixes[side], pair.tokens[side]))).collect();
    // If no unit is done yet, the floor is not compared with anything.
    if found.is_empty() { vec![extended(0, 0)] } else { found }
}

/// Fails if there are no prompts, or if a prompt occurs twice. Extensions of different prompts are always different.
fn check(prefixes: &[Vec<u32>]) -> Result<(), StudyError> {
    if prefixes.is_empty() {
        return Err(StudyError::TooFewPrompts { found: 0, expected: 1 });
    }
    let identities = inject_sipit::collisions::identities(prefixes.iter().map(Vec::as_slice));
    for (second, identity) in identities.iter().enumerate() {
        let first = identities.iter().position(|other| other == identity).unwrap_or(second);
        if first < second {
            return Err(StudyError::RepeatedPrefix { first, second });
        }
    }
    Ok(())
}

fn units(prefixes: usize, scope: Scope) -> Vec<Unit> {
    let within = (0..prefixes).map(|prefix| Unit { first: prefix, second: prefix });
    let across =
        (0..prefixes).flat_map(|first| (first + 1..prefixes).map(move |second| Unit { first, second }));
    match scope {
        Scope::Within => within.collect(),
        Scope::WithinAndAcross => within.chain(across).collect(),
    }
}

fn side_by_side(first: &Store, second: &Store, tap: Tap) -> Result<Array2<f32>, StudyError> {
    let [first, second] = [first.tap(tap)?, second.tap(tap)?];
    let mut states = vec![0.0; (first.rows() + second.rows()) * first.d_model()];
    let (above, below) = states.split_at_mut(first.rows() * first.d_model());
    first.rows_f32(0..first.rows(), above);
    second.rows_f32(0..second.rows(), below);
    let shape = (first.rows() + second.rows(), first.d_model());
    Ok(Array2::from_shape_vec(shape, states).expect("made with rows times d_model values above"))
}

fn measure(
    decoder: &Decoder,
    rows: &StateRows<'_>,
    pairs: &Pairs,
    prefixes: [usize; 2],
    options: &ExhaustiveOptions,
    done: &mut dyn FnMut(f64),
) -> Result<Extensions, StudyError> {
    let search_options =
        SearchOptions::default().with_metric(options.metric).with_memory_budget(options.memory_budget);
    let search = Search::new(rows, pairs, search_options, &decoder.device())?;
    let closest =
        search.closest_pairs(options.closest.get(), &mut |progress| done(0.5 + 0.5 * progress.fraction()))?;
    // The seed depends on the prompts alone, so the same pairs are drawn whatever else the study does.
    let seed = (prefixes[0] as u64) << 32 | prefixes[1] as u64;
    let coverage = Coverage::Sampled { pairs: options.sampled_pairs, seed };
    let distribution = search.distribution(coverage, &mut silent)?;
    let vocab_size = decoder.config().vocab_size;
    let pair = |pair: &inject_sipit::collisions::Pair| {
        let prefix = |row: usize| if row < vocab_size { prefixes[0] } else { prefixes[1] };
        let rows = [pair.a, pair.b];
        let tokens = rows.map(|row| (row % vocab_size) as u32);
        ExtensionPair { distance: pair.distance, prefixes: rows.map(prefix), tokens }
    };
    let pairs_of_any = match pairs {
        Pairs::Across(_) | Pairs::Between(_) => pairs_across(2, vocab_size as u64),
        Pairs::All | Pairs::Within(_) => pairs_within(1, vocab_size as u64),
    };
    Ok(Extensions {
        prefixes,
        pairs_with_equal_embeddings: pairs_of_any - search.pair_count(),
        pairs: search.pair_count(),
        computed: closest.computed,
        closest: closest.pairs.iter().map(pair).collect(),
        equal_pairs: search.equal_rows().iter().map(|equal| equal.pairs).sum(),
        coverage,
        quantiles: quantiles(&distribution),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_make_as_many_pairs_as_the_formula() {
        for (prefixes, vocab_size) in [(1, 7), (4, 5), (10, 97)] {
            let units = units(prefixes, Scope::WithinAndAcross);
            let all = |unit: &Unit| match unit.first == unit.second {
                true => vocab_size * (vocab_size - 1) / 2,
                false => vocab_size * vocab_size,
            };
            let rows = prefixes as u64 * vocab_size;
            assert_eq!(units.iter().map(all).sum::<u64>(), rows * (rows - 1) / 2);
            let expected =
                pairs_within(prefixes as u64, vocab_size) + pairs_across(prefixes as u64, vocab_size);
            assert_eq!(expected, rows * (rows - 1) / 2);
        }
    }

    #[test]
    fn the_counts_are_those_of_the_paper() {
        assert_eq!(pairs_within(10, 50_257), 12_628_578_960);
        assert_eq!(pairs_within(10, 262_144), 343_596_072_960);
        // The count for 100 prompts and a vocabulary of a million is far below the largest u64.
        assert!(pairs_across(100, 1 << 20) < u64::MAX / 1000);
    }

    #[test]
    fn a_prompt_given_twice_is_refused() {
        let error = check(&[vec![1], vec![2], vec![1]]).unwrap_err();
        assert!(matches!(error, StudyError::RepeatedPrefix { first: 0, second: 2 }));
        assert!(matches!(check(&[]), Err(StudyError::TooFewPrompts { .. })));
    }
}
