//! Every policy recovers the same prompt, at its own cost.

use crate::small::{FAMILIES, ROTARY, batches, decoders, exhaustive, invert, model, of_vocabulary, target};
use inject_sipit::{
    Acceptance, Inversion, InvertError, Inverter, Policy, Searcher, Settings, TargetStates,
    collisions::distance,
    models::{Decoder, FloatFormat, Logits, Tap, TokenBatch, silent},
    sources::{
        OpenPosition, Prior, PriorTiming, Prompt, RandomOrder, Repeated, Secant, Session, Source, Turn,
    },
};
use std::collections::HashSet;

#[test]
fn every_policy_recovers_the_same_prompt() {
    let prompt = [5, 96, 5, 0, 41, 41, 7];
    for (case, decoder) in decoders() {
        for tap in Tap::all(decoder.config().n_layers()) {
            let target = target(&decoder, &prompt, tap);
            for policy in [
                Policy::new(),
                Policy::new().then_up_to(20, Prior::new()),
                Policy::new().then(RandomOrder::seeded(3).in_batches(batches(8))),
                Policy::new().then_up_to(4, Prior::new()).then(RandomOrder::seeded(3)),
            ] {
                let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
                assert_eq!(inversion.token_ids(), prompt, "{case}, {tap}, {policy}");
                assert!(inversion.is_verified(), "{case}, {tap}, {policy}");
            }
        }
    }
}

#[test]
fn a_repeated_token_is_found_among_the_tokens_of_the_prompt() {
    let prompt = [5, 96, 5, 41, 41, 96, 5, 7];
    for (case, decoder) in decoders() {
        let target = target(&decoder, &prompt, Tap::Block(1));
        for limit in [8, 1] {
            let policy = Policy::new().then_up_to(limit, Repeated);
            let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), prompt, "{case}");
            for (position, found) in inversion.positions.iter().enumerate() {
                let before: HashSet<u32> = prompt[..position].iter().copied().collect();
                match (before.contains(&prompt[position]), limit) {
                    (true, 8) => {
                        assert_eq!(found.found_by(), Some("repeated"), "{case}, position {position}");
                        assert!(found.candidates_tested <= before.len(), "{case}, position {position}");
                    }
                    // The one token that is tried may be another.
                    (true, _) => {
                        assert!(found.found_by() != Some("repeated") || found.candidates_tested == 1)
                    }
                    (false, _) => {
                        assert_eq!(found.found_by(), Some("scan"), "{case}, position {position}")
                    }
                }
            }
        }
    }
}

#[test]
fn a_first_token_that_is_repeated_is_found_at_once() {
    let prompt = [5, 5, 5, 41, 96, 7];
    for device in inject_testing::compiled() {
        for case in ROTARY {
            let decoder = of_vocabulary(case, 600, 31, &device);
            for format in [None, Some(FloatFormat::Bf16)] {
                let producer = format.map_or(decoder.clone(), |format| decoder.clone().computing_in(format));
                let target = target(&producer, &prompt, Tap::Block(decoder.config().n_layers()));
                let policy = Policy::new().then(Secant::new());
                let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
                for position in &inversion.positions[1..3] {
                    assert_eq!(position.token_id(), Some(5), "{case}: {position:?}");
                    // A draft may have tested one token before.
                    assert!(position.candidates_tested <= 2, "{case}: {position:?}");
                }
            }
        }
    }
}

