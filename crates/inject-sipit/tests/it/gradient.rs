//! The published searches by gradients, as sources of proposals.

use crate::{
    small::{batches, invert, of_vocabulary, random, target},
    sources::{Simple, SimplePolicy},
};
use inject_sipit::{
    Inversion, InvertError, Policy, Settings, TargetStates,
    models::{
        Decoder, Family, FloatFormat, Logits, Model, Origin, PrefixCache, Tap, TokenBatch, host::to_host,
    },
    settings::Budget,
    sources::{
        Draft, Gradient, HardPrompts, Objective, OpenPosition, Prompt, Provisional, Session, Source,
        StepDecay, Turn,
    },
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use burn::tensor::{DType, Tensor, TensorData};
use proptest::prelude::*;

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
    let device = inject_testing::any_device();
    for case in FAMILIES {
        let decoder = random(case, 17, &device);
        // There the loss is the distance between the points and the rows wanted, which has no other minimum.
        let target = target(&decoder, &PROMPT, Tap::Embedding);
        let said = Arc::new(Mutex::new(Said::default()));
        let source = Observed { source: HardPrompts::seeded(1), said: said.clone() };
        let inversion = invert(&decoder, &target, &Policy::new().then(source), Settings::new()).unwrap();
        let drafts = std::mem::take(&mut said.lock().unwrap().drafts);
        assert_eq!(drafts, [PROMPT.to_vec()], "{case}");
        assert!(inversion.positions.iter().all(|position| position.found_by() == Some("draft")), "{case}");
    }
}

/// Algorithm 3 of arXiv 2510.15511 with the additions of appendix E.1 and of the released code, step by step in plain loops: a step and a candidate,
/// which is the untested token nearest to the proxy; at the end of a window the proxy is put onto the candidate.
struct Replay<'a> {
    decoder: &'a Decoder,
    cache: &'a PrefixCache,
    tap: Tap,
    wanted: Vec<f64>,
    embedding: Vec<Vec<f64>>,
}

/// Both sides compute in f64. Rounding moves the proxy by less than 1e-12 in a window, as that of the hard prompts, and the order of
/// the tokens is that of `<row, proxy> - |row|^2 / 2`, rounded by about 1e-15. So a token proposed in the place of another one is
/// farther by a share of 1e-9 at the most. In f32 it would be 1e-4.
const WITHIN: f64 = 1e-9;

/// The same decoder in f64: its weights are those of f32.
fn in_f64(decoder: &Decoder) -> Decoder {
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read(inject_testing::models::folder("llama").join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["vocab_size"] = decoder.config().vocab_size.into();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    decoder.save_weights(Family::Llama, FloatFormat::F32, &folder.path().join("model.safetensors")).unwrap();
    Model::load(Origin::of_folder(folder.path()), FloatFormat::F64, &decoder.device()).unwrap().decoder
}

/// One of the variants, in the words of its source.
struct Variant {
    source: Gradient,
    /// Whether the loss is the mean of the squares, not half their sum.
    mean: bool,
    window: usize,
    /// Whether the random token is itself a candidate, before any step.
    tests_start: bool,
    /// The size of a step, the first being step 0.
    size: fn(usize, usize) -> f64,
}

impl Replay<'_> {
    fn gradient(&self, proxy: &[f64], mean: bool) -> Vec<f64> {
        let (device, d_model) = (self.decoder.device(), proxy.len());
        let row = |values: Vec<f64>| {
            Tensor::<2>::from_data(TensorData::new(values, [1, d_model]), (&device, DType::F64))
        };
        let proxy = row(proxy.to_vec()).autodiff().require_grad();
        let state = self.decoder.candidates_from_embeddings(self.cache, proxy.clone(), self.tap).unwrap();
        let squares = (state - row(self.wanted.clone())).powi_scalar(2).sum();
        let loss = squares.mul_scalar(if mean { 1.0 / d_model as f64 } else { 0.5 });
        to_host(proxy.grad_remove(&mut loss.backward()).unwrap()).unwrap()
    }

    /// Follows the proposals call by call, and fails if the algorithm would propose others. Gives the norms of the
    /// gradients.
    fn follow(&self, label: &str, calls: &[Vec<u32>], start: u32, variant: &Variant) -> Vec<f64> {
        let distance = |id: u32, point: &[f64]| -> f64 {
            let row = &self.embedding[id as usize];
            row.iter().zip(point).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
        };
        let mut proxy = self.embedding[start as usize].clone();
        let (mut tested, mut norms) = (HashSet::new(), Vec::new());
        for (call, ids) in calls.iter().enumerate() {
            let taken = if variant.tests_start { call } else { call + 1 };
            if let Some(step) = taken.checked_sub(1) {
                let gradient = self.gradient(&proxy, variant.mean);
                let norm = gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
                norms.push(norm);
                let clipped = if norm > 1.0 { 1.0 / norm } else { 1.0 };
                for (coordinate, slope) in proxy.iter_mut().zip(&gradient) {
                    *coordinate -= (variant.size)(step, variant.window) * clipped * slope;
                }
            }
            let untested = (0..self.embedding.len() as u32).filter(|id| !tested.contains(id));
            let mut distances: Vec<f64> = untested.map(|id| distance(id, &proxy)).collect();
            distances.sort_unstable_by(f64::total_cmp);
            for (&id, expected) in ids.iter().zip(distances) {
                let found = distance(id, &proxy);
                let apart = (found - expected).abs();
                assert!(apart <= WITHIN * expected, "{label}, call {call}: {found}, not {expected}");
                assert!(tested.insert(id), "{label}: {id} twice");
            }
            if taken > 0 && taken.is_multiple_of(variant.window) {
                proxy = self.embedding[ids[0] as usize].clone();
            }
        }
        norms
    }
}

