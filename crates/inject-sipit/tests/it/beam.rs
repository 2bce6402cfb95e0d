//! Where two tokens fit, both are followed; a later position may distinguish them, and nothing else may.

mod drafted;

use crate::{
    small::{FAMILIES, exhaustive, invert, random, random_decoders, target, with_equal_rows},
    sources::{Simple, SimplePolicy},
};
use burn::tensor::Device;
use inject_sipit::{
    Acceptance, Inversion, InvertError, Policy, Settings, TargetStates, Verdict,
    collisions::{distance, norm},
    models::{Decoder, FloatFormat, Tap},
    settings::Scan,
    sources::{OpenPosition, Turn},
};
use ndarray::Array2;

const PROMPT: [u32; 6] = [5, 41, 7, 63, 12, 30];

const VOCAB: usize = 97;

/// A prompt, the position with the smallest margin, and the token that comes nearest there. Noise can then be made under which
/// both fit at that position, and none but the truth's own continuation anywhere else.
struct Fork {
    decoder: Decoder,
    tap: Tap,
    states: Array2<f64>,
    at: usize,
    other: u32,
    /// The states of the same prompt with the other token there.
    other_states: Array2<f64>,
    /// The distance of the two tokens' states at the position itself.
    apart: f64,
}

impl Fork {
    fn new(case: &str, seed: u64, device: &Device) -> Self {
        let decoder = random(case, seed, device);
        Fork::of(decoder.clone(), Tap::Block(decoder.config().n_layers()))
    }

    /// One in which the fork moves no later state as far as its own: both prompts can fit everywhere.
    fn closed(case: &str, device: &Device) -> Self {
        let small = |fork: &Fork| {
            (fork.at + 1..PROMPT.len()).all(|position| fork.apart_at(position) < 0.98 * fork.apart)
        };
        (21..40).map(|seed| Fork::new(case, seed, device)).find(small).unwrap()
    }

    fn of(decoder: Decoder, tap: Tap) -> Self {
        let target_of = |prompt: &[u32]| target(&decoder, prompt, tap);
        let whole = exhaustive(&decoder, &target_of(&PROMPT)).unwrap();
        // Two positions must follow.
        let narrowest = whole.positions[..PROMPT.len() - 2].iter();
        let narrowest = narrowest.min_by(|a, b| a.margin().unwrap().total_cmp(&b.margin().unwrap())).unwrap();
        let (at, other) = (narrowest.position, narrowest.runner_up().unwrap().id);
        let mut swapped = PROMPT;
        swapped[at] = other;
        let states = target_of(&PROMPT).states().to_owned();
        let other_states = target_of(&swapped).states().to_owned();
        let mut fork = Fork { decoder, tap, states, at, other, other_states, apart: 0.0 };
        fork.apart = fork.apart_at(at);
        fork
    }

    /// The distance of the two prompts' states at a position.
    fn apart_at(&self, position: usize) -> f64 {
        norm(&(&self.other_states.row(position) - &self.states.row(position)).to_vec())
    }

    /// The states moved towards the other prompt's by so many times `apart`, position by position from the fork on.
    fn moved(&self, by: &[f64]) -> TargetStates {
        let mut states = self.states.clone();
        for (position, &by) in (self.at..).zip(by) {
            let towards = &self.other_states.row(position) - &self.states.row(position);
            let length = norm(&towards.to_vec());
            if length > 0.0 {
                states.row_mut(position).scaled_add(by * self.apart / length, &towards);
            }
        }
        TargetStates::new(states, self.tap, FloatFormat::F64).unwrap()
    }

    /// Every candidate tested at every position, noise up to this many times `apart`.
    fn settings(&self, added: f64) -> Settings {
        let acceptance = Acceptance::NoiseFloor { added: added * self.apart };
        Settings::new().with_acceptance(acceptance).with_rivals(VOCAB - 1)
    }

    fn invert(&self, target: &TargetStates, settings: Settings) -> Inversion {
        invert(&self.decoder, target, &Policy::new(), settings).unwrap()
    }

    /// The distance of the nearest candidate at a position after the other token.
    fn nearest_after_other(&self, target: &TargetStates, position: usize) -> f64 {
        let mut prompt = PROMPT[..=position].to_vec();
        prompt[self.at] = self.other;
        let distances = (0..VOCAB as u32).map(|id| {
            prompt[position] = id;
            // The length of the whole prompt, as LongRoPE asks for.
            let whole = [&prompt[..], &PROMPT[position + 1..]].concat();
            let states = crate::small::target(&self.decoder, &whole, self.tap).states().to_owned();
            distance(&states.row(position).to_vec(), &target.states().row(position).to_vec())
        });
        distances.fold(f64::INFINITY, f64::min)
    }
}

