//! Many prompts together are inverted as each alone.

use crate::{
    choice,
    small::{FAMILIES, batches, decoders, invert, model, of_vocabulary, target},
    sources::{Simple, SimplePolicy, Told},
};
use inject_sipit::{
    Inversion, InvertError, Inverter, Policy, PolicyChoice, Settings, TargetStates, Verdict,
    models::{Decoder, FloatFormat, Progress, Tap, Unit, silent},
    settings::Scan,
    sources::{Draft, OpenPosition, Prior, Provisional, RandomOrder, Secant, Turn},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ndarray::Array2;

/// Lengths on both sides of LongRoPE's switch at 32, of windows, and of one token; some of them twice.
const LENS: [usize; 9] = [12, 1, 33, 5, 32, 1, 40, 31, 12];

fn prompts() -> Vec<Vec<u32>> {
    let token = |prompt: usize, position: usize| (prompt * 13 + position * position * 7 + 3) as u32 % 97;
    let mut prompts: Vec<Vec<u32>> =
        LENS.iter().enumerate().map(|(i, &len)| (0..len).map(|p| token(i, p)).collect()).collect();
    // The same prompt twice, and one token twice.
    prompts[8] = prompts[0].clone();
    prompts[5] = prompts[1].clone();
    prompts
}

fn targets(decoder: &Decoder, tap: Tap) -> Vec<TargetStates> {
    prompts().iter().map(|prompt| target(decoder, prompt, tap)).collect()
}

/// Drafts in which some tokens are wrong, and which sometimes stop too soon.
fn flawed(targets: &[TargetStates]) -> Policy {
    let drafts = prompts().into_iter().enumerate().map(|(i, mut draft)| {
        if i % 3 != 0 {
            let at = i % draft.len();
            draft[at] = (draft[at] + 1) % 97;
        }
        draft.truncate(draft.len().min(36));
        draft
    });
    Policy::new().simple(Told::many(targets.iter().cloned().zip(drafts)))
}

fn found(inversion: &Inversion) -> Vec<(Option<u32>, &Verdict, Option<&str>, usize)> {
    let of = |p: &'_ inject_sipit::Position| (p.token_id(), p.found_by(), p.candidates_tested);
    let verdicts = inversion.positions.iter().map(|position| &position.verdict);
    inversion
        .positions
        .iter()
        .map(of)
        .zip(verdicts)
        .map(|((id, by, n), verdict)| (id, verdict, by, n))
        .collect()
}

#[test]
fn many_prompts_are_inverted_as_each_alone() {
    for (case, decoder) in decoders() {
        let tap = Tap::Block(decoder.config().n_layers());
        let targets = targets(&decoder, tap);
        let policies: [fn(&[TargetStates]) -> Policy; 3] = [
            flawed,
            |_| Policy::new().then_up_to(16, Prior::new()),
            |targets| flawed(targets).then_up_to(32, Secant::new()),
        ];
        // Room for one prompt and one candidate, for a few, and for all.
        let least = decoder.bytes_per_token(40, 1);
        for (memory_budget, policy) in [(least, policies[0]), (1 << 18, policies[2]), (1 << 28, policies[1])]
        {
            let settings = Settings::new().with_memory_budget(memory_budget);
            let inverter = Inverter::new(&decoder, tap, settings).unwrap();
            let policy = policy(&targets);
            let mut searcher = inverter.searcher(&policy);
            let together = inverter.invert_many(&targets, &mut searcher, &mut silent).unwrap();
            assert_eq!(together.len(), targets.len());
            let mut searcher = inverter.searcher(&policy);
            for ((many, target), prompt) in together.iter().zip(&targets).zip(prompts()) {
                let alone = inverter.invert(target, &mut searcher, &mut silent).unwrap();
                assert_eq!(many.token_ids(), prompt, "{case}, {memory_budget}, {policy}");
                assert!(many.is_verified(), "{case}, {memory_budget}, {policy}: {many:?}");
                assert_eq!(found(many), found(&alone), "{case}, {memory_budget}, {policy}");
            }
        }
    }
}

#[test]
fn many_prompts_with_a_lens_cost_no_more_than_each_alone() {
    for device in inject_testing::compiled() {
        for case in ["gpt2", "llama"] {
            let decoder = of_vocabulary(case, 1024, 5, &device);
            // At the last block the small lens is wrong at many tokens.
            for tap in [Tap::Block(1), Tap::Block(decoder.config().n_layers())] {
                let lens = choice::lens(&decoder, tap);
                let targets = targets(&decoder, tap);
                let policy = PolicyChoice::auto(&decoder, tap, 12, Some(lens), None).policy;
                let inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
                let mut searcher = inverter.searcher(&policy);
                let together = inverter.invert_many(&targets, &mut searcher, &mut silent).unwrap();
                // The cost of single searches depends even more on the learning of the sources.
                let states = |inversion: &Inversion| inversion.cost.stages()["draft"].states;
                let (mut many, mut each) = (0, 0);
                let mut searcher = inverter.searcher(&policy);
                for ((found, target), prompt) in together.iter().zip(&targets).zip(prompts()) {
                    let alone = inverter.invert(target, &mut searcher, &mut silent).unwrap();
                    assert_eq!(
                        (found.token_ids(), alone.token_ids()),
                        (prompt.clone(), prompt),
                        "{case}, {tap}"
                    );
                    assert!(found.is_verified(), "{case}, {tap}: {found:?}");
                    (many, each) = (many + states(found), each + states(&alone));
                }
                // At most one common pass in which little was settled for each, and one part in twenty, because rounding changes what
                // the sources learn, and so the drafts. To go on in common passes costs three times that.
                let tokens: usize = targets.iter().map(TargetStates::positions).sum();
                let most = each + each / 20 + tokens;
                assert!(many <= most, "{case}, {tap}: {many} drafted states together, {each} alone");
            }
        }
    }
}

/// Drafts every prompt with a wrong token in the middle, and rightly when asked again.
struct Corrected {
    prompts: Vec<(TargetStates, Vec<u32>)>,
}

impl Simple for Corrected {
    fn name(&self) -> &'static str {
        "corrected"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        let known = self.prompts.iter().find(|(target, _)| target.states() == at.target().states());
        let mut draft = known.unwrap().1.clone();
        if at.prefix.is_empty() && at.tested.is_empty() {
            let middle = draft.len() / 2;
            draft[middle] = (draft[middle] + 1) % 97;
        }
        Ok(Some(draft.split_off(at.prefix.len()).into()))
    }
}

