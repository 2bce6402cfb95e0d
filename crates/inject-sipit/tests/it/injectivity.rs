//! The theory of almost every model: different prompts have different states, with one exception.

use inject_sipit::{
    NoiseModel,
    collisions::{distance, norm},
    models::{Decoder, Tap},
    states::{Extraction, store::Positions},
};
use inject_testing::models::reach;
use proptest::prelude::*;

use crate::small::{FAMILIES, ROTARY, random};

/// The last-token state of each prompt at every tap.
pub(crate) fn last_states(decoder: &Decoder, prompts: &[Vec<u32>]) -> Vec<(Tap, Vec<Vec<f32>>)> {
    let taps = Tap::all(decoder.config().n_layers());
    let extraction = Extraction::new(taps, Positions::Last).unwrap();
    let states = extraction.run(decoder, prompts, &mut |_| ()).unwrap();
    states.into_iter().map(|(tap, rows)| (tap, rows.outer_iter().map(|row| row.to_vec()).collect())).collect()
}

/// The largest distance that rounding explains between this state and another: two computations of one state lie within the bound,
/// and each of the two may be off by as much.
fn floor(decoder: &Decoder, tap: Tap, sequence_len: usize, state: &[f32]) -> f64 {
    2.0 * NoiseModel::measure(decoder, tap, sequence_len).unwrap().bound(norm(state), 0.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn different_prompts_of_one_length_have_different_states_at_every_block(
        seed in any::<u64>(),
        a in prop::collection::vec(0_u32..97, 1..20),
        change in any::<prop::sample::Index>(),
        by in 1_u32..97,
    ) {
        let mut b = a.clone();
        let at = change.index(b.len());
        b[at] = (b[at] + by) % 97;
        for device in inject_testing::compiled() {
            for case in FAMILIES {
                let decoder = random(case, seed, &device);
                let window_hides_it = at + 1 < a.len();
                for (tap, states) in last_states(&decoder, &[a.clone(), b.clone()]) {
                    // The embedding of the last token knows nothing of the tokens before it.
                    if tap == Tap::Embedding && window_hides_it {
                        continue;
                    }
                    // One block of windowed attention sees only a few tokens back. Earlier tokens reach the last
                    // token through later blocks.
                    let reach = reach(&decoder, tap);
                    if a.len() - 1 - at > reach {
                        continue;
                    }
                    let apart = distance(&states[0], &states[1]);
                    let floor = floor(&decoder, tap, a.len(), &states[0]);
                    prop_assert!(apart > floor, "{case}, {tap}: {a:?} and {b:?} lie {apart:e} apart, floor {floor:e}");
                }
            }
        }
    }
}

#[test]
fn rotary_models_without_bos_give_one_state_for_a_token_repeated() {
    for device in inject_testing::compiled() {
        for case in ROTARY {
            let decoder = random(case, 3, &device);
            let prompts = [vec![5], vec![5; 2], vec![5; 3], vec![5; 7]];
            for (tap, states) in last_states(&decoder, &prompts) {
                // All values are equal, the weights of a softmax sum to one: attention gives back that value, whatever
                // the weights. Only the rounding of the sum is left, as between two computations of one state.
                let floor = floor(&decoder, tap, 7, &states[0]);
                for other in &states[1..] {
                    let apart = distance(&states[0], other);
                    assert!(apart <= floor, "{case}, {tap}: {apart:e} > {floor:e}");
                }
            }
        }
    }
}

#[test]
fn a_first_token_of_another_kind_or_learned_positions_tell_the_repetitions_apart() {
    let after_another = [vec![2, 5], vec![2, 5, 5], vec![2, 5, 5, 5]];
    let alone = [vec![5], vec![5; 2], vec![5; 3]];
    let cases = ROTARY.map(|case| (case, &after_another)).into_iter();
    for (case, prompts) in cases.chain(["gpt2", "gpt-neo"].map(|case| (case, &alone))) {
        for decoder in inject_testing::on_each(|device| random(case, 3, device)) {
            for (tap, states) in last_states(&decoder, prompts) {
                // Without learned positions the embedding of the last token knows nothing of those before it.
                if tap == Tap::Embedding && prompts == &after_another {
                    continue;
                }
                let floor = floor(&decoder, tap, 4, &states[0]);
                for other in &states[1..] {
                    let apart = distance(&states[0], other);
                    assert!(apart > floor, "{case}, {tap}: {apart:e}, floor {floor:e}");
                }
            }
        }
    }
}
