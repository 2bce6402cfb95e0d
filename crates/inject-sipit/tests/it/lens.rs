//! Lenses of small models: made and used.

mod files;
mod shares;

use std::{collections::HashSet, sync::Arc};

use inject_sipit::{
    Inversion, InvertError, Lens, LensError, Policy, Settings, TargetStates,
    lens::{FirstPosition, LensBuilder},
    models::{Decoder, ModelError, Progress, Tap, Unit, silent},
    sources::{LensInContext, LensProposals},
    states::ExtractError,
};

use crate::{
    numbers::Numbers,
    small::{FAMILIES, decoders, invert, model, of_vocabulary, random, target},
};

/// Prompts of one kind: each token is one of three that may follow the one before it.
fn text(prompts: usize, len: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut numbers = Numbers(seed);
    let mut prompt = || {
        let mut token = numbers.below(97) as u32;
        let mut next = || {
            token = (token * 5 + 7 + numbers.below(3) as u32 * 31) % 97;
            token
        };
        (0..len).map(|_| next()).collect()
    };
    (0..prompts).map(|_| prompt()).collect()
}

/// Prompts of no kind.
fn noise(prompts: usize, len: usize) -> Vec<Vec<u32>> {
    let mut numbers = Numbers(77);
    (0..prompts).map(|_| (0..len).map(|_| numbers.below(97) as u32).collect()).collect()
}

fn builder(taps: Vec<Tap>) -> LensBuilder {
    let prefixes = vec![vec![5, 6, 7], vec![80, 3, 11, 4]];
    LensBuilder::new(taps, prefixes, text(48, 16, 1), FirstPosition::Any)
}

const HASH: &str = "of these very weights";

fn build(decoder: &Decoder, builder: &LensBuilder) -> Result<Vec<Lens>, InvertError> {
    builder.build(decoder, HASH, &mut silent)
}

fn one(decoder: &Decoder, builder: &LensBuilder) -> Arc<Lens> {
    Arc::new(build(decoder, builder).unwrap().remove(0))
}

fn by_lens(decoder: &Decoder, target: &TargetStates, lens: &Arc<Lens>) -> Result<Inversion, InvertError> {
    let policy = Policy::new().then_up_to(1024, LensProposals::new(lens.clone()));
    invert(decoder, target, &policy, Settings::new())
}

#[test]
fn a_lens_made_from_other_text_still_gives_the_exact_prompt() {
    for (case, decoder) in decoders() {
        let tap = Tap::Block(decoder.config().n_layers());
        let monotonous = vec![[3, 4].repeat(10); 20];
        for text in [noise(40, 10), monotonous] {
            let lens = one(&decoder, &builder(vec![tap]).with_text(text));
            for prompt in [[9; 12].to_vec(), noise(1, 40).remove(0), vec![96], (0..20).collect()] {
                let inversion = by_lens(&decoder, &target(&decoder, &prompt, tap), &lens).unwrap();
                assert_eq!(inversion.token_ids(), prompt, "{case}");
                assert!(inversion.is_verified(), "{case}");
            }
        }
    }
}

#[test]
fn a_lens_made_from_text_that_says_nothing_still_gives_the_exact_prompt() {
    for (case, decoder) in decoders() {
        // One token, over and over: without positions, all states are equal.
        let text = vec![vec![5; 20]; 20];
        for tap in Tap::all(decoder.config().n_layers()) {
            let prompt = [5, 96, 5, 0, 41];
            let lens = one(&decoder, &builder(vec![tap]).with_text(text.clone()));
            let inversion = by_lens(&decoder, &target(&decoder, &prompt, tap), &lens).unwrap();
            assert_eq!(inversion.token_ids(), prompt, "{case}, {tap}");
            assert!(inversion.is_verified(), "{case}, {tap}");
        }
    }
}

