//! Extraction against single forward passes, and on its way to disk.

use inject_states::{
    ExtractError, Extraction, extract_to_store, measure_noise,
    models::{Logits, Model, ModelError, Progress, Tap, TokenBatch, Unit, silent},
    prompt_states,
    store::{Positions, Store, StoreSpec},
};
use inject_testing::models::{FAMILIES, model};

/// Prompts of many lengths in no order.
fn prompts(count: u32) -> Vec<Vec<u32>> {
    (0..count).map(|i| (0..1 + (i * 7) % 23).map(|t| (i * 31 + t * 17) % 97).collect()).collect()
}

fn alone(model: &Model, prompt: &[u32], tap: Tap) -> Vec<f32> {
    let tokens = TokenBatch::new(&[prompt]).unwrap();
    let states = model.decoder.forward(&tokens, &[tap], Logits::None).unwrap().states;
    states[&tap].clone().into_data().try_to_vec::<f32>().unwrap()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    let square =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let apart = square(&mut a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    // Two orders of summation: a few hundred roundings of 2^-24 at the very most.
    apart <= 2e-5 * square(&mut b.iter().map(|b| f64::from(*b)))
}

#[test]
fn every_row_is_the_state_of_its_prompt_computed_alone() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let model = model(case, &device);
            let d_model = model.decoder.config().d_model;
            let prompts = prompts(40);
            let taps = vec![Tap::Embedding, Tap::Block(2), Tap::FinalNorm];
            let all = Extraction::new(taps.clone(), Positions::All).unwrap().with_memory_budget(1 << 18);
            let last = Extraction::new(taps, Positions::Last).unwrap().with_memory_budget(1 << 18);
            let all_states = all.run(&model.decoder, &prompts, &mut silent).unwrap();
            let last_states = last.run(&model.decoder, &prompts, &mut silent).unwrap();
            for (tap, states) in &all_states {
                let mut row = 0;
                for (number, prompt) in prompts.iter().enumerate() {
                    let expected = alone(&model, prompt, *tap);
                    for (position, expected) in expected.chunks(d_model).enumerate() {
                        let found = states.row(row + position).to_vec();
                        assert!(
                            close(&found, expected),
                            "{case}, {tap}, prompt {number}, position {position}"
                        );
                    }
                    row += prompt.len();
                    let expected = &expected[(prompt.len() - 1) * d_model..];
                    let found = last_states[tap].row(number).to_vec();
                    assert!(close(&found, expected), "{case}, {tap}, prompt {number}, last");
                }
                assert_eq!(states.nrows(), row);
            }
        }
    }
}

#[test]
fn progress_counts_every_prompt_once() {
    for device in inject_testing::compiled() {
        let model = model("gpt2", &device);
        let extraction =
            Extraction::new(vec![Tap::Block(1)], Positions::Last).unwrap().with_memory_budget(1 << 16);
        let mut seen = Vec::new();
        extraction
            .run(&model.decoder, &prompts(30), &mut |progress: Progress<'_>| {
                assert_eq!((progress.task, progress.unit, progress.total), ("extract", Unit::Prompts, 30));
                seen.push(progress.done);
            })
            .unwrap();
        assert!(seen.len() > 1 && seen.is_sorted());
        assert_eq!(seen.last(), Some(&30));
    }
}

#[test]
fn one_prompt_has_the_states_of_an_extraction() {
    for device in inject_testing::compiled() {
        let model = model("gemma3", &device);
        let prompt = vec![3, 1, 4, 1, 5];
        let extraction = Extraction::new(vec![Tap::Block(2)], Positions::All).unwrap();
        let expected = extraction.run(&model.decoder, std::slice::from_ref(&prompt), &mut silent).unwrap();
        assert_eq!(prompt_states(&model.decoder, &prompt, Tap::Block(2)).unwrap(), expected[&Tap::Block(2)]);
    }
}

#[test]
fn the_noise_floor_is_the_largest_distance_between_batched_and_single_states() {
    for device in inject_testing::compiled() {
        let model = model("llama", &device);
        let prompts = prompts(24);
        let extraction = Extraction::new(Tap::all(3), Positions::Last).unwrap();
        let noise = measure_noise(&extraction, &model.decoder, &prompts, 24, &mut silent).unwrap();
        assert_eq!(noise.prompts_sampled, 24);
        let together = extraction.run(&model.decoder, &prompts, &mut silent).unwrap();
        for (tap, floor) in noise.floors {
            let distances = prompts.iter().enumerate().map(|(number, prompt)| {
                let expected = alone(&model, prompt, tap);
                let expected = &expected[expected.len() - 32..];
                let row = together[&tap].row(number);
                let square: f64 =
                    row.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
                square.sqrt()
            });
            // Single passes are the same computation in both, so the two maxima agree to the last bit.
            assert_eq!(floor.unwrap(), distances.fold(0.0, f64::max), "{tap}");
        }
    }
}

