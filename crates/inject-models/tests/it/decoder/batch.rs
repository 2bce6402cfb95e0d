//! Many prompts at once, some taps or all, some logits or all.

use inject_models::{Logits, Tap, config::Span};

use super::{FloatFormat, LENGTHS, Subject, VOCAB_SIZE, batch, for_each_decoder, sequence, states};
use crate::fixture::{distance, norm, values};

/// Prompts of these lengths may share a batch with all families: Phi's switch is at 32.
const MIXED_LENGTHS: [[usize; 5]; 2] = [[3, 17, 24, 1, 9], [33, 44, 40, 34, 37]];

fn prompts(lens: &[usize]) -> Vec<Vec<u32>> {
    lens.iter().enumerate().map(|(seed, &len)| sequence(seed, len)).collect()
}

#[test]
fn a_prompt_in_a_batch_has_the_states_it_has_alone() {
    for_each_decoder(|subject| {
        for lens in MIXED_LENGTHS {
            let prompts = prompts(&lens);
            let together = subject.forward(&prompts);
            for (row, prompt) in prompts.iter().enumerate() {
                for (tap, alone) in subject.forward(&[prompt]) {
                    assert_eq!(alone[0].len(), prompt.len());
                    let what = format!("prompt {row} of {} tokens", prompt.len());
                    subject.assert_all_same(tap, &alone[0], &together[&tap][row], &what);
                }
            }
        }
    });
}

#[test]
fn the_order_of_a_batch_does_not_matter() {
    for_each_decoder(|subject| {
        let prompts = prompts(&MIXED_LENGTHS[0]);
        let order = [3, 0, 4, 1, 2];
        let permuted: Vec<&Vec<u32>> = order.iter().map(|&row| &prompts[row]).collect();
        let (states, permuted_states) = (subject.forward(&prompts), subject.forward(&permuted));
        for (tap, permuted_states) in permuted_states {
            for (found, row) in permuted_states.iter().zip(order) {
                let len = prompts[row].len();
                subject.assert_all_same(tap, &found[..len], &states[&tap][row], &format!("prompt {row}"));
            }
        }
    });
}

#[test]
fn a_token_changes_its_own_state_and_no_earlier_one() {
    for_each_decoder(|subject| {
        for len in LENGTHS {
            let prompt = sequence(1, len);
            let before = subject.forward(&[&prompt]);
            for position in [0, 1, 8, len - 1] {
                let mut changed = prompt.clone();
                changed[position] = (changed[position] + 1) % VOCAB_SIZE;
                for (tap, after) in subject.forward(&[&changed]) {
                    let (before, after) = (&before[&tap][0], &after[0]);
                    for (earlier, state) in after[..position].iter().enumerate() {
                        let what = format!("position {earlier} before a change at {position}");
                        subject.assert_same(tap, state, &before[earlier], &what);
                    }
                    let change = distance(&before[position], &after[position]);
                    assert!(change > 1e-3 * norm(&before[position]), "{}, {tap}: {change:e}", subject.label);
                }
            }
        }
    });
}

#[test]
fn a_window_bounds_what_one_block_sees() {
    for_each_decoder(|subject| {
        // The first block's state hangs on its own input and on the keys in its span, of which eight here.
        let windowed = subject.decoder.config().blocks[0].attention.span == Span::Window(8);
        let prompt = sequence(2, 24);
        let mut changed = prompt.clone();
        changed[5] = (changed[5] + 1) % VOCAB_SIZE;
        let (before, after) = (subject.forward(&[&prompt]), subject.forward(&[&changed]));
        let (before, after) = (&before[&Tap::Block(1)][0], &after[&Tap::Block(1)][0]);
        let moved = |position: usize| distance(&before[position], &after[position]) / norm(&before[position]);
        assert!(moved(12) > 1e-4, "{}: {:e}", subject.label, moved(12));
        if windowed {
            subject.assert_same(Tap::Block(1), &after[13], &before[13], "eight positions on");
        } else {
            assert!(moved(13) > 1e-4, "{}: {:e}", subject.label, moved(13));
        }
    });
}

#[test]
fn a_tap_asked_for_alone_has_the_states_it_has_among_others() {
    for_each_decoder(|subject| {
        let prompts = prompts(&MIXED_LENGTHS[1]);
        let together = subject.forward(&prompts);
        for tap in subject.taps() {
            let alone = subject.decoder.forward(&batch(&prompts), &[tap], Logits::None).unwrap();
            assert!(alone.logits.is_none());
            let alone = states(alone);
            assert_eq!(alone.keys().collect::<Vec<_>>(), [&tap]);
            for (row, states) in alone[&tap].iter().enumerate() {
                subject.assert_all_same(tap, states, &together[&tap][row], "alone");
            }
        }
    });
}

#[test]
fn without_taps_and_logits_there_is_nothing() {
    for_each_decoder(|subject| {
        let nothing = subject.decoder.forward(&batch(&[[1, 2]]), &[], Logits::None).unwrap();
        assert!(nothing.states.is_empty() && nothing.logits.is_none());
    });
}

#[test]
fn the_last_logits_are_those_after_the_last_token_of_each_prompt() {
    for_each_decoder(|subject| {
        for lens in MIXED_LENGTHS {
            let tokens = batch(&prompts(&lens));
            let logits = |which| subject.decoder.forward(&tokens, &[], which).unwrap().logits.unwrap();
            let (all, last) = (logits(Logits::All), logits(Logits::Last));
            let (rows, width, vocab_size) = (tokens.rows(), tokens.width(), VOCAB_SIZE as usize);
            assert_eq!(all.dims(), [rows, width, vocab_size]);
            assert_eq!(last.dims(), [rows, 1, vocab_size]);
            let (all, last) = (values(all), values(last));
            for (row, &len) in lens.iter().enumerate() {
                let found = &last[row * vocab_size..][..vocab_size];
                let expected = &all[(row * width + len - 1) * vocab_size..][..vocab_size];
                assert_logits(subject, found, expected);
            }
        }
    });
}

#[test]
fn logits_are_the_head_applied_to_the_final_norm() {
    for_each_decoder(|subject| {
        let forward =
            subject.decoder.forward(&batch(&[sequence(3, 24)]), &[Tap::FinalNorm], Logits::All).unwrap();
        let states = forward.states[&Tap::FinalNorm].clone().squeeze_dim::<2>(0);
        let found = values(subject.decoder.logits(states));
        let expected = values(forward.logits.unwrap());
        let vocab_size = VOCAB_SIZE as usize;
        for (found, expected) in found.chunks(vocab_size).zip(expected.chunks(vocab_size)) {
            assert_logits(subject, found, expected);
        }
    });
}

/// Both are products of one matrix with the same state but for its rounding. A logit sums `d_model` products, each
/// rounding at most that of the largest partial sum, which for vectors without a common direction is `sqrt(d_model)` times
/// the sum itself.
fn assert_logits(subject: &Subject, found: &[f64], expected: &[f64]) {
    let (epsilon, state) = match subject.format {
        FloatFormat::F32 => (f64::from(f32::EPSILON), 4.0 * 2e-7),
        FloatFormat::F64 => (f64::EPSILON, 1e-12),
        other => panic!("a model does not compute in {other}"),
    };
    let d_model = subject.decoder.config().d_model as f64;
    let tolerance = (2.0 * state + d_model.powf(1.5) * epsilon) * norm(expected);
    let distance = distance(found, expected);
    assert!(distance <= tolerance, "{}: {distance:e} > {tolerance:e}", subject.label);
}
