//! Many candidates for one next token, over one cached prefix.

use inject_models::{Logits, PrefixCache, Tap};

use super::{LENGTHS, Subject, VOCAB_SIZE, batch, for_each_decoder, sequence, states};
use crate::fixture::values;

/// A cache that holds the first tokens of a prompt.
fn filled(subject: &Subject, prompt: &[u32], held: usize) -> PrefixCache {
    let mut cache = subject.decoder.prefix_cache(1, prompt.len(), Tap::FinalNorm).unwrap();
    if held > 0 {
        subject.decoder.extend(&mut cache, &batch(&[&prompt[..held]]), &[], Logits::None).unwrap();
    }
    cache
}

/// The state of each candidate.
fn candidates(subject: &Subject, cache: &PrefixCache, ids: &[u32], tap: Tap) -> Vec<Vec<f64>> {
    let found = subject.decoder.candidates(cache, ids, tap).unwrap();
    let d_model = subject.decoder.config().d_model;
    assert_eq!(found.dims(), [ids.len(), d_model]);
    values(found).chunks(d_model).map(<[f64]>::to_vec).collect()
}

#[test]
fn every_candidate_has_the_state_it_has_in_its_place_of_a_whole_sequence() {
    let vocabulary: Vec<u32> = (0..VOCAB_SIZE).collect();
    for_each_decoder(|subject| {
        for len in LENGTHS {
            let prompt = sequence(10, len);
            // The empty prefix; all but one, all, and all but one again of a window of eight; the last place.
            for held in [0, 1, 7, 8, 20, len - 1] {
                let cache = filled(subject, &prompt, held);
                // The whole sequence has the cache's full length: LongRoPE chooses by it.
                let whole: Vec<Vec<u32>> = vocabulary
                    .iter()
                    .map(|&id| [&prompt[..held], &[id], &prompt[held + 1..]].concat())
                    .collect();
                let expected = subject.forward(&whole);
                for tap in subject.taps() {
                    let found = candidates(subject, &cache, &vocabulary, tap);
                    for (id, found) in found.iter().enumerate() {
                        let what = format!("candidate {id} after {held} of {len}");
                        subject.assert_same(tap, found, &expected[&tap][id][held], &what);
                    }
                }
            }
        }
    });
}

#[test]
fn a_candidate_has_the_same_state_in_any_company() {
    for_each_decoder(|subject| {
        let cache = filled(subject, &sequence(11, 24), 13);
        for tap in subject.taps() {
            let together = candidates(subject, &cache, &sequence(12, 70), tap);
            for (i, &id) in sequence(12, 70).iter().enumerate().step_by(9) {
                let alone = candidates(subject, &cache, &[id], tap);
                subject.assert_same(tap, &alone[0], &together[i], &format!("candidate {id}"));
            }
        }
    });
}

#[test]
fn candidates_do_not_enter_the_cache() {
    for_each_decoder(|subject| {
        let prompt = sequence(13, 24);
        let whole = subject.forward(&[&prompt]);
        let mut cache = filled(subject, &prompt, 9);
        for held in 9..13 {
            candidates(subject, &cache, &sequence(14, 40), Tap::FinalNorm);
            assert_eq!(cache.len(), held);
            let next = batch(&[&prompt[held..=held]]);
            let forward = subject.decoder.extend(&mut cache, &next, &subject.taps(), Logits::None).unwrap();
            for (tap, found) in states(forward) {
                subject.assert_all_same(tap, &found[0], &whole[&tap][0][held..], "after candidates");
            }
        }
    });
}
