//! Budgets of time, under a clock that the tests move on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Inverter,
    watch::{move_on, now},
};
use crate::{
    acceptance::Acceptance,
    collisions::distance,
    error::InvertError,
    inversion::Inversion,
    models::{Decoder, FloatFormat, Progress, Tap, silent},
    policy::Policy,
    settings::{Budget, Scan, Settings},
    sources::{Draft, OpenPosition, Prompt, Provisional, Session, Source, Turn},
    target::TargetStates,
};
use inject_testing::models::model;
use ndarray::Axis;

const HOUR: Duration = Duration::from_secs(3600);

type Say<T> = Box<dyn Fn(&OpenPosition<'_>) -> T + Send + Sync>;

/// A source that follows a script.
struct Scripted {
    draft: Say<Option<Vec<u32>>>,
    propose: Say<Vec<u32>>,
}

impl Scripted {
    fn drafting(draft: impl Fn(&OpenPosition<'_>) -> Option<Vec<u32>> + Send + Sync + 'static) -> Self {
        Scripted { draft: Box::new(draft), propose: Box::new(|_| Vec::new()) }
    }

    fn proposing(propose: impl Fn(&OpenPosition<'_>) -> Vec<u32> + Send + Sync + 'static) -> Self {
        Scripted { draft: Box::new(|_| None), propose: Box::new(propose) }
    }
}

impl Source for Scripted {
    type Memory = ();

    fn name(&self) -> &'static str {
        "scripted"
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<()> + 'a>, InvertError> {
        Ok(Box::new(self))
    }
}

impl Session<()> for &Scripted {
    fn draft(
        &mut self,
        at: &OpenPosition<'_>,
        _: &Provisional,
        _: &mut (),
    ) -> Result<Option<Draft>, InvertError> {
        Ok((self.draft)(at).map(Draft::from))
    }

    fn propose(&mut self, at: &OpenPosition<'_>, _: &Turn<'_>, _: &mut ()) -> Result<Vec<u32>, InvertError> {
        Ok((self.propose)(at))
    }
}

/// The small GPT-2 and the states of some prompts after its first block.
fn setting(prompts: &[Vec<u32>]) -> (Decoder, Vec<TargetStates>) {
    let decoder = model("gpt2", &inject_testing::any_device()).decoder;
    let target = |prompt: &Vec<u32>| TargetStates::of_prompt(&decoder, Tap::Block(1), prompt).unwrap();
    let targets = prompts.iter().map(target).collect();
    (decoder, targets)
}

fn invert_many(
    decoder: &Decoder,
    targets: &[TargetStates],
    source: Scripted,
    time: Duration,
) -> Vec<Inversion> {
    let settings = Settings::new().with_budget(Budget::unlimited().with_time(time));
    let inverter = Inverter::new(decoder, Tap::Block(1), settings).unwrap();
    let policy = Policy::new().then(source);
    inverter.invert_many(targets, &mut inverter.searcher(&policy), &mut silent).unwrap()
}

#[test]
fn a_prompt_does_not_spend_the_time_of_another() {
    let prompts: Vec<Vec<u32>> = (0..6).map(|id| vec![id]).collect();
    let (decoder, targets) = setting(&prompts);
    let slow = Scripted::proposing(|_| {
        move_on(HOUR);
        Vec::new()
    });
    // Enough for several prompts of this kind, but not for all of them.
    for (inversion, prompt) in invert_many(&decoder, &targets, slow, 4 * HOUR).iter().zip(&prompts) {
        assert_eq!((&inversion.token_ids(), inversion.is_verified()), (prompt, true), "{inversion:?}");
    }
}

#[test]
fn a_draft_that_took_all_the_time_of_a_prompt_is_made_once() {
    let prompts = [vec![5, 9, 41], vec![8], vec![96, 0]];
    for count in 1..=prompts.len() {
        let prompts = &prompts[..count];
        let (decoder, targets) = setting(prompts);
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, counted) = (prompts.to_vec(), asked.clone());
        let late = Scripted::drafting(move |at| {
            counted.fetch_add(1, Ordering::Relaxed);
            move_on(at.deadline.unwrap().saturating_duration_since(now()));
            let prompt = told.iter().find(|prompt| prompt.len() == at.target().positions()).unwrap();
            Some(prompt[at.prefix.len()..].to_vec())
        });
        let inversions = invert_many(&decoder, &targets, late, HOUR);
        assert_eq!(asked.load(Ordering::Relaxed), count);
        for (inversion, prompt) in inversions.iter().zip(prompts) {
            assert_eq!((&inversion.token_ids(), inversion.is_verified()), (prompt, true), "{inversion:?}");
        }
    }
}

#[test]
fn the_time_of_a_prompt_does_not_grow_by_that_of_others() {
    // Each begins with the one token that is never proposed.
    let prompts: Vec<Vec<u32>> = (1..=4).map(|len| vec![0; len]).collect();
    let (decoder, targets) = setting(&prompts);
    let asked: Arc<Mutex<BTreeMap<usize, (Instant, Instant)>>> = Arc::default();
    let noted = asked.clone();
    let endless = Scripted::proposing(move |at| {
        let begun = now();
        // Their lengths tell the prompts apart.
        let mut noted = noted.lock().unwrap();
        noted.entry(at.target().positions()).or_insert((begun, begun)).1 = begun;
        move_on(HOUR / 10);
        (1..97).filter(|&id| !at.tested.contains(id)).take(1).collect()
    });
    let inversions = invert_many(&decoder, &targets, endless, 2 * HOUR);
    assert!(inversions.iter().all(|inversion| inversion.positions[0].verdict.is_open()));
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), targets.len());
    for (prompt, (first, last)) in asked.iter() {
        let time = last.duration_since(*first);
        assert!(time <= 2 * HOUR && time > HOUR, "prompt of {prompt}: {time:?}");
    }
}

