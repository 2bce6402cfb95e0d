//! Drafts change the cost of a prompt, and never the prompt.

use crate::{
    small::{FAMILIES, exhaustive, invert, model, random, target},
    sources::{Liar, Simple, SimplePolicy, Told},
};
use inject_sipit::{
    Inversion, InvertError, Policy, Settings, TargetStates, Verdict,
    inversion::StageCost,
    models::{Alternative, Tap},
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
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
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
}

#[test]
fn wrong_tokens_in_a_draft_are_repaired_and_counted() {
    let last = PROMPT.len() - 1;
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
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
                    assert_eq!(
                        (position.found_by(), position.candidates_tested),
                        expected,
                        "{case}, {wrong:?}"
                    );
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
}

#[test]
fn keys_and_values_that_no_draft_computed_are_counted_too() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
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

/// A draft that is wrong at some positions, with two alternatives for each of them: the true token and another.
struct Doubtful {
    wrong: Vec<usize>,
    /// Whether the true token is among the alternatives.
    knowing: bool,
}

impl Simple for Doubtful {
    fn name(&self) -> &'static str {
        "doubtful"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        let begin = at.prefix.len();
        let Some(draft) = planted(&self.wrong).get(begin..).map(<[u32]>::to_vec) else { return Ok(None) };
        let others = self.wrong.iter().filter(|&&at| at >= begin).flat_map(|&at| {
            let place = at - begin;
            let other = (draft[place] + 1) % VOCAB as u32;
            // Beyond the draft, beyond the vocabulary, the token of the draft, and one of them twice: passed over.
            let useless = [(place + 100, 1), (place, VOCAB as u32), (place, draft[place]), (place, other)];
            let truth = self.knowing.then_some((place, PROMPT[at]));
            useless.into_iter().chain([(place, other)]).chain(truth)
        });
        let alternatives = others.map(|(place, id)| Alternative { place, id }).collect();
        Ok(Some(Draft::from(draft).with_alternatives(alternatives)))
    }
}

#[test]
fn an_alternative_spares_the_search_for_the_token() {
    let last = PROMPT.len() - 1;
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let target = target(&decoder, &PROMPT, Tap::Block(2));
            for wrong in [vec![0], vec![last], vec![3, 4], vec![0, 1, 6, last]] {
                let policy = Policy::new().simple(Doubtful { wrong: wrong.clone(), knowing: true });
                let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
                assert_eq!(inversion.token_ids(), PROMPT, "{case}, {wrong:?}");
                for position in &inversion.positions {
                    let tested = if wrong.contains(&position.position) { 3 } else { 1 };
                    assert_eq!(
                        (position.found_by(), position.candidates_tested),
                        (Some("draft"), tested),
                        "{case}"
                    );
                    assert_eq!(position.margin().is_some(), tested > 1);
                }
                // A pass over the open positions, the token replaced last, and two rows for each remaining doubt.
                let begins = [0].into_iter().chain(wrong.iter().copied().filter(|&at| at < last));
                let pass = |begin: usize, first: bool| {
                    let doubts = wrong.iter().filter(|&&at| at > begin || (first && at == begin)).count();
                    PROMPT.len() - begin + 2 * doubts
                };
                let states: usize = begins.enumerate().map(|(number, begin)| pass(begin, number == 0)).sum();
                assert_eq!(stage(&inversion, "draft").states, states, "{case}, {wrong:?}");
                assert_eq!(stage(&inversion, "scan").candidates, 0, "{case}, {wrong:?}");
            }
        }
    }
}

