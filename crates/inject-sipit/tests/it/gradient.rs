//! The published searches by gradients, as sources of proposals.

mod hard_prompts;
mod published;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use inject_sipit::{
    Inversion, InvertError, Policy, Settings,
    models::{FloatFormat, Hold, Model, Origin, Precision, Tap},
    settings::Budget,
    sources::{
        Draft, Gradient, HardPrompts, Objective, OpenPosition, Prompt, Provisional, Session, Source,
        StepDecay, Turn,
    },
};
use proptest::prelude::*;

use crate::{
    small::{batches, invert, random, target},
    sources::{Simple, SimplePolicy},
};

/// A family with learned positions, and one with rotary positions, windows and a scaled embedding.
const FAMILIES: [&str; 2] = ["gpt2", "gemma3"];

const PROMPT: [u32; 6] = [5, 96, 5, 0, 41, 7];

/// The answers of a source, call by call.
#[derive(Clone, Debug, Default, PartialEq)]
struct Said {
    drafts: Vec<Vec<u32>>,
    /// The prefix, and the candidates after it.
    proposals: Vec<(Vec<u32>, Vec<u32>)>,
}

/// A source under observation.
struct Observed<P> {
    source: P,
    said: Arc<Mutex<Said>>,
}

impl<P: Source> Source for Observed<P> {
    type Memory = P::Memory;

    fn name(&self) -> &'static str {
        self.source.name()
    }

    fn begin<'a>(&'a self, prompt: &Prompt<'_>) -> Result<Box<dyn Session<P::Memory> + 'a>, InvertError> {
        Ok(Box::new(ObservedSession { session: self.source.begin(prompt)?, said: &self.said }))
    }
}

/// A session under observation.
struct ObservedSession<'a, M> {
    session: Box<dyn Session<M> + 'a>,
    said: &'a Mutex<Said>,
}

impl<M> Session<M> for ObservedSession<'_, M> {
    fn draft(
        &mut self,
        at: &OpenPosition<'_>,
        seen: &Provisional,
        memory: &mut M,
    ) -> Result<Option<Draft>, InvertError> {
        let draft = self.session.draft(at, seen, memory)?;
        self.said.lock().unwrap().drafts.extend(draft.clone().map(|draft| draft.ids));
        Ok(draft)
    }

    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        turn: &Turn<'_>,
        memory: &mut M,
    ) -> Result<Vec<u32>, InvertError> {
        let ids = self.session.propose(at, turn, memory)?;
        self.said.lock().unwrap().proposals.push((at.prefix.to_vec(), ids.clone()));
        Ok(ids)
    }
}

/// Inverts the prompt at the last block of a random model, and gives the answers of the source.
fn observe(case: &str, weights: u64, source: impl Source + 'static) -> Vec<(Inversion, Said)> {
    let observed = |device| {
        let decoder = random(case, weights, &device);
        let target = target(&decoder, &PROMPT, Tap::Block(decoder.config().n_layers()));
        (decoder, target)
    };
    let mut devices = inject_testing::compiled();
    let said = Arc::new(Mutex::new(Said::default()));
    let policy = Policy::new().then(Observed { source, said: said.clone() });
    let mut results = Vec::new();
    for device in devices.drain(..) {
        let (decoder, target) = observed(device);
        let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
        results.push((inversion, std::mem::take(&mut *said.lock().unwrap())));
    }
    results
}

/// Steps taken in all: calls that gave candidates.
fn steps(said: &Said) -> usize {
    said.proposals.iter().filter(|(_, ids)| !ids.is_empty()).count()
}