#[test]
fn impossible_lenses_are_refused_before_anything_long_is_computed() {
    for decoder in inject_testing::on_each(|device| model("gpt2", device).decoder) {
        let max_len = decoder.config().max_len().unwrap();
        let good = builder(vec![Tap::Block(1)]);
        let refused = |builder: LensBuilder| {
            let mut begun = false;
            let outcome = builder.build(&decoder, HASH, &mut |_| begun = true);
            assert!(!begun, "{builder:?}");
            outcome.unwrap_err()
        };
        let lens_error = |builder: LensBuilder| match refused(builder) {
            InvertError::Lens(error) => error,
            other => panic!("{other}"),
        };
        let model_error = |builder: LensBuilder| match refused(builder) {
            InvertError::Model(error) => error,
            InvertError::Extract(ExtractError::Model(error)) => error,
            other => panic!("{other}"),
        };

        assert!(matches!(lens_error(good.clone().with_taps(vec![])), LensError::NoTaps));
        for prefixes in [vec![], vec![vec![5], vec![]]] {
            let error = lens_error(good.clone().with_prefixes(prefixes));
            assert!(matches!(error, LensError::NoPrefix));
        }
        // 15 positions of each prompt have another before them.
        let error = lens_error(good.clone().with_text(text(17, 16, 1)));
        assert!(matches!(error, LensError::TooLittleText { found: 255, expected: 256 }), "{error:?}");

        let error = model_error(good.clone().with_taps(vec![Tap::Block(99)]));
        assert!(error.to_string().contains("block-99"), "{error}");
        let error = model_error(good.clone().with_first(FirstPosition::Bos(97)));
        assert!(matches!(error, ModelError::TokenId { found: 97, vocab_size: 97, .. }), "{error:?}");
        let error = model_error(good.clone().with_prefixes(vec![vec![97]]));
        assert!(matches!(error, ModelError::TokenId { found: 97, vocab_size: 97, .. }), "{error:?}");
        // A candidate comes after the prefix.
        let error = model_error(good.clone().with_prefixes(vec![vec![5; max_len]]));
        assert!(matches!(error, ModelError::TooLong { found, .. } if found == max_len + 1), "{error:?}");
        let mut unknown = good.text.clone();
        unknown[40][3] = 97;
        let error = model_error(good.clone().with_text(unknown));
        assert!(matches!(error, ModelError::TokenId { found: 97, vocab_size: 97, .. }), "{error:?}");
    }
}

#[test]
fn a_lens_read_back_drafts_as_before() {
    for device in inject_testing::compiled() {
        for first in [FirstPosition::Any, FirstPosition::Bos(5)] {
            let decoder = model("llama", &device).decoder;
            let taps = Tap::all(decoder.config().n_layers());
            let mut text = text(48, 16, 1);
            if let FirstPosition::Bos(bos) = first {
                text.iter_mut().for_each(|prompt| prompt[0] = bos);
            }
            let folder = tempfile::tempdir().unwrap();
            let prompt = text[7].clone();
            for made in build(&decoder, &builder(taps).with_first(first).with_text(text)).unwrap() {
                let tap = made.info().tap;
                made.save(folder.path()).unwrap();
                let read = Lens::load(folder.path(), tap, HASH, &device).unwrap();
                assert_eq!(read.info(), made.info());
                let states = target(&decoder, &prompt, tap);
                let [made, read] =
                    [made, read].map(|lens| by_lens(&decoder, &states, &Arc::new(lens)).unwrap());
                assert_eq!(read.token_ids(), prompt, "{tap}");
                let searched = |found: &Inversion| -> Vec<(Option<&str>, usize)> {
                    found.positions.iter().map(|p| (p.found_by(), p.candidates_tested)).collect()
                };
                assert_eq!(searched(&made), searched(&read), "{tap}");
            }
        }
    }
}

