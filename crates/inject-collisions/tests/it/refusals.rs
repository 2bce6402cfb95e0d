//! Bad input is a typed error.

use inject_collisions::{CollisionError, Metric, Pairs, Rows, Search, SearchOptions};
use ndarray::{Array2, arr2};

fn refused(states: &Array2<f32>, pairs: &Pairs, options: SearchOptions) -> CollisionError {
    let rows = Rows::new(states.view()).unwrap();
    let device = inject_testing::compiled().remove(0);
    Search::new(&rows, pairs, options, &device).map(|_| ()).unwrap_err()
}

#[test]
fn a_budget_that_is_too_small_says_what_is_needed() {
    let options = SearchOptions { memory_budget: 1000, ..SearchOptions::default() };
    let error = refused(&Array2::ones((5000, 64)), &Pairs::All, options);
    let CollisionError::BudgetTooSmall { found: 1000, needed, .. } = error else { panic!("{error}") };
    let states = Array2::ones((5000, 64));
    let rows = Rows::new(states.view()).unwrap();
    let device = inject_testing::compiled().remove(0);
    let options = SearchOptions { memory_budget: needed, ..SearchOptions::default() };
    Search::new(&rows, &Pairs::All, options, &device).unwrap();
}

#[test]
fn labels_for_other_rows_are_refused() {
    let error = refused(&Array2::ones((5, 4)), &Pairs::Within(vec![1; 4]), SearchOptions::default());
    assert!(matches!(error, CollisionError::LabelCount { what: "labels", found: 4, rows: 5 }), "{error}");
}

#[test]
fn a_row_of_zeros_has_no_cosine() {
    let options = SearchOptions { metric: Metric::Cosine, ..SearchOptions::default() };
    let error = refused(&arr2(&[[1.0, 0.0], [2.0, 2.0], [0.0, 0.0]]), &Pairs::All, options);
    assert!(matches!(error, CollisionError::NoDirection { row: 2 }), "{error}");
}

#[test]
fn a_threshold_that_is_no_number_is_refused() {
    let states = arr2(&[[1.0, 0.0], [2.0, 2.0]]);
    let rows = Rows::new(states.view()).unwrap();
    let device = inject_testing::compiled().remove(0);
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
    let error = search.count_below(&[1.0, f64::NAN], &mut |_| ()).unwrap_err();
    assert!(matches!(error, CollisionError::InvalidThreshold { .. }), "{error}");
}
