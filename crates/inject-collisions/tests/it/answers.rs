//! Every answer is that of the double loop, on every device and in every arithmetic.

use burn::tensor::Device;
use inject_collisions::{Arithmetic, Coverage, Metric, Pairs, Rows, Search, SearchOptions};
use ndarray::Array2;
use proptest::prelude::*;

use crate::{data, oracle};

/// Asks every question and compares with the oracle, digit by digit.
fn check(name: &str, states: &Array2<f32>, identities: Option<Vec<u32>>, pairs: &Pairs, metric: Metric) {
    let all = oracle::all_pairs(states, identities.as_deref(), pairs, metric);
    let mut rows = Rows::new(states.view()).unwrap();
    if let Some(identities) = identities {
        rows = rows.with_identities(identities).unwrap();
    }
    for (device, arithmetic) in arithmetics() {
        let options = SearchOptions { metric, arithmetic, ..SearchOptions::default() };
        let search = Search::new(&rows, pairs, options, &device).unwrap();
        assert_eq!(search.pair_count(), all.len() as u64, "{name}");

        for k in [1, 20] {
            let found = search.closest_pairs(k, &mut |_| ()).unwrap();
            assert_eq!(found.pairs, oracle::closest(&all, k), "{name}: {k} closest pairs, {metric:?}");
            assert_eq!(found.decided, all.len() as u64, "{name}");
        }
        let found = search.nearest_neighbours(&mut |_| ()).unwrap();
        assert_eq!(found.nearest, oracle::nearest(&all, states.nrows()), "{name}: neighbours, {metric:?}");

        let sorted: Vec<f64> = oracle::closest(&all, all.len()).iter().map(|pair| pair.distance).collect();
        let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64) as usize];
        let thresholds = if sorted.is_empty() {
            vec![1.0]
        } else {
            vec![at(0.0), at(0.01), at(0.5), f64::INFINITY, -1.0, 1e-3]
        };
        let found = search.count_below(&thresholds, &mut |_| ()).unwrap();
        for below in &found.below {
            assert_eq!(
                below.pairs,
                oracle::below(&all, below.threshold),
                "{name}: below {}",
                below.threshold
            );
        }

        let found = search.distribution(Coverage::Exact, &mut |_| ()).unwrap();
        let bins: Vec<(f64, f64)> = found.bins().map(|(bin, _)| (bin.lower, bin.upper)).collect();
        let counts = found.bins().map(|(bin, count)| (bin.lower.to_bits(), count)).collect();
        assert_eq!(oracle::histogram(&all, &bins), counts, "{name}: histogram, {metric:?}");
    }
}

/// Every device in f32, and the processor in whole numbers.
fn arithmetics() -> Vec<(Device, Arithmetic)> {
    let mut all: Vec<(Device, Arithmetic)> =
        inject_testing::compiled().into_iter().map(|device| (device, Arithmetic::F32OnDevice)).collect();
    all.push((all[0].0.clone(), Arithmetic::I16OnProcessor));
    all
}

#[test]
fn the_answers_are_those_of_the_double_loop() {
    for (name, states) in data::hard_cases() {
        check(name, &states, None, &Pairs::All, Metric::L2);
    }
}

#[test]
fn so_they_are_for_cosines() {
    for (name, mut states) in data::hard_cases() {
        // A row of zeros has no direction.
        states.column_mut(0).mapv_inplace(|value| if value == 0.0 { 1.0 } else { value });
        check(name, &states, None, &Pairs::All, Metric::Cosine);
    }
}

#[test]
fn so_they_are_among_some_of_the_pairs() {
    for (name, states) in data::hard_cases() {
        let labels = |count: usize| (0..states.nrows()).map(|row| (row * row % 11 % count) as u32).collect();
        let identities: Vec<u32> = (0..states.nrows()).map(|row| (row / 3 % 50) as u32).collect();
        check(name, &states, None, &Pairs::Within(labels(4)), Metric::L2);
        check(name, &states, Some(identities.clone()), &Pairs::Across(labels(3)), Metric::L2);
        check(name, &states, Some(identities), &Pairs::All, Metric::L2);
    }
}

