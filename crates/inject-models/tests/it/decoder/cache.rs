//! A sequence computed piece by piece.

use inject_models::{FloatFormat, Logits, ModelError, PrefixCache, Tap};

use super::{LENGTHS, States, Subject, batch, for_each_decoder, sequence, states};

/// Two prefills and single steps.
fn pieces(len: usize) -> Vec<usize> {
    let mut pieces = vec![len - 11, 6];
    pieces.extend([1; 5]);
    pieces
}

/// Continues the cached sequences by the same stretch of each prompt.
fn extend(subject: &Subject, cache: &mut PrefixCache, prompts: &[Vec<u32>], len: usize) -> States {
    let begin = cache.len();
    let stretch: Vec<&[u32]> = prompts.iter().map(|prompt| &prompt[begin..begin + len]).collect();
    let forward = subject.decoder.extend(cache, &batch(&stretch), &subject.taps(), Logits::None).unwrap();
    assert_eq!(cache.len(), begin + len);
    states(forward)
}

fn new_cache(subject: &Subject, batch: usize, len: usize) -> PrefixCache {
    let cache = subject.decoder.prefix_cache(batch, len, Tap::FinalNorm).unwrap();
    assert!(cache.is_empty());
    assert_eq!((cache.batch(), cache.sequence_len(), cache.deepest()), (batch, len, Tap::FinalNorm));
    cache
}

/// The states of a stretch, against those at the same positions of whole prompts.
fn assert_stretch(subject: &Subject, found: &States, whole: &States, begin: usize, what: &str) {
    assert_eq!(found.len(), whole.len());
    for (tap, found) in found {
        for (row, found) in found.iter().enumerate() {
            let what = format!("{what}, prompt {row} from {begin}");
            subject.assert_all_same(*tap, found, &whole[tap][row][begin..], &what);
        }
    }
}

#[test]
fn piece_by_piece_gives_the_states_of_the_whole() {
    for_each_decoder(|subject| {
        for len in LENGTHS {
            for rows in [1, 3] {
                let prompts: Vec<_> = (0..rows).map(|seed| sequence(seed, len)).collect();
                let whole = subject.forward(&prompts);
                let mut cache = new_cache(subject, rows, len);
                for piece in pieces(len) {
                    let begin = cache.len();
                    let found = extend(subject, &mut cache, &prompts, piece);
                    assert_stretch(subject, &found, &whole, begin, &format!("{rows} of {len}"));
                }
                assert_eq!(cache.len(), len);
            }
        }
    });
}

/// Long enough for the attention to take its queries in several pieces, which stretches of 50 are not. In float64, where a key
/// too many or too few would show.
#[test]
fn long_prompts_are_cut_into_pieces_without_a_trace() {
    const LEN: usize = 300;
    for_each_decoder(|subject| {
        let too_short = subject.decoder.config().max_len().is_some_and(|max_len| max_len < LEN);
        if subject.format != FloatFormat::F64 || too_short {
            return;
        }
        let prompts = [sequence(7, LEN), sequence(8, LEN)];
        let whole = subject.forward(&prompts);
        for stretches in [vec![50; 6], vec![40, 260]] {
            let mut cache = new_cache(subject, 2, LEN);
            for len in stretches {
                let begin = cache.len();
                let found = extend(subject, &mut cache, &prompts, len);
                assert_stretch(subject, &found, &whole, begin, &format!("{len} of {LEN}"));
            }
        }
    });
}

#[test]
fn a_cache_with_room_to_spare_gives_the_states_of_a_sequence_of_its_full_length() {
    for_each_decoder(|subject| {
        for len in LENGTHS {
            let prompts = [sequence(4, len)];
            let whole = subject.forward(&prompts);
            let mut cache = new_cache(subject, 1, len);
            let found = extend(subject, &mut cache, &prompts, 10);
            assert_stretch(subject, &found, &whole, 0, &format!("ten of {len}"));
        }
    });
}

#[test]
fn what_was_truncated_leaves_no_trace() {
    for_each_decoder(|subject| {
        for len in LENGTHS {
            let (prompt, other) = ([sequence(5, len)], [sequence(6, len)]);
            let whole = subject.forward(&prompt);
            let mut cache = new_cache(subject, 1, len);
            extend(subject, &mut cache, &prompt, 12);
            extend(subject, &mut cache, &other, len - 12);
            for kept in [12, 9, 0] {
                cache.truncate(kept);
                assert_eq!(cache.len(), kept);
                let found = extend(subject, &mut cache, &prompt, 11);
                assert_stretch(subject, &found, &whole, kept, &format!("after keeping {kept}"));
            }
        }
    });
}