#[test]
fn when_the_time_is_up_what_is_verified_stays_verified() {
    let prompt = vec![5, 96, 41, 0, 5];
    let (decoder, targets) = setting(std::slice::from_ref(&prompt));
    let told = prompt.clone();
    let policy = Policy::new().then(Scripted::drafting(move |at| Some(told[at.prefix.len()..].to_vec())));
    // Room for one candidate a batch, and a report that takes longer than the budget.
    let row = decoder.bytes_per_token(prompt.len(), 1);
    let budget = Budget::unlimited().with_time(HOUR);
    let settings = Settings::new().with_memory_budget(row).with_budget(budget).with_scan(Scan::Whole);
    let inverter = Inverter::new(&decoder, Tap::Block(1), settings).unwrap();
    let mut slow = |progress: Progress<'_>| {
        if progress.task == "certify" {
            move_on(2 * HOUR);
        }
    };
    let inversion = inverter.invert(&targets[0], &mut inverter.searcher(&policy), &mut slow).unwrap();
    assert_eq!(inversion.token_ids(), prompt);
    assert!(inversion.is_verified() && !inversion.is_certain(), "{inversion:?}");
    assert!(inversion.candidates_tested() < prompt.len() + 3, "{inversion:?}");
}

#[test]
fn when_the_time_is_up_the_nearest_token_is_kept_though_nothing_was_found_after_it_yet() {
    let prompt = vec![5, 9];
    let (decoder, targets) = setting(std::slice::from_ref(&prompt));
    let apart = |prompt: &[u32]| {
        let states = TargetStates::of_prompt(&decoder, Tap::Block(1), prompt).unwrap();
        let last = prompt.len() - 1;
        distance(states.state(last), targets[0].state(last))
    };
    let nearest = |prefix: &[u32], excluded: u32| {
        let ids = (0..97).filter(|&id| id != excluded);
        let all = ids.map(|id| (id, apart(&[prefix, &[id]].concat())));
        all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
    };
    // A rival of the first token, and what comes nearest after it. Both are to fit, and one token after the true one is not.
    let (rival, at_first) = nearest(&[], 5);
    let (after_rival, at_second) = nearest(&[rival], 97);
    let added = 1.1 * at_first.max(at_second);
    let far = (0..97).find(|&id| apart(&[5, id]) > 1.1 * added).unwrap();
    let source = Scripted::proposing(move |at| match *at.prefix {
        [] if at.tested.is_empty() => vec![5, rival],
        [5] if at.tested.is_empty() => {
            move_on(2 * HOUR);
            vec![far]
        }
        [_] if at.tested.is_empty() => vec![after_rival],
        _ => Vec::new(),
    });
    let settings = Settings::new()
        .with_budget(Budget::unlimited().with_time(HOUR))
        .with_acceptance(Acceptance::NoiseFloor { added });
    let inverter = Inverter::new(&decoder, Tap::Block(1), settings).unwrap();
    let policy = Policy::new().then(source);
    let inversion = inverter.invert(&targets[0], &mut inverter.searcher(&policy), &mut silent).unwrap();
    assert_eq!(inversion.positions[0].token_id(), Some(5), "{inversion:?}");
    assert!(inversion.positions[1].verdict.is_open(), "{inversion:?}");
}

#[test]
fn the_parts_of_a_prompt_share_its_time() {
    let prompt = vec![5, 96, 41, 0, 7, 23];
    let (decoder, targets) = setting(std::slice::from_ref(&prompt));
    let states = targets[0].states();
    let gap = TargetStates::new(states.select(Axis(0), &[0, 1, 3, 4, 5]), Tap::Block(1), FloatFormat::F32);
    let gap = gap.unwrap().with_missing(&[2]).unwrap();
    let turn = HOUR / 4;
    let policy = Policy::new().then(Scripted::proposing(move |_| {
        move_on(turn);
        Vec::new()
    }));
    let settings = Settings::new().with_budget(Budget::unlimited().with_time(HOUR));
    let inverter = Inverter::new(&decoder, Tap::Block(1), settings).unwrap();
    let begin = now();
    inverter.invert(&gap, &mut inverter.searcher(&policy), &mut silent).unwrap();
    let time = now().duration_since(begin);
    assert!(time > HOUR - turn && time < HOUR + turn, "with a gap: {time:?}");
    let begin = now();
    inverter.invert_permuted(&targets[0], None, &mut inverter.searcher(&policy), &mut silent).unwrap();
    let time = now().duration_since(begin);
    assert!(time > HOUR - turn && time < HOUR + turn, "in unknown order: {time:?}");
}
