//! Every answer equals that of a double loop over all pairs, on every device and in every arithmetic.

use burn::tensor::Device;
use inject_collisions::{
    Arithmetic, Coverage, Distribution, Metric, Pairs, Search, SearchOptions, StateRows,
    models::{Progress, Unit, silent},
};
use ndarray::Array2;
use proptest::prelude::*;

use crate::{data, oracle};

/// Asks every question and compares each answer with the oracle's, bit by bit.
fn check(name: &str, states: &Array2<f32>, identities: Option<Vec<u32>>, pairs: &Pairs, metric: Metric) {
    let all = oracle::all_pairs(states, identities.as_deref(), pairs, metric);
    let mut rows = StateRows::new(states.view()).unwrap();
    if let Some(identities) = identities {
        rows = rows.with_identities(identities).unwrap();
    }
    let nearest = oracle::nearest(&all, states.nrows());
    let sorted = oracle::closest(&all, all.len());
    for (device, arithmetic) in arithmetics() {
        let options = SearchOptions::default().with_metric(metric).with_arithmetic(arithmetic);
        let search = Search::new(&rows, pairs, options, &device).unwrap();
        assert_eq!(search.pair_count(), all.len() as u64, "{name}");

        for k in [1, 20] {
            let found = search.closest_pairs(k, &mut silent).unwrap();
            assert_eq!(found.pairs, sorted[..k.min(sorted.len())], "{name}: {k} closest pairs, {metric:?}");
            assert_eq!(found.decided, all.len() as u64, "{name}");
        }
        let found = search.nearest_neighbours(&mut silent).unwrap();
        assert_eq!(found.nearest, nearest, "{name}: neighbours, {metric:?}");

        let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64) as usize].distance;
        let thresholds = if sorted.is_empty() {
            vec![1.0]
        } else {
            vec![at(0.0), at(0.01), at(0.5), f64::INFINITY, -1.0, 1e-3]
        };
        let found = search.count_below(&thresholds, &mut silent).unwrap();
        for count in &found.counts {
            let expected = oracle::below(&all, count.threshold);
            assert_eq!(count.pairs, expected, "{name}: below {}", count.threshold);
        }

        let found = search.distribution(Coverage::Exact, &mut silent).unwrap();
        let bins: Vec<(f64, f64)> = found.bins().map(|(bin, _)| (bin.lower, bin.upper)).collect();
        let counts = found.bins().map(|(bin, count)| (bin.lower.to_bits(), count)).collect();
        assert_eq!(oracle::histogram(&all, &bins), counts, "{name}: histogram, {metric:?}");
    }
}

/// Returns every device in f32, and the processor in integers with and without VNNI instructions.
fn arithmetics() -> Vec<(Device, Arithmetic)> {
    let mut all: Vec<(Device, Arithmetic)> =
        inject_testing::compiled().into_iter().map(|device| (device, Arithmetic::F32OnDevice)).collect();
    let first = all[0].0.clone();
    all.extend(
        [Arithmetic::I16OnProcessor, Arithmetic::I16Portable].map(|arithmetic| (first.clone(), arithmetic)),
    );
    all
}

#[test]
fn the_answers_equal_those_of_the_double_loop() {
    for (name, states) in data::hard_cases() {
        check(name, &states, None, &Pairs::All, Metric::L2);
    }
}

#[test]
fn the_answers_for_cosines_equal_those_of_the_double_loop() {
    for (name, mut states) in data::hard_cases() {
        // Zeros are replaced, because a row of zeros has no direction.
        states.column_mut(0).mapv_inplace(|value| if value == 0.0 { 1.0 } else { value });
        check(name, &states, None, &Pairs::All, Metric::Cosine);
    }
}

#[test]
fn the_answers_among_some_of_the_pairs_equal_those_of_the_double_loop() {
    for (name, states) in data::hard_cases() {
        let labels = |count: usize| (0..states.nrows()).map(|row| (row * row % 11 % count) as u32).collect();
        let identities: Vec<u32> = (0..states.nrows()).map(|row| (row / 3 % 50) as u32).collect();
        check(name, &states, None, &Pairs::Within(labels(4)), Metric::L2);
        check(name, &states, Some(identities.clone()), &Pairs::Across(labels(3)), Metric::L2);
        check(name, &states, Some(identities.clone()), &Pairs::Between(states.nrows() / 3), Metric::L2);
        check(name, &states, Some(identities), &Pairs::All, Metric::L2);
    }
}

