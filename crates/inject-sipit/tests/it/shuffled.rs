//! Prompts whose states are given in unknown order.

use crate::small::{of_vocabulary, random, random_decoders, target};
use inject_sipit::{
    Inverter, Settings, TargetStates,
    models::{Decoder, FloatFormat, Tap, silent},
};
use ndarray::Axis;

const PROMPT: [u32; 8] = [5, 41, 7, 63, 12, 30, 88, 7];

/// Inverts the states of a prompt in another order, and expects the prompt and the order back.
fn assert_found(decoder: &Decoder, prompt: &[u32], tap: Tap, begins: Option<u32>) {
    let len = prompt.len();
    // The row of each position: steps of a number that has no common divisor with the length.
    let order: Vec<usize> = (0..len).map(|at| (at * 5 + 3) % len).collect();
    let rows = target(decoder, prompt, tap).states().to_owned();
    let mut from = vec![0; len];
    order.iter().enumerate().for_each(|(at, &row)| from[row] = at);
    let shuffled = TargetStates::new(rows.select(Axis(0), &from), tap, FloatFormat::F32).unwrap();
    let inverter = Inverter::new(decoder, tap, Settings::new()).unwrap();
    let found = inverter.invert_shuffled(&shuffled, begins, &mut silent).unwrap();
    assert!(found.inversion.is_verified(), "{tap}: {found:?}");
    assert_eq!(found.inversion.token_ids(), prompt, "{tap}");
    assert_eq!(found.order, order, "{tap}");
}

#[test]
fn every_state_finds_its_place() {
    for (_, decoder) in random_decoders(31) {
        let last = Tap::Block(decoder.config().n_layers());
        for (tap, begins) in [(Tap::Block(1), None), (last, Some(PROMPT[0])), (Tap::FinalNorm, Some(2))] {
            assert_found(&decoder, &PROMPT, tap, begins);
        }
    }
}

#[test]
fn tokens_are_read_from_rows_where_the_vocabulary_is_large() {
    for decoder in inject_testing::on_each(|device| of_vocabulary("llama", 5000, 31, device)) {
        let prompt: Vec<u32> = (0..12).map(|at| (at * 1237 + 11) % 5000).collect();
        let tap = Tap::Block(2);
        assert_found(&decoder, &prompt, tap, None);
    }
}

#[test]
fn states_of_another_model_find_no_place() {
    for device in inject_testing::compiled() {
        let (decoder, other) = (random("llama", 31, &device), random("llama", 32, &device));
        let states = target(&other, &PROMPT, Tap::Block(2));
        let inverter = Inverter::new(&decoder, Tap::Block(2), Settings::new()).unwrap();
        let found = inverter.invert_shuffled(&states, None, &mut silent).unwrap();
        assert!(found.inversion.positions.iter().all(|position| position.verdict.is_open()), "{found:?}");
        assert_eq!(found.inversion.positions.len(), PROMPT.len());
        assert_eq!(found.order, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
