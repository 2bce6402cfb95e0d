//! Drafts change the cost of a prompt, and never the prompt.

mod alternatives;
mod second;

use crate::{
    small::{FAMILIES, decoders, exhaustive, invert, model, random, target},
    sources::{Liar, Simple, SimplePolicy, Told},
};
use inject_sipit::{
    Inversion, InvertError, Policy, Settings, TargetStates, Verdict,
    inversion::StageCost,
    models::Tap,
    settings::Scan,
    sources::{Draft, OpenPosition, Provisional},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;

/// Longer than the windows of the small models.
const PROMPT: [u32; 12] = [5, 96, 5, 0, 41, 7, 7, 63, 12, 30, 88, 1];

const VOCAB: usize = 97;

/// The same prompt with other tokens at some positions.
fn planted(wrong: &[usize]) -> Vec<u32> {
    let mut draft = PROMPT.to_vec();
    wrong.iter().for_each(|&at| draft[at] = (draft[at] + 1) % VOCAB as u32);
    draft
}

fn stage(inversion: &Inversion, name: &str) -> StageCost {
    inversion.cost.stages().get(name).copied().unwrap_or_default()
}

#[test]
fn a_true_draft_costs_one_test_a_position_and_nothing_else() {
    for (case, decoder) in decoders() {
        for tap in Tap::all(decoder.config().n_layers()) {
            let target = target(&decoder, &PROMPT, tap);
            let policy = Policy::new().simple(Told::one(&target, &PROMPT));
            let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}, {tap}");
            for position in &inversion.positions {
                assert_eq!(position.verdict, Verdict::Verified, "{case}, {tap}: {position:?}");
                assert_eq!((position.found_by(), position.candidates_tested), (Some("draft"), 1));
                assert_eq!((position.runner_up(), position.margin()), (None, None));
            }
            let draft = stage(&inversion, "draft");
            assert_eq!((draft.candidates, draft.states), (PROMPT.len(), PROMPT.len()));
            assert_eq!(inversion.candidates_tested(), PROMPT.len());
            assert_eq!(inversion.cost.forward_passes(PROMPT.len()), 1.0);
            assert_eq!(draft.batches, 1.0);
        }
    }
}

#[test]
fn wrong_tokens_in_a_draft_are_repaired_and_counted() {
    let last = PROMPT.len() - 1;
    for (case, decoder) in decoders() {
        let tap = Tap::Block(decoder.config().n_layers());
        let target = target(&decoder, &PROMPT, tap);
        for wrong in [vec![0], vec![last], vec![3, 4], vec![0, 1, 6, last], (0..=last).collect()] {
            let policy = Policy::new().simple(Told::one(&target, &planted(&wrong)));
            let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}, {wrong:?}");
            for position in &inversion.positions {
                let expected = match wrong.contains(&position.position) {
                    true => (Some("scan"), VOCAB),
                    false => (Some("draft"), 1),
                };
                assert_eq!((position.found_by(), position.candidates_tested), expected, "{case}, {wrong:?}");
            }
            // Every position of the draft is compared once. A pass begins at the token repaired last, whose key and value
            // the cache lacks, and computes all positions from there on.
            let again: usize = wrong.iter().filter(|&&at| at < last).map(|at| PROMPT.len() - at).sum();
            let draft = stage(&inversion, "draft");
            assert_eq!(draft.candidates, PROMPT.len(), "{case}, {wrong:?}");
            assert_eq!(draft.states, PROMPT.len() + again, "{case}, {wrong:?}");
            let scan = stage(&inversion, "scan");
            let scanned = wrong.len() * (VOCAB - 1);
            assert_eq!((scan.candidates, scan.states), (scanned, scanned), "{case}, {wrong:?}");
        }
    }
}

#[test]
fn keys_and_values_that_no_draft_computed_are_counted_too() {
    for (case, decoder) in decoders() {
        for tap in [Tap::Embedding, Tap::Block(decoder.config().n_layers())] {
            let target = target(&decoder, &PROMPT, tap);
            let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}, {tap}");
            // Another token is looked for after every token but the last.
            let (prefix, later) = (stage(&inversion, "prefix"), PROMPT.len() - 1);
            assert_eq!((prefix.states, prefix.batches), (later, later as f64), "{case}, {tap}");
            assert_eq!(prefix.candidates, 0, "{case}, {tap}");
            let states = stage(&inversion, "scan").states + later;
            let passes = states as f64 / PROMPT.len() as f64;
            assert_eq!(inversion.cost.forward_passes(PROMPT.len()), passes, "{case}, {tap}");
        }
    }
}

