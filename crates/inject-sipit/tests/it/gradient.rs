//! The published searches by gradients, as sources of proposals.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use inject_sipit::{
    Decay, Draft, Gradient, HardPrompts, Inversion, InvertError, Objective, Open, Place, Policy, Proposer,
    Settings, Tap,
};
use proptest::prelude::*;

use crate::small::{invert, random, target};

/// A family with learned positions, and one with rotary positions, windows and a scaled embedding.
const FAMILIES: [&str; 2] = ["gpt2", "gemma3"];

const PROMPT: [u32; 6] = [5, 96, 5, 0, 41, 7];

/// What a source said, call by call.
#[derive(Clone, Debug, Default, PartialEq)]
struct Said {
    drafts: Vec<Vec<u32>>,
    /// The prefix, and the candidates behind it.
    proposals: Vec<(Vec<u32>, Vec<u32>)>,
}

/// A source under observation.
struct Observed<P> {
    source: P,
    said: Arc<Mutex<Said>>,
}

impl<P: Proposer> Proposer for Observed<P> {
    fn name(&self) -> &'static str {
        self.source.name()
    }

    fn draft(&mut self, open: &Open<'_>) -> Result<Option<Draft>, InvertError> {
        let draft = self.source.draft(open)?;
        self.said.lock().unwrap().drafts.extend(draft.clone().map(|draft| draft.ids));
        Ok(draft)
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        let ids = self.source.propose(place)?;
        self.said.lock().unwrap().proposals.push((place.prefix.to_vec(), ids.clone()));
        Ok(ids)
    }
}

/// Inverts the prompt at the last block of a random model, and gives what the source said meanwhile.
fn observe(case: &str, weights: u64, source: impl Proposer + 'static) -> Vec<(Inversion, Said)> {
    let observed = |device| {
        let decoder = random(case, weights, &device);
        let target = target(&decoder, &PROMPT, Tap::Block(decoder.config().n_layers()));
        (decoder, target)
    };
    let mut devices = inject_devices::compiled();
    let said = Arc::new(Mutex::new(Said::default()));
    let mut policy = Policy::new().then(Observed { source, said: said.clone() });
    let mut results = Vec::new();
    for device in devices.drain(..) {
        let (decoder, target) = observed(device);
        let inversion = invert(&decoder, &target, &mut policy, Settings::default()).unwrap();
        results.push((inversion, std::mem::take(&mut *said.lock().unwrap())));
    }
    results
}

/// Steps taken in all: calls that gave candidates.
fn steps(said: &Said) -> usize {
    said.proposals.iter().filter(|(_, ids)| !ids.is_empty()).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn the_published_policy_recovers_the_prompt_and_proposes_no_token_twice(
        weights in any::<u64>(),
        seed in any::<u64>(),
    ) {
        for case in FAMILIES {
            for (inversion, said) in observe(case, weights, Gradient::seeded(seed)) {
                prop_assert_eq!(inversion.token_ids(), PROMPT, "{}", case);
                prop_assert!(inversion.is_verified(), "{case}: {inversion:?}");
                let mut once = HashSet::new();
                for (prefix, ids) in &said.proposals {
                    prop_assert!(ids.len() <= 1);
                    for &id in ids {
                        let new = once.insert((prefix.clone(), id));
                        prop_assert!(new, "{case}: {id} twice behind {prefix:?}");
                    }
                }
                // It needs no help from the scan.
                let found = inversion.positions.iter().all(|position| position.found_by == "gradient");
                prop_assert!(found, "{case}");
            }
        }
    }
}