#[test]
fn a_descent_takes_the_same_steps_however_weights_are_held() {
    let folder = inject_testing::models::folder("llama-bf16-shards");
    let drafts = |hold: Hold| {
        let precision = Precision::new(hold, FloatFormat::F32);
        let device = inject_testing::any_device();
        let decoder = Model::load(Origin::of_folder(&folder), precision, &device).unwrap().decoder;
        assert_eq!(decoder.held_in_files() > 0, hold == Hold::Stored);
        let target = target(&decoder, &PROMPT, Tap::Block(1));
        let said = Arc::new(Mutex::new(Said::default()));
        let source = HardPrompts::seeded(3).at_most(20);
        let policy = Policy::new().then(Observed { source, said: said.clone() });
        invert(&decoder, &target, &policy, Settings::new()).unwrap();
        said.lock().unwrap().drafts.clone()
    };
    let expected = drafts(Hold::Computed);
    assert!(!expected.is_empty());
    assert_eq!(drafts(Hold::Stored), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn the_published_policy_recovers_the_prompt_and_proposes_no_token_twice(
        weights in any::<u64>(),
        seed in any::<u64>(),
    ) {
        for case in FAMILIES {
            for (inversion, said) in observe(case, weights, Gradient::printed(seed)) {
                prop_assert_eq!(inversion.token_ids(), PROMPT, "{}", case);
                prop_assert!(inversion.is_verified(), "{case}: {inversion:?}");
                let mut once = HashSet::new();
                for (prefix, ids) in &said.proposals {
                    prop_assert!(ids.len() <= 1);
                    for &id in ids {
                        let new = once.insert((prefix.clone(), id));
                        prop_assert!(new, "{case}: {id} twice after {prefix:?}");
                    }
                }
                // It needs no help from the scan.
                let found = inversion.positions.iter().all(|position| position.found_by() == Some("gradient"));
                prop_assert!(found, "{case}");
            }
        }
    }
}

#[test]
fn every_variant_recovers_the_prompt() {
    for case in FAMILIES {
        for source in [
            Gradient::printed(2).minimising(Objective::MeanSquaredDifference),
            Gradient::printed(2).decaying(StepDecay::EveryWindow),
            Gradient::printed(2).decaying(StepDecay::Never),
            Gradient::printed(2).with_step_size(0.3).snapping(batches(16)),
            Gradient::printed(2).at_most(3),
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
            observe(case, 7, Gradient::printed(seed)).into_iter().map(|(_, said)| said).collect::<Vec<_>>()
        };
        assert_eq!(said(3), said(3), "{case}");
        assert_ne!(said(3), said(4), "{case}");
    }
}

#[test]
fn a_source_that_served_before_answers_like_a_new_one() {
    let device = inject_testing::any_device();
    let decoder = random("gpt2", 7, &device);
    let tap = Tap::Block(2);
    let other = target(&decoder, &[9, 9, 1], tap);
    let wanted = target(&decoder, &PROMPT, tap);
    let said = Arc::new(Mutex::new(Said::default()));
    let policy = Policy::new().then(Observed { source: Gradient::printed(3), said: said.clone() });
    let inverted = |target| {
        invert(&decoder, target, &policy, Settings::new()).unwrap();
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
            let single = observe(case, weights, Gradient::printed(5));
            let batched = observe(case, weights, Gradient::printed(5).snapping(batches(8)));
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
    for (inversion, said) in observe("gpt2", 1, Gradient::printed(6).at_most(2)) {
        assert_eq!(inversion.token_ids(), PROMPT);
        for position in 0..PROMPT.len() {
            let here =
                said.proposals.iter().filter(|(prefix, ids)| prefix.len() == position && !ids.is_empty());
            // One candidate for each step.
            assert!(here.count() <= 2);
        }
        assert!(inversion.positions.iter().any(|position| position.found_by() == Some("scan")));
    }
}

/// Notes until when it may draft.
struct Hurried(Arc<Mutex<Vec<Option<Instant>>>>);

impl Simple for Hurried {
    fn name(&self) -> &'static str {
        "hurried"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        self.0.lock().unwrap().push(at.deadline);
        Ok(None)
    }
}

#[test]
fn a_source_is_told_when_the_time_of_the_prompt_is_up() {
    let device = inject_testing::any_device();
    let decoder = random("gpt2", 7, &device);
    let target = target(&decoder, &PROMPT, Tap::Block(1));
    let deadlines = |time| {
        let told = Arc::default();
        let policy = Policy::new().simple(Hurried(Arc::clone(&told)));
        let budget = Budget::unlimited().with_time(time);
        let settings = Settings::new().with_budget(budget);
        invert(&decoder, &target, &policy, settings).unwrap();
        std::mem::take(&mut *told.lock().unwrap())
    };
    assert!(deadlines(None).iter().all(Option::is_none));
    let hour = Duration::from_secs(3600);
    let begun = Instant::now();
    let told = deadlines(Some(hour));
    assert!(told.len() >= PROMPT.len());
    // One time for all positions.
    assert!(told.iter().all(|deadline| *deadline == told[0]));
    assert!(told[0].is_some_and(|deadline| (begun + hour..=Instant::now() + hour).contains(&deadline)));
}
