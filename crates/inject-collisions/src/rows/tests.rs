use ndarray::{arr2, s};

use super::*;

#[test]
fn fewer_than_two_rows_and_rows_without_columns_are_refused() {
    for rows in [0, 1] {
        let states = ndarray::Array2::zeros((rows, 3));
        let error = StateRows::new(states.view()).unwrap_err();
        assert!(matches!(error, CollisionError::TooFewRows { found } if found == rows));
    }
    let states = ndarray::Array2::zeros((3, 0));
    assert!(matches!(StateRows::new(states.view()), Err(CollisionError::NoColumns)));
}

#[test]
fn the_first_number_that_is_not_finite_is_reported() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut states = ndarray::Array2::ones((9, 5));
        states[[7, 0]] = bad;
        states[[3, 4]] = bad;
        let error = StateRows::new(states.view()).unwrap_err().to_string();
        assert!(error.contains("row 3") && error.contains("column 4"), "{error}");
    }
}

#[test]
fn a_view_that_is_not_row_major_gives_the_same_rows() {
    let states = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let rows = StateRows::new(states.slice(s![.., ..;2])).unwrap();
    assert_eq!(rows.row(1, &mut Vec::new()), [4.0, 6.0]);
}

#[test]
fn every_row_has_one_identity_or_none_has() {
    let states = arr2(&[[1.0], [2.0]]);
    let error = StateRows::new(states.view()).unwrap().with_identities(vec![0]).unwrap_err();
    assert!(matches!(error, CollisionError::LabelCount { found: 1, rows: 2, .. }));
}

#[test]
fn repeated_prompts_are_listed_in_order() {
    let states = ndarray::Array2::zeros((5, 1));
    let rows = StateRows::new(states.view()).unwrap().with_identities(vec![4, 2, 9, 4, 2]).unwrap();
    assert_eq!(rows.repeated(), [[0, 3], [1, 4]]);
}