/// The tokens an ambiguous position names, in order of their ids.
fn named(verdict: &Verdict) -> Vec<u32> {
    let Verdict::Ambiguous { candidates, .. } = verdict else { panic!("{verdict:?}") };
    // Equally near ones, which differ by rounding in f32 alone, stand in the order of the model's expectation.
    let in_order = candidates.is_sorted_by(|a, b| a.distance <= b.distance + 1e-4);
    assert!(in_order, "nearest first: {candidates:?}");
    let mut ids: Vec<u32> = candidates.iter().map(|candidate| candidate.id).collect();
    ids.sort_unstable();
    ids
}

fn sorted(mut ids: Vec<u32>) -> Vec<u32> {
    ids.sort_unstable();
    ids
}

#[test]
fn a_later_position_rules_out_the_nearer_of_two_tokens_that_fit() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let fork = Fork::new(case, 21, &device);
            // The wrong token lies nearer; the next state decides, because noise moved it away from the wrong prompt's.
            let target = fork.moved(&[0.52, -0.45]);
            let settings = fork.settings(0.53);
            for settings in [settings.clone(), settings.with_scan(Scan::Whole).with_rivals(0)] {
                let inversion = fork.invert(&target, settings);
                assert_eq!(inversion.token_ids(), PROMPT, "{case}");
                assert!(inversion.is_verified(), "{case}: {inversion:?}");
                let position = &inversion.positions[fork.at];
                assert_eq!(
                    position.verdict,
                    Verdict::Verified,
                    "{case}: what was ambiguous is never certain"
                );
                assert_eq!(position.runner_up().unwrap().id, fork.other, "{case}");
                assert!(position.margin().unwrap() < 0.0, "{case}: {position:?}");
                let [ruled_out] = &position.ruled_out[..] else { panic!("{case}: {position:?}") };
                assert_eq!((ruled_out.token_id, ruled_out.at_position), (fork.other, fork.at + 1), "{case}");
                assert_eq!(ruled_out.candidates_tested, VOCAB, "{case}");
                let tolerance = 1e-3 * fork.apart;
                assert!((ruled_out.distance - 0.48 * fork.apart).abs() <= tolerance, "{case}: {ruled_out:?}");
                let nearest = fork.nearest_after_other(&target, fork.at + 1);
                assert!((ruled_out.nearest - nearest).abs() <= tolerance, "{case}: {ruled_out:?}, {nearest}");
                let others = inversion.positions.iter().filter(|position| position.position != fork.at);
                assert!(others.into_iter().all(|position| position.ruled_out.is_empty()), "{case}");
            }
        }
    }
}

#[test]
fn both_tokens_are_followed_until_something_tells() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let fork = Fork::closed(case, &device);
            // Half-way between the two prompts at the next position too; both fit there.
            let half_way = 0.5 * fork.apart_at(fork.at + 1) / fork.apart;
            let target = fork.moved(&[0.5, half_way, -0.5]);
            let inversion = fork.invert(&target, fork.settings(0.51));
            assert_eq!(inversion.token_ids(), PROMPT, "{case}");
            assert!(inversion.is_verified(), "{case}: {inversion:?}");
            let [ruled_out] = &inversion.positions[fork.at].ruled_out[..] else { panic!("{case}") };
            assert_eq!((ruled_out.token_id, ruled_out.at_position), (fork.other, fork.at + 2), "{case}");
        }
    }
}

#[test]
fn tokens_that_nothing_tells_apart_stay_ambiguous() {
    for (case, decoder) in random_decoders(21) {
        // No later state depends on an embedding.
        let fork = Fork::of(decoder, Tap::Embedding);
        let target = fork.moved(&[0.49]);
        let inversion = fork.invert(&target, fork.settings(0.52));
        assert_eq!(inversion.token_ids(), PROMPT, "{case}: the nearer is kept");
        assert!(!inversion.is_verified(), "{case}");
        for position in &inversion.positions {
            match position.position == fork.at {
                true => {
                    let both = sorted(vec![PROMPT[fork.at], fork.other]);
                    assert_eq!(named(&position.verdict), both, "{case}");
                }
                false => assert_eq!(position.verdict, Verdict::Verified, "{case}: {position:?}"),
            }
            assert!(position.ruled_out.is_empty(), "{case}");
        }
    }
}