#[test]
fn every_variant_recovers_the_prompt() {
    for case in FAMILIES {
        for source in [
            Gradient::seeded(2).minimising(Objective::MeanSquaredDifference),
            Gradient::seeded(2).decaying(Decay::EveryWindow),
            Gradient::seeded(2).decaying(Decay::Never),
            Gradient::seeded(2).with_step_size(0.3).snapping(16),
            Gradient::seeded(2).at_most(3),
        ] {
            for (inversion, _) in observe(case, 11, source.clone()) {
                assert_eq!(inversion.token_ids(), PROMPT, "{case}, {source:?}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_candidates() {
    for case in FAMILIES {
        let said = |seed| {
            observe(case, 7, Gradient::seeded(seed)).into_iter().map(|(_, said)| said).collect::<Vec<_>>()
        };
        assert_eq!(said(3), said(3), "{case}");
        assert_ne!(said(3), said(4), "{case}");
    }
}

#[test]
fn a_source_that_served_before_gives_what_a_new_one_gives() {
    let device = inject_devices::compiled().remove(0);
    let decoder = random("gpt2", 7, &device);
    let tap = Tap::Block(2);
    let other = target(&decoder, &[9, 9, 1], tap);
    let wanted = target(&decoder, &PROMPT, tap);
    let said = Arc::new(Mutex::new(Said::default()));
    let mut policy = Policy::new().then(Observed { source: Gradient::seeded(3), said: said.clone() });
    let mut inverted = |target| {
        invert(&decoder, target, &mut policy, Settings::default()).unwrap();
        std::mem::take(&mut *said.lock().unwrap())
    };
    let first = inverted(&wanted);
    inverted(&other);
    assert_eq!(inverted(&wanted), first);
}

#[test]
fn more_candidates_a_step_need_no_more_steps() {
    for case in FAMILIES {
        for weights in 0..4 {
            let single = observe(case, weights, Gradient::seeded(5));
            let batched = observe(case, weights, Gradient::seeded(5).snapping(8));
            for ((_, single), (inversion, batched)) in single.iter().zip(&batched) {
                assert_eq!(inversion.token_ids(), PROMPT);
                assert!(steps(batched) <= steps(single), "{case}: {} {}", steps(batched), steps(single));
                assert!(batched.proposals.iter().all(|(_, ids)| ids.len() <= 8));
            }
        }
    }
}

#[test]
fn a_bounded_search_leaves_the_rest_to_the_scan() {
    for (inversion, said) in observe("gpt2", 1, Gradient::seeded(6).at_most(2)) {
        assert_eq!(inversion.token_ids(), PROMPT);
        for position in 0..PROMPT.len() {
            let here =
                said.proposals.iter().filter(|(prefix, ids)| prefix.len() == position && !ids.is_empty());
            // The random token, and one candidate for each step.
            assert!(here.count() <= 3);
        }
        assert!(inversion.positions.iter().any(|position| position.found_by == "scan"));
    }
}

#[test]
fn hard_prompts_draft_one_valid_prompt_and_the_scan_repairs_it() {
    for case in FAMILIES {
        let draft = |seed| {
            let results = observe(case, 13, HardPrompts::seeded(seed).at_most(40));
            let drafts = results.into_iter().map(|(inversion, said)| {
                assert_eq!(inversion.token_ids(), PROMPT, "{case}");
                assert!(inversion.is_verified(), "{case}");
                assert!(said.proposals.iter().all(|(_, ids)| ids.is_empty()));
                said.drafts
            });
            drafts.collect::<Vec<_>>()
        };
        for drafts in draft(1) {
            let [ids] = drafts.as_slice() else { panic!("{case}: {drafts:?}") };
            assert_eq!(ids.len(), PROMPT.len());
            assert!(ids.iter().all(|&id| id < 97));
        }
        assert_eq!(draft(1), draft(1), "{case}");
        assert_ne!(draft(1), draft(2), "{case}");
    }
}

#[test]
fn hard_prompts_find_the_prompt_where_states_are_embeddings() {
    let device = inject_devices::compiled().remove(0);
    for case in FAMILIES {
        let decoder = random(case, 17, &device);
        // There the loss is the distance between the points and the rows wanted, which has no other minimum.
        let target = target(&decoder, &PROMPT, Tap::Embedding);
        let said = Arc::new(Mutex::new(Said::default()));
        let source = Observed { source: HardPrompts::seeded(1), said: said.clone() };
        let inversion =
            invert(&decoder, &target, &mut Policy::new().then(source), Settings::default()).unwrap();
        let drafts = std::mem::take(&mut said.lock().unwrap().drafts);
        assert_eq!(drafts, [PROMPT.to_vec()], "{case}");
        assert!(inversion.positions.iter().all(|position| position.found_by == "draft"), "{case}");
    }
}