#[test]
fn a_survey_of_the_vocabulary_drafts_the_positions_after_it() {
    const VOCAB: u32 = 8192;
    const SURVEY: usize = 512;
    let prompt: Vec<u32> = (0..24).map(|i| (i * i * 331 + 7 * i + 4000) % VOCAB).collect();
    let drafted = |inversion: &Inversion| {
        inversion.positions[2..].iter().filter(|position| position.found_by() == Some("draft")).count()
    };
    for device in inject_testing::compiled() {
        let decoder = of_vocabulary("llama", VOCAB as usize, 5, &device);
        let target = target(&decoder, &prompt, Tap::Block(1));
        let plain = Policy::new().then_up_to(1024, Secant::new());
        let plain = invert(&decoder, &target, &plain, Settings::new()).unwrap();
        let policy = Policy::new().then_up_to(1024, Secant::new().surveying(SURVEY));
        // The second time, the scan goes on in steps smaller than a survey where nothing points anywhere yet.
        let memory_budget = 16 * decoder.bytes_per_token(1, 1);
        let settings = [Settings::new(), Settings::new().with_memory_budget(memory_budget)];
        let mut searched = Vec::new();
        let inverter = Inverter::new(&decoder, target.tap(), Settings::new()).unwrap();
        let mut searcher = inverter.searcher(&policy);
        for (round, settings) in settings.into_iter().enumerate() {
            let inverter = inverter.with_settings(settings).unwrap();
            let inversion = inverter.invert(&target, &mut searcher, &mut silent).unwrap();
            assert_eq!(inversion.token_ids(), prompt);
            // Made once, at the second position; a model known already is not surveyed again.
            let at = |position: usize| inversion.positions[position].candidates_tested;
            assert_eq!(at(1) >= SURVEY, round == 0, "{} candidates", at(1));
            searched.push(inversion.cost.stages()["secant"].candidates);
            assert!(drafted(&inversion) > drafted(&plain), "{} positions", drafted(&inversion));
        }
        assert!(searched[0] >= SURVEY && searched[1] + SURVEY / 2 < searched[0], "{searched:?} candidates");
        // A sixteenth of a small vocabulary would make no map.
        let small = of_vocabulary("llama", 1024, 5, &device);
        let prompt: Vec<u32> = prompt.iter().map(|id| id % 1024).collect();
        let target = crate::small::target(&small, &prompt, Tap::Block(1));
        let policy = Policy::new().then_up_to(256, Secant::new().surveying(SURVEY));
        let inversion = invert(&small, &target, &policy, Settings::new()).unwrap();
        assert_eq!(inversion.token_ids(), prompt);
    }
}

#[test]
fn a_search_that_expects_finds_expected_and_unexpected_tokens() {
    const VOCAB: usize = 1024;
    // A draft and the first round, or all candidates before the tested ones point anywhere.
    let asked = [(PriorTiming::First, 1 + 16), (PriorTiming::Fallback, 64)];
    for decoder in inject_testing::on_each(|device| of_vocabulary("llama", VOCAB, 5, device)) {
        let last_block = Tap::Block(decoder.config().n_layers());
        // At the last block the model's expectation is read from the given states, below it from a pass of the model.
        let taps = [Tap::Block(1), last_block, Tap::FinalNorm];
        for (tap, (asked, most)) in taps.into_iter().flat_map(|tap| asked.map(|asked| (tap, asked))) {
            let expecting = |bos: Option<u32>| {
                let prior = Prior::new().beginning_with(bos);
                Policy::new().then_up_to(VOCAB, Secant::new().expecting(prior, asked))
            };
            let expected = greedy(&decoder, 700, 12);
            let states = target(&decoder, &expected, tap);
            let inversion = invert(&decoder, &states, &expecting(Some(700)), Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), expected, "{tap}");
            for position in &inversion.positions {
                let tested = position.candidates_tested;
                assert!(tested <= most, "{tested} candidates at {}, {tap}", position.position);
            }
            assert_eq!(inversion.positions[0].candidates_tested, 1, "{tap}");

            let unexpected: Vec<u32> = (0..12).map(|i| (i * i * 331 + 7 * i + 400) % VOCAB as u32).collect();
            let states = target(&decoder, &unexpected, tap);
            let inversion = invert(&decoder, &states, &expecting(None), Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), unexpected, "{tap}");
            // The search goes on to the end of the vocabulary, so nothing is left to the scan.
            assert!(inversion.positions.iter().all(|position| position.found_by() != Some("scan")), "{tap}");
        }
    }
}