#[test]
fn a_token_dropped_for_want_of_room_is_not_ruled_out() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let fork = Fork::new(case, 21, &device);
            let both = sorted(vec![PROMPT[fork.at], fork.other]);
            let narrow = |added| fork.settings(added).with_beam(1);
            // The truth is nearer and everything fits after it. With room for both, the other would have been excluded.
            let inversion = fork.invert(&fork.moved(&[0.48, -0.45]), narrow(0.53));
            assert_eq!(inversion.token_ids(), PROMPT, "{case}");
            assert_eq!(named(&inversion.positions[fork.at].verdict), both, "{case}");
            assert!(inversion.positions[fork.at].ruled_out.is_empty(), "{case}");

            // The wrong token is nearer, and nothing fits after it.
            let inversion = fork.invert(&fork.moved(&[0.52, -0.45]), narrow(0.53));
            assert_eq!(inversion.positions.len(), PROMPT.len(), "{case}");
            assert_eq!(inversion.positions[fork.at].token_id(), Some(fork.other), "{case}");
            assert_eq!(named(&inversion.positions[fork.at].verdict), both, "{case}");
            assert_eq!(inversion.first_failure().unwrap().position, fork.at + 1, "{case}");
            assert!(!inversion.is_verified(), "{case}");
        }
    }
}

/// Proposes both tokens at the fork. After that it proposes the truth first after the wrong one, and last after the true one.
struct Misleading {
    at: usize,
    other: u32,
}

impl Simple for Misleading {
    fn name(&self) -> &'static str {
        "misleading"
    }

    fn propose(&self, at: &OpenPosition<'_>, _: &Turn<'_>) -> Result<Vec<u32>, InvertError> {
        let truth = PROMPT[at.position()];
        let late = (0..VOCAB as u32).filter(|&id| id != truth && !at.tested.contains(id));
        Ok(match at.position() {
            position if position < self.at => vec![truth],
            position if position == self.at => vec![truth, self.other],
            _ if PROMPT.starts_with(at.prefix) => late.take(1).collect(),
            _ => vec![truth],
        })
    }
}

#[test]
fn a_prompt_is_not_given_up_because_its_next_token_was_not_tested_yet() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let fork = Fork::closed(case, &device);
            // Every position from the fork on fits both prompts.
            let half_way = |position: usize| 0.5 * fork.apart_at(position) / fork.apart;
            let target = fork.moved(&(fork.at..PROMPT.len()).map(half_way).collect::<Vec<_>>());
            let settings = fork.settings(0.51).with_rivals(0);
            let policy = Policy::new().simple(Misleading { at: fork.at, other: fork.other });
            let inversion = invert(&fork.decoder, &target, &policy, settings).unwrap();
            assert!(inversion.token_ids() == PROMPT || !inversion.is_verified(), "{case}: {inversion:?}");
            let both = sorted(vec![PROMPT[fork.at], fork.other]);
            assert_eq!(named(&inversion.positions[fork.at].verdict), both, "{case}");
        }
    }
}

#[test]
fn equal_rows_stay_ambiguous_wherever_they_stand_however_wide_the_beam() {
    let prompt = [3, 11, 5, 12, 11, 7, 12, 11];
    let twins = [11, 12];
    for decoder in inject_testing::on_each(|device| with_equal_rows(11, [12], device)) {
        let target = target(&decoder, &prompt, Tap::Block(2));
        // 2^5 prompts have these states.
        for beam in [1, 2, 8, 64] {
            for scan in [Scan::AsNeeded, Scan::Whole] {
                let settings = Settings::new().with_beam(beam).with_scan(scan).with_rivals(VOCAB - 1);
                let inversion = invert(&decoder, &target, &Policy::new(), settings).unwrap();
                for (position, token) in inversion.positions.iter().zip(prompt) {
                    match twins.contains(&token) {
                        true => assert_eq!(named(&position.verdict), twins, "{beam}, {scan:?}: {position:?}"),
                        false => assert_eq!(position.token_id(), Some(token), "{beam}, {scan:?}"),
                    }
                    assert!(position.ruled_out.is_empty(), "{beam}, {scan:?}: {position:?}");
                }
            }
        }
    }
}
