//! Bad input is a typed error.

use inject_collisions::{CollisionError, Metric, Pairs, Search, SearchOptions, StateRows, models::silent};
use ndarray::{Array2, arr2};

fn refused(states: &Array2<f32>, pairs: &Pairs, options: SearchOptions) -> CollisionError {
    let rows = StateRows::new(states.view()).unwrap();
    let device = inject_testing::any_device();
    Search::new(&rows, pairs, options, &device).map(|_| ()).unwrap_err()
}

#[test]
fn a_budget_that_is_too_small_says_what_is_needed() {
    let options = SearchOptions::default().with_memory_budget(1000);
    let error = refused(&Array2::ones((5000, 64)), &Pairs::All, options);
    let CollisionError::BudgetTooSmall { found: 1000, needed, .. } = error else { panic!("{error}") };
    let states = Array2::ones((5000, 64));
    let rows = StateRows::new(states.view()).unwrap();
    let device = inject_testing::any_device();
    let options = SearchOptions::default().with_memory_budget(needed);
    Search::new(&rows, &Pairs::All, options, &device).unwrap();
}

#[test]
fn labels_for_other_rows_are_refused() {
    let error = refused(&Array2::ones((5, 4)), &Pairs::Within(vec![1; 4]), SearchOptions::default());
    assert!(matches!(error, CollisionError::LabelCount { what: "labels", found: 4, rows: 5 }), "{error}");
}

#[test]
fn a_row_of_zeros_has_no_cosine() {
    let options = SearchOptions::default().with_metric(Metric::Cosine);
    let error = refused(&arr2(&[[1.0, 0.0], [2.0, 2.0], [0.0, 0.0]]), &Pairs::All, options);
    assert!(matches!(error, CollisionError::NoDirection { row: 2 }), "{error}");
}

#[test]
fn a_threshold_of_nan_is_refused() {
    let states = arr2(&[[1.0, 0.0], [2.0, 2.0]]);
    let rows = StateRows::new(states.view()).unwrap();
    let device = inject_testing::any_device();
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    let error = search.count_below(&[1.0, f64::NAN], &mut silent).unwrap_err();
    assert!(matches!(error, CollisionError::InvalidThreshold { found } if found.is_nan()), "{error}");
}