#[test]
fn a_clone_and_its_original_go_their_own_ways() {
    for_each_decoder(|subject| {
        for len in LENGTHS {
            let prompt = [sequence(7, len)];
            let mut fork = prompt.clone();
            fork[0][10..].rotate_left(3);
            let (whole, whole_fork) = (subject.forward(&prompt), subject.forward(&fork));
            let mut cache = new_cache(subject, 1, len);
            extend(subject, &mut cache, &prompt, 10);
            let mut clone = cache.clone();
            for begin in 10..14 {
                let found = extend(subject, &mut clone, &fork, 1);
                assert_stretch(subject, &found, &whole_fork, begin, "clone");
                let found = extend(subject, &mut cache, &prompt, 1);
                assert_stretch(subject, &found, &whole, begin, "original");
            }
        }
    });
}

#[test]
fn a_cache_for_some_blocks_gives_the_states_up_to_them() {
    for_each_decoder(|subject| {
        let prompt = [sequence(8, 24)];
        let whole = subject.forward(&prompt);
        for (depth, deepest) in [Tap::Embedding, Tap::Block(1), Tap::Block(2)].into_iter().enumerate() {
            let taps = &subject.taps()[..=depth];
            let mut cache = subject.decoder.prefix_cache(1, 24, deepest).unwrap();
            for stretch in prompt[0].chunks(5) {
                let begin = cache.len();
                let forward =
                    subject.decoder.extend(&mut cache, &batch(&[stretch]), taps, Logits::None).unwrap();
                let found = states(forward);
                assert_eq!(found.len(), taps.len());
                for (tap, found) in found {
                    subject.assert_all_same(tap, &found[0], &whole[&tap][0][begin..], "shallow cache");
                }
            }
        }
    });
}

#[test]
fn a_cache_is_filled_to_its_depth_whatever_is_read_meanwhile() {
    for_each_decoder(|subject| {
        let prompt = [sequence(9, 24)];
        let whole = subject.forward(&prompt);
        let mut cache = new_cache(subject, 1, 24);
        let head = batch(&[&prompt[0][..16]]);
        let forward = subject.decoder.extend(&mut cache, &head, &[], Logits::None).unwrap();
        assert!(forward.states.is_empty() && forward.logits.is_none());
        let found = extend(subject, &mut cache, &prompt, 8);
        assert_stretch(subject, &found, &whole, 16, "after a silent prefill");
    });
}

#[test]
#[should_panic(expected = "cannot keep 3 of 2 positions")]
fn truncating_to_more_than_is_held_panics() {
    let device = &inject_testing::any_device();
    let decoder = crate::fixture::load("llama", inject_models::FloatFormat::F32, device).decoder;
    let mut cache = decoder.prefix_cache(1, 4, Tap::Block(1)).unwrap();
    decoder.extend(&mut cache, &batch(&[[1, 2]]), &[], Logits::None).unwrap();
    cache.truncate(3);
}

#[test]
fn sequences_that_begin_alike_continue_side_by_side() {
    for_each_decoder(|subject| {
        for len in LENGTHS {
            let begun = sequence(0, len - 2);
            let prompts: Vec<Vec<u32>> =
                (1..4).map(|seed| [&begun[..], &sequence(seed, len)[len - 2..]].concat()).collect();
            let whole = subject.forward(&prompts);
            let mut cache = new_cache(subject, 1, len);
            extend(subject, &mut cache, &prompts[..1], len - 2);
            let mut side_by_side = cache.repeated(3, 2);
            let found = extend(subject, &mut side_by_side, &prompts, 2);
            assert_stretch(subject, &found, &whole, len - 2, &format!("three of {len}"));
            assert_eq!((cache.len(), side_by_side.len()), (len - 2, len));
            let more = subject.decoder.extend(&mut side_by_side, &batch(&[[1], [2], [3]]), &[], Logits::None);
            let error = more.unwrap_err();
            let ModelError::CacheFull { held, capacity, more: 1 } = error else { panic!("{error:?}") };
            assert_eq!((held, capacity), (len, len));
        }
    });
}
