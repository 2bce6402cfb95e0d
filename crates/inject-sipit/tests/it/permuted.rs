//! States whose coordinates are in unknown order.

use crate::small::{random, random_decoders, target};
use inject_sipit::{
    InvertError, Inverter, Policy, Producer, Settings, TargetStates, Transformation,
    models::{FloatFormat, Tap, silent},
};
use ndarray::Axis;

const PROMPT: [u32; 6] = [5, 41, 7, 63, 12, 30];

#[test]
fn the_prompt_and_the_order_of_the_coordinates_are_found() {
    for (case, decoder) in random_decoders(31) {
        let last = Tap::Block(decoder.config().n_layers());
        for (tap, begins) in [(Tap::Block(1), None), (last, Some(PROMPT[0])), (Tap::FinalNorm, Some(3))] {
            let states = target(&decoder, &PROMPT, tap).states().to_owned();
            let width = states.ncols();
            // Steps of a number that has no common divisor with the width.
            let order: Vec<usize> = (0..width).map(|at| (at * 5 + 2) % width).collect();
            let permuted = states.select(Axis(1), &order);
            let permuted = TargetStates::new(permuted, tap, FloatFormat::F32).unwrap();
            let inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
            let policy = Policy::new();
            let mut searcher = inverter.searcher(&policy);
            let found = inverter.invert_permuted(&permuted, begins, &mut searcher, &mut silent).unwrap();
            assert!(found.is_verified(), "{case} {tap}: {found:?}");
            assert_eq!(found.token_ids(), PROMPT, "{case} {tap}");
            let Transformation::Permuted { coordinates } = &found.transformation else {
                panic!("{:?}", found.transformation)
            };
            let known: Vec<Option<usize>> = order.iter().map(|&own| Some(own)).collect();
            assert_eq!(coordinates.known(), known, "{case} {tap}");
        }
    }
}

#[test]
fn states_computed_in_16_bits_need_no_option() {
    for device in inject_testing::compiled() {
        let decoder = random("llama", 31, &device);
        for format in [FloatFormat::Bf16, FloatFormat::F16] {
            let states = target(&decoder.clone().computing_in(format), &PROMPT, Tap::Block(2));
            let reversed = states.states().slice(ndarray::s![.., ..;-1]).to_owned();
            let reversed = TargetStates::new(reversed, Tap::Block(2), format).unwrap();
            let inverter = Inverter::new(&decoder, Tap::Block(2), Settings::new()).unwrap();
            let policy = Policy::new();
            let mut searcher = inverter.searcher(&policy);
            let found = inverter.invert_permuted(&reversed, None, &mut searcher, &mut silent).unwrap();
            assert!(found.is_verified(), "{format}: {found:?}");
            assert_eq!(found.token_ids(), PROMPT, "{format}");
            assert_eq!(found.producer, Some(Producer::Noise(format.into())), "{format}");
        }
    }
}

#[test]
fn states_of_another_model_fit_in_no_order() {
    for device in inject_testing::compiled() {
        let (decoder, other) = (random("llama", 31, &device), random("llama", 32, &device));
        let states = target(&other, &PROMPT, Tap::Block(2));
        let inverter = Inverter::new(&decoder, Tap::Block(2), Settings::new()).unwrap();
        let policy = Policy::new();
        let mut searcher = inverter.searcher(&policy);
        let found = inverter.invert_permuted(&states, None, &mut searcher, &mut silent).unwrap();
        assert!(found.token_ids().is_empty() && !found.is_verified(), "{found:?}");
    }
}

#[test]
fn every_coordinate_must_be_known() {
    let device = inject_testing::compiled().swap_remove(0);
    let decoder = random("llama", 31, &device);
    let mut states = target(&decoder, &PROMPT, Tap::Block(2)).states().to_owned();
    states[[1, 3]] = f64::INFINITY;
    let states = TargetStates::new(states, Tap::Block(2), FloatFormat::F16).unwrap();
    let inverter = Inverter::new(&decoder, Tap::Block(2), Settings::new()).unwrap();
    let policy = Policy::new();
    let mut searcher = inverter.searcher(&policy);
    let refused = inverter.invert_permuted(&states, None, &mut searcher, &mut silent).unwrap_err();
    assert!(matches!(refused, InvertError::NotFinite { position: 1, coordinate: 3, .. }), "{refused}");
}