#[test]
fn a_round_of_drafts_for_many_prompts_is_one_forward_pass() {
    const LEN: usize = 12;
    const PROMPTS: usize = 7;
    for (case, decoder) in decoders() {
        let tap = Tap::Block(2);
        let prompts: Vec<(TargetStates, Vec<u32>)> = (0..PROMPTS as u32)
            .map(|i| (0..LEN as u32).map(|p| (i * 13 + p * p * 7 + 3) % 97).collect::<Vec<_>>())
            .map(|prompt| (target(&decoder, &prompt, tap), prompt))
            .collect();
        let targets: Vec<TargetStates> = prompts.iter().map(|(target, _)| target.clone()).collect();
        // Passes over one prompt, two and all of them: each round of two has so many.
        let room = |together: usize| together * LEN * decoder.bytes_per_token(LEN, 1);
        for (together, rounds_of) in [(1, 7.0), (2, 4.0), (PROMPTS, 1.0)] {
            let settings = Settings::new().with_memory_budget(room(together));
            let inverter = Inverter::new(&decoder, tap, settings).unwrap();
            let policy = Policy::new().simple(Corrected { prompts: prompts.clone() });
            let inversions =
                inverter.invert_many(&targets, &mut inverter.searcher(&policy), &mut silent).unwrap();
            let mut passes = 0.0;
            for (inversion, (_, prompt)) in inversions.iter().zip(&prompts) {
                assert_eq!(&inversion.token_ids(), prompt, "{case}, {together}");
                let stages = inversion.cost.stages();
                assert_eq!(stages.values().map(|stage| stage.candidates).sum::<usize>(), LEN + 1);
                passes += stages.values().map(|stage| stage.batches).sum::<f64>();
            }
            assert!((passes - 2.0 * rounds_of).abs() < 1e-9, "{case}, {together}: {passes} passes");
        }
    }
}