/// The model's greedy continuation of one token.
fn greedy(decoder: &Decoder, first: u32, len: usize) -> Vec<u32> {
    let mut ids = vec![first];
    while ids.len() < len {
        let tokens = TokenBatch::new(&[ids.clone()]).unwrap();
        let forward = decoder.forward(&tokens, &[], Logits::Last).unwrap();
        let logits: Vec<f32> = forward.logits.unwrap().into_data().convert::<f32>().try_into_vec().unwrap();
        let likeliest = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        ids.push(likeliest as u32);
    }
    ids
}

#[test]
fn a_survey_after_two_hypotheses_serves_both() {
    let prompt = [4000, 17, 5000, 321];
    let tap = Tap::Block(1);
    for decoder in inject_testing::on_each(|device| of_vocabulary("llama", 8192, 5, device)) {
        let whole = exhaustive(&decoder, &target(&decoder, &prompt, tap)).unwrap();
        let other = whole.positions[0].runner_up().unwrap().id;
        // Between the states of two first tokens either fits, and both are followed.
        let mut states = target(&decoder, &prompt, tap).states().to_owned();
        let beside = target(&decoder, &[other], tap).states().to_owned();
        let apart = distance(states.row(0).as_slice().unwrap(), beside.row(0).as_slice().unwrap());
        let middle = (&states.row(0) + &beside.row(0)) / 2.0;
        states.row_mut(0).assign(&middle);
        let ambiguous = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
        let acceptance = Acceptance::NoiseFloor { added: 0.6 * apart };
        let policy = Policy::new().then_up_to(1024, Secant::new().surveying(512));
        let inversion =
            invert(&decoder, &ambiguous, &policy, Settings::new().with_acceptance(acceptance)).unwrap();
        assert_eq!(inversion.token_ids(), prompt);
        assert!(inversion.positions[1].candidates_tested >= 512);
    }
}

/// A source that proposes other tokens each time it is asked.
struct Rising;

impl Source for Rising {
    type Memory = usize;

    fn name(&self) -> &'static str {
        "rising"
    }

    fn begin<'a>(&'a self, _: &Prompt<'_>) -> Result<Box<dyn Session<usize> + 'a>, InvertError> {
        Ok(Box::new(self))
    }
}

impl Session<usize> for &Rising {
    fn propose(
        &mut self,
        at: &OpenPosition<'_>,
        _: &Turn<'_>,
        asked: &mut usize,
    ) -> Result<Vec<u32>, InvertError> {
        *asked += 1;
        let first = 7 * *asked;
        let ids = (first..first + 8).map(|id| (id % at.vocab_size()) as u32);
        Ok(ids.filter(|&id| !at.tested.contains(id)).collect())
    }
}

#[test]
fn copies_of_a_searcher_search_alike_and_learn_apart() {
    let device = inject_testing::any_device();
    let decoder = model(FAMILIES[0], &device).decoder;
    let targets = [[5, 96, 5, 0, 41, 41, 7], [3, 1, 4, 1, 5, 9, 2], [88, 2, 71, 2, 8, 1, 3]]
        .map(|prompt| target(&decoder, &prompt, Tap::Block(1)));
    let inverter = Inverter::new(&decoder, Tap::Block(1), Settings::new()).unwrap();
    let policy = Policy::new().then(Rising);
    let mut taught = inverter.searcher(&policy);
    assert!(taught.learns() && !inverter.searcher(&Policy::new().then(Repeated)).learns());
    let search = |target: usize, searcher: &mut Searcher<'_>| {
        let found = inverter.invert_many(&targets[target..=target], searcher, &mut silent).unwrap();
        let positions = found[0].positions.iter();
        positions.map(|position| (position.candidates_tested, position.kept)).collect::<Vec<_>>()
    };
    search(0, &mut taught);
    // As in an uninterrupted run, and as in one that went on at the last prompt.
    let (second, third) = (search(1, &mut taught.copy(1)), search(2, &mut taught.copy(2)));
    assert_eq!(search(2, &mut taught.copy(2)), third);
    assert_eq!(search(1, &mut taught.copy(1)), second);
    // One searcher for both would know more of the third, and one that was not taught less.
    let mut both = taught.copy(1);
    search(1, &mut both);
    assert_ne!(search(2, &mut both), third);
    assert_ne!(search(2, &mut inverter.searcher(&policy)), third);
}
