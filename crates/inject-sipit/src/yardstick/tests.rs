use crate::models::{FloatFormat, Tap};
use ndarray::Array2;

use super::*;

fn yardstick(states: Vec<f64>, dtype: FloatFormat, acceptance: Acceptance) -> (Yardstick, Vec<f64>) {
    let width = states.len();
    let array = Array2::from_shape_vec((1, width), states.clone()).unwrap();
    let target = TargetStates::new(array, Tap::Block(1), dtype).unwrap();
    (Yardstick::new(acceptance, &NoiseModel::exactly(1e-6), &target, 0, None), states)
}

#[test]
fn equal_noise_is_plain_l2() {
    let (yardstick, state) = yardstick(vec![1.0; 4], FloatFormat::Bf16, Acceptance::default());
    assert_eq!(yardstick.measure(&[1.0, 1.0, 1.5, 1.0], &state).distance, 0.5);
}

#[test]
fn an_imprecise_coordinate_does_not_hide_the_others() {
    // A bf16 coordinate of 20,000 may be off by 64; the other coordinates differ by less in all.
    let mut states = vec![20_000.0];
    states.extend(vec![0.5; 63]);
    let (yardstick, state) = yardstick(states.clone(), FloatFormat::Bf16, Acceptance::default());
    let mut rounded = states.clone();
    rounded[0] += 60.0;
    let mut other = states;
    other.iter_mut().skip(1).for_each(|value| *value += 0.1);
    let (rounded, other) = (yardstick.measure(&rounded, &state), yardstick.measure(&other, &state));
    assert!(rounded.fits && !other.fits, "{rounded:?} {other:?}");
    assert!(other.distance > 10.0 * rounded.distance);
}

#[test]
fn noise_along_a_sink_does_not_hide_what_differs_across_it() {
    let states = Array2::from_shape_vec((2, 3), vec![24_000.0, 10.0, 0.0, 11_000.0, 50.0, 60.0]).unwrap();
    let target = TargetStates::new(states, Tap::Block(1), FloatFormat::Bf16).unwrap();
    let (yardstick, state) = (Yardstick::across_sink(&target, 1), target.state(1));
    // The right token's state is shorter by a third along the sink.
    let right = yardstick.measure(&[7_500.0, 52.0, 61.0], state);
    let wrong = yardstick.measure(&[11_000.0, 50.0, 140.0], state);
    assert!(right.fits && wrong.distance > 2.0 * right.distance, "{right:?} {wrong:?}");
    assert!(!yardstick.is_crowded());
    assert!(matches!(yardstick.basis(state), Basis::Tested { .. }));
}

#[test]
fn coordinates_beyond_the_format_do_not_count_and_the_others_do() {
    let mut states = vec![f64::INFINITY];
    states.extend(vec![0.5; 63]);
    let array = Array2::from_shape_vec((1, 64), states.clone()).unwrap();
    let target = TargetStates::new(array, Tap::Block(1), FloatFormat::F16).unwrap();
    let state = target.state(0);
    states[0] = 82_000.0;
    let mut others = states.clone();
    others[9] += 0.1;
    let rules = [
        Acceptance::default(),
        Acceptance::Ball { epsilon: 0.01 },
        Acceptance::AllClose { rtol: 1e-4, atol: 1e-3 },
    ];
    for rule in rules {
        let yardstick = Yardstick::new(rule, &NoiseModel::exactly(1e-9), &target, 0, None);
        let floor = yardstick.floor(state);
        assert!(floor > 0.0 && floor <= 0.01, "{rule:?}: {floor}");
        assert!(yardstick.measure(&states, state).fits, "{rule:?}");
        let other = yardstick.measure(&others, state);
        assert!(!other.fits && (other.distance - 0.1).abs() < 1e-12, "{rule:?}: {other:?}");
    }
}

#[test]
fn added_noise_widens_the_floor_by_its_size() {
    let (plain, state) = yardstick(vec![3.0, 4.0], FloatFormat::F64, Acceptance::default());
    let (noisy, _) = yardstick(vec![3.0, 4.0], FloatFormat::F64, Acceptance::NoiseFloor { added: 0.25 });
    let wider = noisy.floor(&state) - plain.floor(&state);
    assert!((wider - 0.25).abs() < 1e-12, "{wider}");
}

#[test]
fn allclose_looks_at_every_coordinate() {
    let rule = Acceptance::AllClose { rtol: 1e-5, atol: 1e-5 };
    let (yardstick, state) = yardstick(vec![1.0, 100.0], FloatFormat::F32, rule);
    assert!(yardstick.measure(&[1.0, 100.000_9], &state).fits);
    assert!(!yardstick.measure(&[1.000_9, 100.0], &state).fits);
}

proptest::proptest! {
    #[test]
    fn the_truth_stays_within_the_floor_under_any_rounding(
        values in proptest::collection::vec(-3e4_f64..3e4, 1..40),
        dtype in proptest::sample::select(vec![FloatFormat::F16, FloatFormat::Bf16]),
    ) {
        let stored: Vec<f64> = values.iter().map(|&value| match dtype {
            FloatFormat::F16 => half::f16::from_f64(value).to_f64(),
            _ => half::bf16::from_f64(value).to_f64(),
        }).collect();
        let (yardstick, stored) = yardstick(stored, dtype, Acceptance::default());
        proptest::prop_assert!(yardstick.measure(&values, &stored).fits);
    }
}