#[test]
fn certificates_of_many_prompts_are_those_of_each_alone() {
    for device in inject_testing::compiled() {
        for case in ["gpt2", "phi4"] {
            let decoder = model(case, &device).decoder;
            let targets = targets(&decoder, Tap::Block(2));
            let settings = Settings::new().with_scan(Scan::Whole);
            let inverter = Inverter::new(&decoder, Tap::Block(2), settings).unwrap();
            let policy = flawed(&targets);
            let mut searcher = inverter.searcher(&policy);
            let together = inverter.invert_many(&targets, &mut searcher, &mut silent).unwrap();
            for ((many, target), prompt) in together.iter().zip(&targets).zip(prompts()) {
                let mut searcher = inverter.searcher(&policy);
                let alone = inverter.invert(target, &mut searcher, &mut silent).unwrap();
                assert_eq!((many.token_ids(), many.is_certain()), (prompt, true), "{case}: {many:?}");
                assert_eq!(found(many), found(&alone), "{case}");
            }
        }
    }
}

#[test]
fn progress_counts_the_settled_positions_of_all_prompts() {
    for decoder in inject_testing::on_each(|device| model("phi4", device).decoder) {
        let targets = targets(&decoder, Tap::Block(2));
        let inverter = Inverter::new(&decoder, Tap::Block(2), Settings::new()).unwrap();
        let positions: usize = LENS.iter().sum();
        let mut done = BTreeSet::new();
        let mut report = |step: Progress<'_>| {
            assert_eq!((step.task, step.unit, step.total), ("recover", Unit::Positions, positions as u64));
            assert!(step.fraction() <= 1.0 && done.last().is_none_or(|last| *last <= step.done), "{step:?}");
            done.insert(step.done);
        };
        let scan = Policy::new();
        inverter.invert_many(&targets, &mut inverter.searcher(&scan), &mut report).unwrap();
        assert!(done.into_iter().eq(0..positions as u64));
    }
}

/// Says nothing, and counts how often it is asked.
struct Counting(Arc<AtomicUsize>);

impl Simple for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn draft(&self, _: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    fn propose(&self, _: &OpenPosition<'_>, _: &Turn<'_>) -> Result<Vec<u32>, InvertError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Vec::new())
    }
}

#[test]
fn one_target_that_cannot_be_inverted_stops_all_before_anything_is_computed() {
    for decoder in inject_testing::on_each(|device| model("gpt2", device).decoder) {
        let tap = Tap::Block(2);
        let inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
        let mut targets = targets(&decoder, tap);
        let width = decoder.config().d_model + 1;
        let wide = TargetStates::new(Array2::ones((2, width)), tap, FloatFormat::F32).unwrap();
        targets.push(wide);
        let asked = Arc::new(AtomicUsize::new(0));
        let policy = Policy::new().simple(Counting(asked.clone()));
        let refused =
            inverter.invert_many(&targets, &mut inverter.searcher(&policy), &mut silent).unwrap_err();
        assert!(matches!(refused, InvertError::Width { .. }), "{refused}");
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert!(inverter.invert_many(&[], &mut inverter.searcher(&policy), &mut silent).unwrap().is_empty());
    }
}

#[test]
fn sources_that_served_one_model_serve_another() {
    for device in inject_testing::compiled() {
        let policies = [
            Policy::new().then_up_to(8, Prior::new()).then_up_to(24, Secant::new()),
            Policy::new().then(RandomOrder::seeded(5).in_batches(batches(7))),
            #[cfg(feature = "gradient")]
            Policy::new().then(inject_sipit::sources::Gradient::printed(5).at_most(4)),
        ];
        let prompt = [5, 96, 5, 0, 41];
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let n_layers = decoder.config().n_layers();
            for tap in [Tap::Block(1), Tap::Block(n_layers), Tap::FinalNorm, Tap::Embedding] {
                let target = target(&decoder, &prompt, tap);
                for policy in &policies {
                    let inversion = invert(&decoder, &target, policy, Settings::new()).unwrap();
                    assert_eq!(inversion.token_ids(), prompt, "{case}, {tap}, {policy}");
                }
            }
        }
    }
}
