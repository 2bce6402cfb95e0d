//! Prompts some of whose states are missing.

use crate::small::{invert, of_vocabulary, random, random_decoders, target};
use inject_sipit::{
    Inversion, InvertError, Policy, Settings, TargetStates, Verdict,
    models::{Decoder, FloatFormat, Logits, Tap, TokenBatch, host::to_host},
    sources::Secant,
};
use ndarray::Axis;

const PROMPT: [u32; 7] = [5, 41, 7, 63, 12, 30, 88];

/// The states of the prompt without those of some positions.
fn without(decoder: &Decoder, tap: Tap, missing: &[usize]) -> TargetStates {
    let rows: Vec<usize> = (0..PROMPT.len()).filter(|at| !missing.contains(at)).collect();
    let states = target(decoder, &PROMPT, tap).states().select(Axis(0), &rows);
    TargetStates::new(states, tap, FloatFormat::F32).unwrap().with_missing(missing).unwrap()
}

fn inverted(decoder: &Decoder, target: &TargetStates) -> Inversion {
    let found = invert(decoder, target, &Policy::new(), Settings::new()).unwrap();
    assert_eq!(found.positions.len(), PROMPT.len());
    found
}

#[test]
fn a_single_missing_state_is_bridged_by_the_one_after_it() {
    for (case, decoder) in random_decoders(31) {
        let tap = Tap::Block(decoder.config().n_layers());
        for missing in [&[0][..], &[3], &[1, 4]] {
            let found = inverted(&decoder, &without(&decoder, tap, missing));
            assert!(found.is_verified(), "{case} without {missing:?}: {found:?}");
            assert_eq!(found.token_ids(), PROMPT, "{case} without {missing:?}");
            for &missing in missing {
                assert_eq!(found.positions[missing].found_by(), Some("gap"), "{case}");
            }
        }
    }
}

#[test]
fn a_token_that_left_no_trace_is_not_claimed() {
    for decoder in inject_testing::on_each(|device| random("llama", 31, device)) {
        // Embeddings do not depend on earlier tokens.
        let found = inverted(&decoder, &without(&decoder, Tap::Embedding, &[3]));
        let gap = &found.positions[3];
        assert!(matches!(gap.verdict, Verdict::Ambiguous { more: true, .. }), "{gap:?}");
        assert!(!found.is_verified());
        let others = found.positions.iter().filter(|position| position.position != 3);
        for position in others {
            assert!(position.verdict.is_verified(), "{position:?}");
            assert_eq!(position.token_id(), Some(PROMPT[position.position]));
        }
    }
}

#[test]
fn two_missing_states_are_bridged_by_tokens_that_the_model_expects() {
    for (case, decoder) in random_decoders(31) {
        let tap = Tap::Block(decoder.config().n_layers());
        // The first of the missing tokens is the likeliest one. The second is any.
        let prompt = [&PROMPT[..2], &[likeliest_after(&decoder, &PROMPT[..2])], &PROMPT[3..]].concat();
        let states = target(&decoder, &prompt, tap).states().select(Axis(0), &[0, 1, 4, 5, 6]);
        let states = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
        let found = inverted(&decoder, &states.with_missing(&[2, 3]).unwrap());
        assert_eq!(found.token_ids(), prompt, "{case}: {found:?}");
        // Not all pairs were tested.
        assert!(matches!(found.positions[2].verdict, Verdict::Ambiguous { more: true, .. }), "{case}");
        assert_eq!([2, 3].map(|at| found.positions[at].found_by()), [Some("gap"); 2]);
        assert!(found.positions[3..].iter().all(|position| position.verdict.is_verified()), "{case}");
    }
}

/// The token that the model expects most after some others.
fn likeliest_after(decoder: &Decoder, ids: &[u32]) -> u32 {
    let forward = decoder.forward(&TokenBatch::new(&[ids]).unwrap(), &[], Logits::Last).unwrap();
    let logits: Vec<f32> = to_host(forward.logits.unwrap()).unwrap();
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32
}