#[test]
fn the_cost_of_a_lens_is_known_before() {
    for decoder in inject_testing::on_each(|device| model("gemma3", device).decoder) {
        // Taps may come in any order, and twice.
        let builder = builder(vec![Tap::Block(7), Tap::Block(2), Tap::Block(7)]);
        let cost = builder.cost(&decoder);
        // After two prefixes and at the first position: the vocabulary, and the tokens of the fitted nine tenths of the positions.
        let later = builder.text.iter().flat_map(|prompt| &prompt[1..]).take(48 * 15 - 48 * 15 / 10);
        let distinct = later.collect::<HashSet<_>>().len() as u64;
        assert_eq!((cost.candidates, cost.text), (3 * (97 + distinct), 48 * 16));
        let (mut text, mut tokens, mut fitted, mut measured) = (0, Vec::new(), 0, 0);
        let mut report = |step: Progress<'_>| match step.task {
            "text" => {
                assert_eq!((step.unit, step.total), (Unit::Prompts, 48));
                text = step.done;
            }
            "fit" => {
                assert_eq!((step.unit, step.total), (Unit::Taps, 2));
                fitted = step.done;
            }
            "vocabulary" => {
                assert_eq!((step.unit, step.total), (Unit::Tokens, cost.candidates));
                tokens.push(step.done);
            }
            "measure" => {
                assert_eq!((step.unit, step.total), (Unit::Taps, 2));
                measured = step.done;
            }
            other => panic!("{other}"),
        };
        let lenses = builder.build(&decoder, HASH, &mut report).unwrap();
        assert_eq!((text, fitted, measured), (48, 2, 2));
        assert!(tokens.is_sorted() && tokens.last() == Some(&cost.candidates), "{tokens:?}");
        let taps: Vec<Tap> = lenses.iter().map(|lens| lens.info().tap).collect();
        assert_eq!(taps, [Tap::Block(2), Tap::Block(7)]);
        assert!(lenses.iter().all(|lens| lens.info().weight_hash == HASH));
    }
}

#[test]
fn a_lens_of_other_weights_that_slips_through_only_proposes_worse() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let tap = Tap::Block(2);
            let lens = one(&decoder, &builder(vec![tap]));
            let other = random(case, 3, &device);
            for prompt in text(2, 12, 9) {
                let policy = Policy::new().then_up_to(40, LensProposals::new(lens.clone()));
                let states = target(&other, &prompt, tap);
                let inversion = invert(&other, &states, &policy, Settings::new()).unwrap();
                assert_eq!(inversion.token_ids(), prompt, "{case}");
                assert!(inversion.candidates_tested() <= prompt.len() * 97, "{case}");
            }
        }
    }
}

#[test]
fn tokens_tested_after_a_prefix_point_out_others_among_the_points_of_a_lens() {
    const VOCAB: u32 = 4096;
    let mut numbers = Numbers(5);
    let mut random_prompts = |prompts: usize, len: usize| -> Vec<Vec<u32>> {
        (0..prompts).map(|_| (0..len).map(|_| numbers.below(VOCAB as usize) as u32).collect()).collect()
    };
    let (text, prompts) = (random_prompts(64, 16), random_prompts(2, 10));
    for decoder in inject_testing::on_each(|device| of_vocabulary("llama", VOCAB as usize, 5, device)) {
        for tap in [Tap::Block(1), Tap::FinalNorm] {
            let lens = one(&decoder, &builder(vec![tap]).with_text(text.clone()));
            for (prompt, limit) in prompts.iter().zip([256, 8]) {
                let states = target(&decoder, prompt, tap);
                // Nothing but this source and the scan.
                let policy = Policy::new().then_up_to(limit, LensInContext::new(lens.clone()));
                let inversion = invert(&decoder, &states, &policy, Settings::new()).unwrap();
                assert_eq!(&inversion.token_ids(), prompt, "{tap}");
                // A first position has points of its own.
                assert_eq!(inversion.positions[0].found_by(), Some("scan"));
                let pointed_out: Vec<_> =
                    inversion.positions.iter().filter(|p| p.found_by() == Some("lens in context")).collect();
                // As many from all over the vocabulary as are pointed out, and 64 of the former at least.
                let most = limit + limit.max(64);
                assert!(pointed_out.iter().all(|p| p.candidates_tested <= most), "{tap}, limit {limit}");
                // By chance, an eighth of the vocabulary would hold one of nine.
                let expected = if tap == Tap::FinalNorm { 5 } else { 9 };
                assert!(limit < 256 || pointed_out.len() >= expected, "{tap}: {}", pointed_out.len());
            }
        }
        let lens = one(&decoder, &builder(vec![Tap::Block(1)]).with_text(text.clone()));
        let states = target(&decoder, &prompts[0], Tap::FinalNorm);
        let policy = Policy::new().then_up_to(8, LensInContext::new(lens));
        let refused = invert(&decoder, &states, &policy, Settings::new()).unwrap_err();
        assert!(matches!(refused, InvertError::Lens(LensError::OtherTap { .. })), "{refused}");
    }
}
