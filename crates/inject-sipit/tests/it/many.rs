//! Many prompts at once give what each gives alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use inject_sipit::{
    Budget, Choice, Decoder, Draft, Gradient, Inversion, InvertError, Inverter, Open, Place, Policy, Prior,
    Proposer, RandomOrder, Scan, Secant, Settings, Tap, TargetStates, Verdict, foreign::SourceDtype,
};
use ndarray::Array2;

use crate::{
    choice,
    small::{FAMILIES, invert, model, of_vocabulary, target},
    sources::Told,
};

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
    Policy::new().then(Told::many(targets.iter().cloned().zip(drafts)))
}

fn found(inversion: &Inversion) -> Vec<(u32, &Verdict, &str, usize)> {
    let of = |p: &'_ inject_sipit::Position| (p.token_id, p.found_by, p.candidates_tested);
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
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let tap = Tap::Block(decoder.config().n_layers());
            let targets = targets(&decoder, tap);
            let policies: [fn(&[TargetStates]) -> Policy; 3] = [
                flawed,
                |_| Policy::new().then(Prior::up_to(16)),
                |targets| flawed(targets).then(Secant::up_to(32)),
            ];
            // Room for one prompt and one candidate, for a few, and for all.
            for (memory_budget, policy) in [(1, policies[0]), (1 << 18, policies[2]), (1 << 28, policies[1])]
            {
                let settings = Settings { memory_budget, ..Settings::default() };
                let inverter = Inverter::new(&decoder, tap, settings).unwrap();
                let together = inverter.invert_many(&targets, &mut policy(&targets), &mut |_| ()).unwrap();
                assert_eq!(together.len(), targets.len());
                let mut policy = policy(&targets);
                for ((many, target), prompt) in together.iter().zip(&targets).zip(prompts()) {
                    let alone = inverter.invert(target, &mut policy, &mut |_| ()).unwrap();
                    assert_eq!(many.token_ids(), prompt, "{case}, {memory_budget}, {policy}");
                    assert!(many.is_verified(), "{case}, {memory_budget}, {policy}: {many:?}");
                    assert_eq!(found(many), found(&alone), "{case}, {memory_budget}, {policy}");
                }
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
                let policy = || Choice::auto(&decoder, tap, 12, Some(lens.clone()), None).policy;
                let inverter = Inverter::new(&decoder, tap, Settings::default()).unwrap();
                let together = inverter.invert_many(&targets, &mut policy(), &mut |_| ()).unwrap();
                // What single searches take hangs still more on what the sources learnt.
                let states = |inversion: &Inversion| inversion.cost.stages()["draft"].states;
                let (mut many, mut each) = (0, 0);
                let mut policy = policy();
                for ((found, target), prompt) in together.iter().zip(&targets).zip(prompts()) {
                    let alone = inverter.invert(target, &mut policy, &mut |_| ()).unwrap();
                    assert_eq!(
                        (found.token_ids(), alone.token_ids()),
                        (prompt.clone(), prompt),
                        "{case}, {tap}"
                    );
                    assert!(found.is_verified(), "{case}, {tap}: {found:?}");
                    (many, each) = (many + states(found), each + states(&alone));
                }
                // At most one common pass in which little was settled for each; and one part in twenty, as rounding moves what
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

impl Proposer for Corrected {
    fn name(&self) -> &'static str {
        "corrected"
    }

    fn draft(&mut self, open: &Open<'_>) -> Result<Option<Draft>, InvertError> {
        let known = self.prompts.iter().find(|(target, _)| target.states() == open.target.states());
        let mut draft = known.unwrap().1.clone();
        if open.prefix.is_empty() && open.tested.is_empty() {
            let middle = draft.len() / 2;
            draft[middle] = (draft[middle] + 1) % 97;
        }
        Ok(Some(draft.split_off(open.prefix.len()).into()))
    }

    fn propose(&mut self, _: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_round_of_drafts_for_many_prompts_is_one_forward_pass() {
    const LEN: usize = 12;
    const PROMPTS: usize = 7;
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let tap = Tap::Block(2);
            let prompts: Vec<(TargetStates, Vec<u32>)> = (0..PROMPTS as u32)
                .map(|i| (0..LEN as u32).map(|p| (i * 13 + p * p * 7 + 3) % 97).collect::<Vec<_>>())
                .map(|prompt| (target(&decoder, &prompt, tap), prompt))
                .collect();
            let targets: Vec<TargetStates> = prompts.iter().map(|(target, _)| target.clone()).collect();
            // Passes over one prompt, two and all of them: each round of two has so many.
            let room = |together: usize| together * LEN * decoder.config().bytes_per_token(LEN, 1);
            for (together, rounds_of) in [(1, 7.0), (2, 4.0), (PROMPTS, 1.0)] {
                let settings = Settings { memory_budget: room(together), ..Settings::default() };
                let inverter = Inverter::new(&decoder, tap, settings).unwrap();
                let mut policy = Policy::new().then(Corrected { prompts: prompts.clone() });
                let inversions = inverter.invert_many(&targets, &mut policy, &mut |_| ()).unwrap();
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
}

#[test]
fn certificates_of_many_prompts_are_those_of_each_alone() {
    for device in inject_testing::compiled() {
        for case in ["gpt2", "phi4"] {
            let decoder = model(case, &device).decoder;
            let targets = targets(&decoder, Tap::Block(2));
            let settings = Settings { scan: Scan::Whole, ..Settings::default() };
            let inverter = Inverter::new(&decoder, Tap::Block(2), settings).unwrap();
            let together = inverter.invert_many(&targets, &mut flawed(&targets), &mut |_| ()).unwrap();
            for ((many, target), prompt) in together.iter().zip(&targets).zip(prompts()) {
                let alone = inverter.invert(target, &mut flawed(&targets), &mut |_| ()).unwrap();
                assert_eq!((many.token_ids(), many.is_certain()), (prompt, true), "{case}: {many:?}");
                assert_eq!(found(many), found(&alone), "{case}");
            }
        }
    }
}

#[test]
fn progress_tells_which_prompt_it_is_about() {
    for device in inject_testing::compiled() {
        let decoder = model("phi4", &device).decoder;
        let targets = targets(&decoder, Tap::Block(2));
        let inverter = Inverter::new(&decoder, Tap::Block(2), Settings::default()).unwrap();
        let mut seen = BTreeSet::new();
        let mut report = |step: inject_sipit::InvertProgress| {
            assert_eq!((step.positions, step.vocab_size), (LENS[step.prompt], 97));
            assert!(step.position <= step.positions && step.candidates_tested <= 97);
            seen.insert(step.prompt);
        };
        inverter.invert_many(&targets, &mut Policy::new(), &mut report).unwrap();
        assert_eq!(seen, (0..LENS.len()).collect());
    }
}

/// Says nothing, and counts how often it is asked.
struct Counting(Arc<AtomicUsize>);

impl Proposer for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn draft(&mut self, _: &Open<'_>) -> Result<Option<Draft>, InvertError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    fn propose(&mut self, _: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Vec::new())
    }
}

#[test]
fn one_target_that_cannot_be_inverted_stops_all_before_anything_is_computed() {
    for device in inject_testing::compiled() {
        let decoder = model("gpt2", &device).decoder;
        let tap = Tap::Block(2);
        let inverter = Inverter::new(&decoder, tap, Settings::default()).unwrap();
        let mut targets = targets(&decoder, tap);
        let width = decoder.config().d_model + 1;
        let wide = TargetStates::new(Array2::ones((2, width)), tap, SourceDtype::F32).unwrap();
        targets.push(wide);
        let asked = Arc::new(AtomicUsize::new(0));
        let mut policy = Policy::new().then(Counting(asked.clone()));
        let refused = inverter.invert_many(&targets, &mut policy, &mut |_| ()).unwrap_err();
        assert!(matches!(refused, InvertError::Width { .. }), "{refused}");
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert!(inverter.invert_many(&[], &mut policy, &mut |_| ()).unwrap().is_empty());
    }
}

/// Takes its time before it leaves everything to the scan.
struct Slow(Duration);

impl Proposer for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn propose(&mut self, _: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        std::thread::sleep(self.0);
        Ok(Vec::new())
    }
}

#[test]
fn a_prompt_does_not_spend_the_time_of_another() {
    let device = inject_testing::compiled().remove(0);
    let decoder = model("gpt2", &device).decoder;
    let tap = Tap::Block(1);
    let targets: Vec<TargetStates> = (0..6).map(|id| target(&decoder, &[id], tap)).collect();
    let pause = Duration::from_millis(60);
    // Enough for several prompts of this kind, but not for all of them.
    let budget = Budget { time: Some(4 * pause), ..Budget::default() };
    let inverter = Inverter::new(&decoder, tap, Settings { budget, ..Settings::default() }).unwrap();
    let mut policy = Policy::new().then(Slow(pause));
    let inversions = inverter.invert_many(&targets, &mut policy, &mut |_| ()).unwrap();
    for (id, inversion) in (0..).zip(&inversions) {
        assert_eq!((inversion.token_ids(), inversion.is_verified()), (vec![id], true), "{inversion:?}");
    }
}

/// Drafts the right tokens, but not before the time is up.
struct Late {
    told: Told,
    asked: Arc<AtomicUsize>,
}

impl Proposer for Late {
    fn name(&self) -> &'static str {
        "late"
    }

    fn draft(&mut self, open: &Open<'_>) -> Result<Option<Draft>, InvertError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(open.deadline.unwrap().saturating_duration_since(Instant::now()));
        self.told.draft(open)
    }

    fn propose(&mut self, _: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_draft_that_took_all_the_time_of_a_prompt_is_made_once() {
    let device = inject_testing::compiled().remove(0);
    let decoder = model("gpt2", &device).decoder;
    let tap = Tap::Block(1);
    let prompts = [vec![5, 9, 41], vec![8], vec![96, 0]];
    for count in 1..=prompts.len() {
        let prompts = &prompts[..count];
        let targets: Vec<TargetStates> = prompts.iter().map(|prompt| target(&decoder, prompt, tap)).collect();
        let told = Told::many(targets.iter().cloned().zip(prompts.iter().cloned()));
        let budget = Budget { time: Some(Duration::from_millis(200)), ..Budget::default() };
        let inverter = Inverter::new(&decoder, tap, Settings { budget, ..Settings::default() }).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let mut policy = Policy::new().then(Late { told, asked: Arc::clone(&asked) });
        let inversions = inverter.invert_many(&targets, &mut policy, &mut |_| ()).unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), count);
        for (inversion, prompt) in inversions.iter().zip(prompts) {
            assert_eq!((&inversion.token_ids(), inversion.is_verified()), (prompt, true), "{inversion:?}");
        }
    }
}

/// Proposes wrong tokens for as long as it is asked, and notes when that was.
struct Endless {
    pause: Duration,
    asked: Arc<Mutex<BTreeMap<u32, (Instant, Instant)>>>,
}

impl Proposer for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn propose(&mut self, place: &Place<'_>) -> Result<Vec<u32>, InvertError> {
        let begun = Instant::now();
        // Their lengths tell the prompts apart.
        let prompt = place.target.positions() as u32;
        let mut asked = self.asked.lock().unwrap();
        asked.entry(prompt).or_insert((begun, begun)).1 = begun;
        std::thread::sleep(self.pause);
        Ok((1..97).filter(|&id| !place.tested.contains(id)).take(1).collect())
    }
}