#[test]
fn wider_gaps_and_missing_last_states_are_open() {
    for decoder in inject_testing::on_each(|device| random("gpt2", 31, device)) {
        for missing in [&[2, 3, 4][..], &[5, 6], &[6]] {
            let found = inverted(&decoder, &without(&decoder, Tap::Block(2), missing));
            assert_eq!(found.token_ids(), PROMPT[..missing[0]], "without {missing:?}");
            assert!(found.positions[missing[0]..].iter().all(|position| position.verdict.is_open()));
        }
    }
}

#[test]
fn tokens_after_a_gap_that_nothing_bridges_are_guessed() {
    for decoder in inject_testing::on_each(|device| random("gpt2", 31, device)) {
        // A guess is right if its state depends on its own token alone, as an embedding does.
        let found = inverted(&decoder, &without(&decoder, Tap::Embedding, &[2, 3, 4]));
        let guess = |at: usize| match found.positions[at].verdict {
            Verdict::Open { guess } => guess,
            _ => panic!("{:?}", found.positions[at]),
        };
        assert_eq!([2, 3, 4].map(guess), [None; 3]);
        assert_eq!([5, 6].map(guess), [Some(PROMPT[5]), Some(PROMPT[6])]);
        assert_eq!(found.token_ids(), PROMPT[..2]);
    }
}

#[test]
fn states_after_a_gap_that_do_not_fit_leave_it_open() {
    for device in inject_testing::compiled() {
        let (decoder, other) = (random("llama", 31, &device), random("llama", 32, &device));
        let tap = Tap::Block(2);
        let mut states = target(&decoder, &PROMPT, tap).states().to_owned();
        let stranger = target(&other, &PROMPT, tap);
        states.row_mut(4).assign(&stranger.states().row(4));
        states.remove_index(Axis(0), 3);
        let target = TargetStates::new(states, tap, FloatFormat::F32).unwrap().with_missing(&[3]).unwrap();
        let found = inverted(&decoder, &target);
        assert_eq!(found.token_ids(), PROMPT[..3]);
        assert!(found.positions[3].verdict.is_open(), "{:?}", found.positions[3]);
    }
}

#[test]
fn missing_positions_are_named_once_and_lie_in_the_prompt() {
    let states =
        || TargetStates::new(ndarray::array![[1.0], [2.0]], Tap::Block(1), FloatFormat::F32).unwrap();
    let refused = |missing: &[usize]| match states().with_missing(missing) {
        Err(InvertError::Missing { found, positions }) => Some((found, positions)),
        _ => None,
    };
    assert_eq!(refused(&[1, 1]), Some((1, 4)));
    assert_eq!(refused(&[1, 9]), Some((9, 4)));
    assert_eq!(refused(&[3]), Some((3, 3)));
    assert_eq!(states().with_missing(&[2, 0]).unwrap().missing(), [0, 2]);
}

#[test]
fn a_search_that_learned_before_a_gap_goes_on_beside_it() {
    for decoder in inject_testing::on_each(|device| of_vocabulary("llama", 8000, 31, device)) {
        let prompt: Vec<u32> = (0..10).map(|at| (at * 1237 + 11) % 8000).collect();
        let tap = Tap::Block(1);
        let mut states = target(&decoder, &prompt, tap).states().to_owned();
        states.remove_index(Axis(0), 6);
        let target = TargetStates::new(states, tap, FloatFormat::F32).unwrap().with_missing(&[6]).unwrap();
        // A survey of enough tokens to draft from.
        let policy = Policy::new().then_up_to(8000, Secant::new().surveying(500));
        let found = invert(&decoder, &target, &policy, Settings::new()).unwrap();
        // Tokens of a random model move later states so far that the token after the gap may not be guessed. The rest is right.
        let ids = found.token_ids();
        assert!(ids.len() >= 6 && prompt.starts_with(&ids), "{found:?}");
        assert_eq!(found.positions.len(), prompt.len());
    }
}