#[test]
fn measuring_noise_again_for_a_length_is_counted() {
    for device in inject_testing::compiled() {
        // LongRoPE's other frequencies begin after 32 positions.
        let decoder = model("phi4", &device).decoder;
        for (len, measured) in [(12, 0), (40, 40 + 8 * (1 + 63 + 1))] {
            let prompt: Vec<u32> = PROMPT.into_iter().cycle().take(len).collect();
            let target = target(&decoder, &prompt, Tap::Block(2));
            let policy = Policy::new().simple(Told::one(&target, &prompt));
            let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), prompt);
            assert_eq!(stage(&inversion, "noise").states, measured, "{len} tokens");
            assert_eq!(stage(&inversion, "noise").candidates, 0, "{len} tokens");
        }
    }
}

/// Drafts the truth, and counts how often.
struct Asked(Arc<AtomicUsize>);

impl Simple for Asked {
    fn name(&self) -> &'static str {
        "asked"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Some(PROMPT[at.prefix.len()..].to_vec().into()))
    }
}

#[test]
fn a_draft_is_computed_in_parts_that_memory_has_room_for() {
    let device = inject_testing::any_device();
    for case in FAMILIES {
        let decoder = model(case, &device).decoder;
        let target = target(&decoder, &PROMPT, Tap::Block(2));
        let row = decoder.bytes_per_token(PROMPT.len(), 1);
        for rows in [1, 3, PROMPT.len()] {
            let asked = Arc::new(AtomicUsize::new(0));
            let settings = Settings::new().with_memory_budget(rows * row);
            let policy = Policy::new().simple(Asked(asked.clone()));
            let inversion = invert(&decoder, &target, &policy, settings).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}");
            assert_eq!(asked.load(Ordering::Relaxed), PROMPT.len().div_ceil(rows), "{case}, {rows} rows");
        }
        let too_small = Settings::new().with_memory_budget(row - 1);
        let refused = invert(&decoder, &target, &Policy::new(), too_small).unwrap_err();
        let InvertError::MemoryBudget { found, expected } = refused else { panic!("{case}: {refused}") };
        assert_eq!((found, expected), (row - 1, row), "{case}");
    }
}

#[test]
fn no_lie_prevents_recovery() {
    for (case, decoder) in decoders() {
        for (seed, tap) in Tap::all(decoder.config().n_layers()).into_iter().enumerate() {
            let target = target(&decoder, &PROMPT, tap);
            let policy = Policy::new().simple(Liar::seeded(seed as u64)).simple(Liar::seeded(99));
            let inversion = invert(&decoder, &target, &policy, Settings::new())
                .unwrap_or_else(|error| panic!("{case}, {tap}: {error}"));
            assert_eq!(inversion.token_ids(), PROMPT, "{case}, {tap}");
            assert!(inversion.is_verified(), "{case}, {tap}");
            assert!(inversion.candidates_tested() <= PROMPT.len() * VOCAB, "{case}, {tap}");
            assert!(inversion.positions.iter().all(|position| position.candidates_tested <= VOCAB));
        }
    }
}

/// The parts of two inversions that do not depend on rounding or on the sources.
fn same(a: &Inversion, b: &Inversion) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.positions.len(), b.positions.len());
    for (a, b) in a.positions.iter().zip(&b.positions) {
        prop_assert_eq!((a.token_id(), &a.verdict), (b.token_id(), &b.verdict));
        prop_assert_eq!(a.candidates_tested, b.candidates_tested);
        let apart = a.margin().unwrap() - b.margin().unwrap();
        prop_assert!(apart.abs() <= 2.0 * a.noise_floor().unwrap(), "{a:?} {b:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn whatever_is_drafted_the_result_is_that_of_the_exhaustive_scan(
        seed in any::<u64>(),
        prompt in prop::collection::vec(0_u32..97, 1..12),
        noise in prop::collection::vec(prop::option::of(0_u32..97), 0..16),
        tap in any::<prop::sample::Index>(),
    ) {
        // The prompt with some tokens exchanged; cut short, or with more at the end.
        let truth = prompt.iter().copied().map(Some).chain(std::iter::repeat(None));
        let draft: Vec<u32> =
            noise.iter().zip(truth).map(|(noise, truth)| noise.or(truth).unwrap_or(0)).collect();
        for device in inject_testing::compiled() {
            for case in FAMILIES {
                let decoder = random(case, seed, &device);
                let taps = Tap::all(decoder.config().n_layers());
                let target: TargetStates = target(&decoder, &prompt, taps[tap.index(taps.len())]);
                let drafted = |scan| {
                    let settings = Settings::new().with_scan(scan);
                    let policy = Policy::new().simple(Told::one(&target, &draft));
                    invert(&decoder, &target, &policy, settings).unwrap()
                };
                let expected = exhaustive(&decoder, &target).unwrap();
                prop_assert_eq!(expected.token_ids(), prompt.clone(), "{}", case);
                prop_assert_eq!(drafted(Scan::AsNeeded).token_ids(), prompt.clone(), "{}", case);
                same(&drafted(Scan::Whole), &expected)?;
            }
        }
    }
}