#[test]
fn a_sample_is_marked_repeatable_and_close_to_the_whole() {
    let states = data::Draw(3).gaussian(50, 6);
    let rows = StateRows::new(states.view()).unwrap();
    let device = inject_testing::any_device();
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    let coverage = Coverage::Sampled { pairs: 20_000, seed: 7 };
    let sample = search.distribution(coverage, &mut silent).unwrap();
    assert_eq!((sample.coverage, sample.pairs), (coverage, 20_000));
    assert_eq!(search.distribution(coverage, &mut silent).unwrap(), sample);

    let exact = search.distribution(Coverage::Exact, &mut silent).unwrap();
    for share in [0.1, 0.5, 0.9] {
        // The standard deviation of the share of the drawn pairs below a distance. A deviation of five times that occurs once in
        // 1.7 million draws, and the draw is always the same.
        let deviation = (share * (1.0 - share) / 20_000.0_f64).sqrt();
        let found = sample.quantile(share).unwrap();
        let (low, high) = (share_below(&exact, found.lower), share_below(&exact, found.upper));
        assert!(
            low <= share + 5.0 * deviation && high >= share - 5.0 * deviation,
            "{share}: {low} to {high}"
        );
    }
}

/// Returns the share of the pairs in bins below a bin edge.
fn share_below(distribution: &Distribution, edge: f64) -> f64 {
    let below = distribution.bins().filter(|(bin, _)| bin.upper <= edge).map(|(_, pairs)| pairs);
    below.sum::<u64>() as f64 / distribution.pairs as f64
}

#[test]
fn if_no_pair_counts_there_is_no_answer() {
    let states = data::Draw(3).gaussian(4, 6);
    let rows = StateRows::new(states.view()).unwrap().with_identities(vec![2; 4]).unwrap();
    let device = inject_testing::any_device();
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    assert_eq!(search.closest_pairs(3, &mut silent).unwrap().minimum(), None);
    assert_eq!(search.nearest_neighbours(&mut silent).unwrap().nearest, [None; 4]);
    let sample = Coverage::Sampled { pairs: 10, seed: 1 };
    assert_eq!(search.distribution(sample, &mut silent).unwrap().quantile(0.5), None);
}

#[test]
fn equal_rows_are_found_and_are_the_pairs_at_distance_zero() {
    let (_, states) = data::hard_cases().into_iter().find(|(name, _)| *name == "duplicates").unwrap();
    let rows = StateRows::new(states.view()).unwrap();
    let device = inject_testing::any_device();
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    let equal = search.equal_rows();
    assert_eq!(equal.len(), 100);
    assert_eq!(equal[0].rows, [0, 200, 399]);
    let pairs: u64 = equal.iter().map(|group| group.pairs).sum();
    assert_eq!(search.count_below(&[f64::MIN_POSITIVE], &mut silent).unwrap().counts[0].pairs, pairs);
}

#[test]
fn answers_survive_json() {
    let states = data::Draw(9).gaussian(30, 5);
    let rows = StateRows::new(states.view()).unwrap();
    let device = inject_testing::any_device();
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    fn round_trip<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        answer: T,
    ) {
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), answer);
    }
    let closest = search.closest_pairs(3, &mut silent).unwrap();
    assert!(
        closest.pairs.iter().all(|pair| pair.distance.fract() != 0.0),
        "every distance has a fractional part"
    );
    round_trip(closest);
    round_trip(search.nearest_neighbours(&mut silent).unwrap());
    round_trip(search.count_below(&[1.1, std::f64::consts::PI], &mut silent).unwrap());
    round_trip(search.distribution(Coverage::Exact, &mut silent).unwrap());
}

#[test]
fn progress_ends_with_all_pairs() {
    let states = data::Draw(3).gaussian(600, 6);
    let rows = StateRows::new(states.view()).unwrap();
    let device = inject_testing::any_device();
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    let mut told = Vec::new();
    let mut progress = |progress: Progress<'_>| told.push((progress.unit, progress.done, progress.total));
    search.nearest_neighbours(&mut progress).unwrap();
    let pairs = 600 * 599 / 2;
    assert_eq!(told.last(), Some(&(Unit::Pairs, pairs, pairs)));
    assert!(told.is_sorted_by_key(|&(_, done, _)| done));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_small_states_have_the_answers_of_the_double_loop(
        (rows, columns) in (2_usize..60, 1_usize..20),
        seed in any::<u64>(),
        levels in 1_u32..40,
        scale in -12_i32..12,
        metric in prop_oneof![Just(Metric::L2), Just(Metric::Cosine)],
    ) {
        // The small number of levels causes ties and duplicates. The offset prevents rows of zeros.
        let mut draw = data::Draw(seed);
        let mut level = || (draw.uniform() * f64::from(levels)).floor() as f32 + 0.5;
        let states = Array2::from_shape_simple_fn((rows, columns), || level() * 2_f32.powi(scale));
        check("random", &states, None, &Pairs::All, metric);
    }
}