#[test]
fn a_sample_says_so_and_repeats() {
    let states = data::Draw(3).gaussian(50, 6);
    let rows = Rows::new(states.view()).unwrap();
    let device = inject_testing::compiled().remove(0);
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    let coverage = Coverage::Sampled { pairs: 20_000, seed: 7 };
    let sample = search.distribution(coverage, &mut |_| ()).unwrap();
    assert_eq!((sample.coverage, sample.pairs), (coverage, 20_000));
    assert_eq!(search.distribution(coverage, &mut |_| ()).unwrap(), sample);

    let exact = search.distribution(Coverage::Exact, &mut |_| ()).unwrap();
    for share in [0.1, 0.5, 0.9] {
        let (sample, exact) = (sample.quantile(share).unwrap(), exact.quantile(share).unwrap());
        assert!((sample.lower / exact.lower - 1.0).abs() < 0.05, "{sample:?} {exact:?}");
    }
}

#[test]
fn where_no_pair_counts_there_is_no_answer() {
    let states = data::Draw(3).gaussian(4, 6);
    let rows = Rows::new(states.view()).unwrap().with_identities(vec![2; 4]).unwrap();
    let device = inject_testing::compiled().remove(0);
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    assert_eq!(search.closest_pairs(3, &mut |_| ()).unwrap().minimum(), None);
    assert_eq!(search.nearest_neighbours(&mut |_| ()).unwrap().nearest, [None; 4]);
    let sample = Coverage::Sampled { pairs: 10, seed: 1 };
    assert_eq!(search.distribution(sample, &mut |_| ()).unwrap().quantile(0.5), None);
}

#[test]
fn equal_rows_are_found_and_are_the_pairs_at_distance_zero() {
    let (_, states) = data::hard_cases().into_iter().find(|(name, _)| *name == "duplicates").unwrap();
    let rows = Rows::new(states.view()).unwrap();
    let device = inject_testing::compiled().remove(0);
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    let equal = search.equal_rows();
    assert_eq!(equal.len(), 100);
    assert_eq!(equal[0].rows, [0, 200, 399]);
    let pairs: u64 = equal.iter().map(|group| group.pairs).sum();
    assert_eq!(search.count_below(&[f64::MIN_POSITIVE], &mut |_| ()).unwrap().below[0].pairs, pairs);
}

#[test]
fn answers_survive_json() {
    // Whole distances: JSON as serde_json reads it may be off in the last digit.
    let states = Array2::from_shape_fn((30, 1), |(row, _)| (row * row) as f32);
    let rows = Rows::new(states.view()).unwrap();
    let device = inject_testing::compiled().remove(0);
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    fn round_trip<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        answer: T,
    ) {
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), answer);
    }
    round_trip(search.closest_pairs(3, &mut |_| ()).unwrap());
    round_trip(search.nearest_neighbours(&mut |_| ()).unwrap());
    round_trip(search.count_below(&[1.0, 3.0], &mut |_| ()).unwrap());
    round_trip(search.distribution(Coverage::Exact, &mut |_| ()).unwrap());
}

#[test]
fn progress_ends_with_all_pairs() {
    let states = data::Draw(3).gaussian(600, 6);
    let rows = Rows::new(states.view()).unwrap();
    let device = inject_testing::compiled().remove(0);
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    let mut last = None;
    search.nearest_neighbours(&mut |progress| last = Some(progress)).unwrap();
    let last = last.unwrap();
    assert_eq!((last.pairs_done, last.pairs), (600 * 599 / 2, 600 * 599 / 2));
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
        // Few levels make ties and duplicates; the offset keeps rows from being zero.
        let mut draw = data::Draw(seed);
        let mut level = || (draw.uniform() * f64::from(levels)).floor() as f32 + 0.5;
        let states = Array2::from_shape_simple_fn((rows, columns), || level() * 2_f32.powi(scale));
        check("random", &states, None, &Pairs::All, metric);
    }
}