#[test]
fn a_noise_floor_that_cannot_be_measured_is_absent() {
    for device in inject_testing::compiled() {
        let model = model("llama", &device);
        let extraction = Extraction::new(vec![Tap::Block(1)], Positions::Last).unwrap();
        // Every prompt is a batch of its own.
        let alone = extraction.clone().with_memory_budget(1);
        for (extraction, prompts, sample) in
            [(&alone, prompts(24), 24), (&extraction, prompts(1), 24), (&extraction, prompts(24), 0)]
        {
            let mut report = |_: Progress<'_>| panic!("a prompt is computed for nothing");
            let noise = measure_noise(extraction, &model.decoder, &prompts, sample, &mut report).unwrap();
            assert_eq!((noise.prompts_sampled, noise.floors[&Tap::Block(1)]), (0, None));
        }
        // Two lanes take a prompt of 20 tokens each.
        let lanes = model.decoder.clone().with_lanes(std::num::NonZeroUsize::new(2).unwrap());
        let noise = measure_noise(&extraction, &lanes, &[vec![5; 20], vec![7; 20]], 2, &mut silent).unwrap();
        assert_eq!((noise.prompts_sampled, noise.floors[&Tap::Block(1)]), (0, None));
        let noise = measure_noise(&extraction, &model.decoder, &prompts(24), 3, &mut silent).unwrap();
        assert!((1..=3).contains(&noise.prompts_sampled), "{}", noise.prompts_sampled);
        assert!(noise.floors[&Tap::Block(1)].is_some());
    }
}

#[test]
fn prompts_that_are_computed_alike_in_a_batch_and_alone_say_nothing_about_noise() {
    for device in inject_testing::compiled() {
        let model = model("llama", &device);
        let extraction = Extraction::new(vec![Tap::Embedding, Tap::Block(1)], Positions::All).unwrap();
        let single: Vec<Vec<u32>> = (1..9).map(|id| vec![id]).collect();
        let noise = measure_noise(&extraction, &model.decoder, &single, 8, &mut silent).unwrap();
        // Embeddings are looked up, so their zero is a measurement.
        assert_eq!((noise.prompts_sampled, noise.floors[&Tap::Embedding]), (8, Some(0.0)));
        assert_ne!(noise.floors[&Tap::Block(1)], Some(0.0));
        let extraction = Extraction::new(vec![Tap::Block(1)], Positions::All).unwrap();
        let noise = measure_noise(&extraction, &model.decoder, &single, 8, &mut silent).unwrap();
        assert_eq!(noise.prompts_sampled == 0, noise.floors[&Tap::Block(1)].is_none());
        assert_ne!(noise.floors[&Tap::Block(1)], Some(0.0));
    }
}

fn spec(model: &Model, extraction: &Extraction) -> StoreSpec {
    StoreSpec::of(model, extraction).unwrap()
}

#[test]
fn a_store_holds_what_extraction_in_memory_gives() {
    for device in inject_testing::compiled() {
        let model = model("gemma3", &device);
        let prompts = prompts(50);
        let extraction = Extraction::new(Tap::all(7), Positions::All).unwrap().with_memory_budget(1 << 17);
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("states");
        let store = extract_to_store(
            &extraction,
            &model.decoder,
            &prompts,
            &dir,
            spec(&model, &extraction),
            &mut silent,
        )
        .unwrap();
        let in_memory = extraction.run(&model.decoder, &prompts, &mut silent).unwrap();
        for (tap, expected) in in_memory {
            let found = store.tap(tap).unwrap().to_array();
            for (row, (found, expected)) in found.outer_iter().zip(expected.outer_iter()).enumerate() {
                assert!(close(&found.to_vec(), &expected.to_vec()), "{tap}, row {row}");
            }
        }
        assert!(store.manifest().noise.is_some());
        assert_eq!(store.prompt(7), prompts[7]);
        let rows = store.rows();
        assert_eq!(rows.token_id.len(), prompts.iter().map(Vec::len).sum::<usize>());
        // A second run finds everything done and reports no progress.
        let mut calls = 0;
        extract_to_store(&extraction, &model.decoder, &prompts, &dir, spec(&model, &extraction), &mut |_| {
            calls += 1
        })
        .unwrap();
        assert_eq!(calls, 0);
        assert!(Store::open(&dir).is_ok());
    }
}

#[test]
fn a_bad_prompt_is_named_by_its_own_number_before_anything_is_written() {
    for device in inject_testing::compiled() {
        let model = model("gpt2", &device);
        let extraction = Extraction::new(vec![Tap::Block(1)], Positions::Last).unwrap();
        let mut bad = prompts(20);
        bad[13] = vec![1, 97];
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("states");
        let run = |prompts: &[Vec<u32>]| {
            extract_to_store(
                &extraction,
                &model.decoder,
                prompts,
                &dir,
                spec(&model, &extraction),
                &mut silent,
            )
        };
        assert!(matches!(
            run(&bad),
            Err(ExtractError::Model(ModelError::TokenId {
                prompt: 13,
                position: 1,
                found: 97,
                vocab_size: 97
            }))
        ));
        bad[13] = vec![];
        assert!(matches!(run(&bad), Err(ExtractError::Model(ModelError::EmptyPrompt { prompt: 13 }))));
        assert!(!dir.exists());
        let in_memory = extraction.run(&model.decoder, &bad, &mut silent);
        assert!(matches!(in_memory, Err(ExtractError::Model(ModelError::EmptyPrompt { prompt: 13 }))));
    }
}