#[test]
fn the_time_of_a_prompt_does_not_grow_by_that_of_others() {
    let device = inject_testing::compiled().remove(0);
    let decoder = model("gpt2", &device).decoder;
    let tap = Tap::Block(1);
    // Each begins with the one token that is never proposed.
    let targets: Vec<TargetStates> = (1..=4).map(|len| target(&decoder, &vec![0; len], tap)).collect();
    let time = Duration::from_millis(120);
    let budget = Budget { time: Some(time), ..Budget::default() };
    let inverter = Inverter::new(&decoder, tap, Settings { budget, ..Settings::default() }).unwrap();
    let asked = Arc::default();
    let mut policy =
        Policy::new().then(Endless { pause: Duration::from_millis(5), asked: Arc::clone(&asked) });
    let inversions = inverter.invert_many(&targets, &mut policy, &mut |_| ()).unwrap();
    assert!(inversions.iter().all(|inversion| inversion.positions[0].verdict == Verdict::Open));
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), targets.len());
    for (prompt, (first, last)) in asked.iter() {
        assert!(last.duration_since(*first) <= time, "prompt of {prompt}: {:?}", last.duration_since(*first));
    }
}

#[test]
fn sources_that_served_one_model_serve_another() {
    for device in inject_testing::compiled() {
        let mut policies = [
            Policy::new().then(Prior::up_to(8)).then(Secant::up_to(24)),
            Policy::new().then(RandomOrder::seeded(5).in_batches(7)),
            Policy::new().then(Gradient::printed(5).at_most(4)),
        ];
        let prompt = [5, 96, 5, 0, 41];
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let n_layers = decoder.config().n_layers();
            for tap in [Tap::Block(1), Tap::Block(n_layers), Tap::FinalNorm, Tap::Embedding] {
                let target = target(&decoder, &prompt, tap);
                for policy in &mut policies {
                    let inversion = invert(&decoder, &target, policy, Settings::default()).unwrap();
                    assert_eq!(inversion.token_ids(), prompt, "{case}, {tap}, {policy}");
                }
            }
        }
    }
}