#[test]
fn alternatives_that_do_not_fit_are_counted_and_no_more() {
    let device = inject_testing::any_device();
    for case in FAMILIES {
        let decoder = model(case, &device).decoder;
        let target = target(&decoder, &PROMPT, Tap::Block(2));
        let policy = Policy::new().simple(Doubtful { wrong: vec![4], knowing: false });
        let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
        assert_eq!(inversion.token_ids(), PROMPT, "{case}");
        let repaired = &inversion.positions[4];
        assert_eq!((repaired.found_by(), repaired.candidates_tested), (Some("scan"), VOCAB), "{case}");
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

/// A wrong first token first, and the truth when asked again.
struct SecondThoughts {
    wrong: Vec<u32>,
}

impl Simple for SecondThoughts {
    fn name(&self) -> &'static str {
        "second thoughts"
    }

    fn draft(&self, at: &OpenPosition<'_>, seen: &Provisional) -> Result<Option<Draft>, InvertError> {
        let begin = at.prefix.len();
        if seen.is_empty() {
            return Ok(Some(self.wrong.clone().into()));
        }
        // The distances of the first draft are there to learn from.
        let shown: Vec<(usize, u32)> = seen.iter().map(|(position, seen)| (position, seen[0].id)).collect();
        let drafted: Vec<(usize, u32)> =
            (begin..PROMPT.len()).zip(self.wrong[begin..].iter().copied()).collect();
        assert_eq!(shown, drafted);
        assert!(at.tested.contains(self.wrong[begin]) && at.tested.len() == 1);
        Ok(Some(PROMPT[begin..].to_vec().into()))
    }
}

#[test]
fn a_second_draft_corrects_the_first() {
    let at = 4;
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let target = target(&decoder, &PROMPT, Tap::Block(2));
            let wrong = planted(&[at]);
            let policy = Policy::new().simple(SecondThoughts { wrong: wrong.clone() });
            let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}");
            assert_eq!(inversion.candidates_tested(), PROMPT.len() + 1, "{case}");
            let corrected = &inversion.positions[at];
            assert_eq!((corrected.found_by(), corrected.candidates_tested), (Some("draft"), 2), "{case}");
            let runner_up = corrected.runner_up().unwrap();
            assert_eq!(runner_up.id, wrong[at], "{case}");
            assert_eq!(
                corrected.margin(),
                corrected.distance().map(|own| runner_up.distance - own),
                "{case}"
            );
        }
    }
}

/// Drafts the provisionally nearest tokens where several were computed, and otherwise as [`Doubtful`].
struct Attentive(Doubtful);

impl Simple for Attentive {
    fn name(&self) -> &'static str {
        "attentive"
    }

    fn draft(&self, at: &OpenPosition<'_>, seen: &Provisional) -> Result<Option<Draft>, InvertError> {
        if seen.is_empty() {
            return self.0.draft(at, seen);
        }
        let begin = at.prefix.len();
        let mut draft = planted(&self.0.wrong)[begin..].to_vec();
        for (position, seen) in seen.iter() {
            assert!(position >= begin, "settled positions are forgotten");
            assert!(seen.windows(2).all(|pair| pair[0].distance <= pair[1].distance));
            let computed = if self.0.wrong.contains(&position) { 3 } else { 1 };
            assert_eq!(seen.len(), computed, "position {position}");
            draft[position - begin] = seen[0].id;
        }
        Ok(Some(draft.into()))
    }
}

#[test]
fn distances_after_a_wrong_token_correct_the_next_draft() {
    let wrong = vec![2, 8];
    for device in inject_testing::compiled() {
        let mut mended = 0;
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let target = target(&decoder, &PROMPT, Tap::Block(2));
            let policy = Policy::new().simple(Attentive(Doubtful { wrong: wrong.clone(), knowing: true }));
            let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}");
            // One pass with two alternatives at each wrong token, and one from the first of them on.
            let states = PROMPT.len() + 2 * wrong.len() + (PROMPT.len() - wrong[0]);
            mended += usize::from(stage(&inversion, "draft").states == states);
        }
        // It is evidence and not a proof: after a wrong token another wrong one may be nearer.
        assert!(2 * mended > FAMILIES.len(), "{mended} families");
    }
}

#[test]
fn no_lie_prevents_recovery() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
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