/// From one to a hundredth within a window.
fn falling(step: usize, window: usize) -> f64 {
    1.0 + (0.01 - 1.0) * step as f64 / window as f64
}

/// As `torch.optim.lr_scheduler.LinearLR`, which stays where it arrived.
fn falling_once(step: usize, window: usize) -> f64 {
    falling(step.min(window), window)
}

#[test]
fn the_candidates_are_those_of_the_published_algorithm_in_their_order() {
    // Five windows or more after a token. The first position has twice the window in the released code with this vocabulary.
    for (vocab_size, at, first_window, most) in [(331, 1, 50, 331), (25_000, 0, 100, 410)] {
        let mut devices = inject_testing::compiled();
        devices.retain(inject_testing::computes_in_f64);
        let decoder = in_f64(&of_vocabulary("llama", vocab_size, 3, &devices[0]));
        let tap = Tap::Block(decoder.config().n_layers());
        // A state that no token has, so that none is accepted.
        let mut states = target(&decoder, &[7, 11][..=at], tap).states().to_owned();
        states.row_mut(at).iter_mut().enumerate().for_each(|(i, value)| *value += [1.5, -1.0, 0.5][i % 3]);
        let states = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
        let mut cache = decoder.prefix_cache(1, at + 1, tap).unwrap();
        if at > 0 {
            decoder.extend(&mut cache, &TokenBatch::new(&[&[7]]).unwrap(), &[], Logits::None).unwrap();
        }
        let embedding: Vec<f64> = to_host(decoder.token_embedding()).unwrap();
        let replay = Replay {
            decoder: &decoder,
            cache: &cache,
            tap,
            wanted: states.state(at).to_vec(),
            embedding: embedding.chunks(decoder.config().d_model).map(<[f64]>::to_vec).collect(),
        };
        let proposed = |source: Gradient| -> Vec<Vec<u32>> {
            let said = Arc::new(Mutex::new(Said::default()));
            let policy = Policy::new().then(Observed { source, said: said.clone() });
            let budget = Budget::unlimited().with_candidates(most);
            invert(&decoder, &states, &policy, Settings::new().with_budget(budget)).unwrap();
            let said = std::mem::take(&mut *said.lock().unwrap());
            let here = said.proposals.into_iter().filter(|(prefix, _)| prefix.len() == at);
            let calls: Vec<Vec<u32>> = here.map(|(_, ids)| ids).collect();
            assert!(calls.iter().map(Vec::len).sum::<usize>() >= most);
            calls
        };
        let (printed, released) = (Gradient::printed(4), Gradient::released(4));
        let variant = |source: &Gradient, mean: bool, window, size| Variant {
            source: source.clone(),
            mean,
            window,
            tests_start: mean,
            size,
        };
        // The random token is the same for both, but only the released code proposes it.
        let start = proposed(released.clone())[0][0];
        let variants = [
            variant(&printed, false, 50, |_, _| 1.0),
            variant(&released, true, first_window, falling_once),
            variant(&printed.clone().decaying(StepDecay::Once), false, 50, falling_once),
            variant(
                &released.clone().decaying(StepDecay::EveryWindow),
                true,
                first_window,
                |step, window| falling(step % window, window),
            ),
            variant(&released.clone().snapping(batches(2)), true, first_window, falling_once),
            variant(&released.clone().with_step_size(0.5), true, first_window, |step, window| {
                0.5 * falling_once(step, window)
            }),
        ];
        let (mut different, mut norms) = (HashSet::new(), Vec::new());
        for variant in &variants {
            let calls = proposed(variant.source.clone());
            let label = format!("{at}, {:?}", variant.source);
            norms.extend(replay.follow(&label, &calls, start, variant));
            assert!(calls.len() > 2 * variant.window, "{label}: {} calls", calls.len());
            different.insert(calls);
        }
        assert_eq!(different.len(), variants.len());
        // Some gradients are clipped and some are not.
        assert!(norms.iter().any(|norm| *norm > 2.0) && norms.iter().any(|norm| *norm < 0.5), "{norms:?}");
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
