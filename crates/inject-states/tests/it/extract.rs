//! Extraction against single forward passes, and on its way to disk.

use std::path::Path;

use burn::tensor::Device;
use inject_states::{
    ExtractError, Extraction, Logits, Model, ModelError, Origin, Precision, Tap, TokenBatch,
    extract_to_store, measure_noise,
    store::{Positions, StateDtype, Store, StoreSpec},
};

const FAMILIES: [&str; 6] = ["gpt2", "gpt-neo", "llama", "mistral", "gemma3", "phi4"];

fn model(case: &str, device: &Device) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures").join(case);
    Model::load(Origin::of_folder(&folder), Precision::F32, device).unwrap()
}

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
            let all_states = all.run(&model.decoder, &prompts, &mut |_| ()).unwrap();
            let last_states = last.run(&model.decoder, &prompts, &mut |_| ()).unwrap();
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
    let model = model("gpt2", &inject_testing::compiled()[0]);
    let extraction =
        Extraction::new(vec![Tap::Block(1)], Positions::Last).unwrap().with_memory_budget(1 << 16);
    let mut seen = Vec::new();
    extraction.run(&model.decoder, &prompts(30), &mut |progress| seen.push(progress.prompts_done)).unwrap();
    assert!(seen.len() > 1 && seen.is_sorted());
    assert_eq!(seen.last(), Some(&30));
}

#[test]
fn the_noise_floor_bounds_what_batching_does_to_a_state() {
    for device in inject_testing::compiled() {
        let model = model("llama", &device);
        let prompts = prompts(24);
        let extraction = Extraction::new(Tap::all(3), Positions::Last).unwrap();
        let noise = measure_noise(&extraction, &model.decoder, &prompts, 24).unwrap();
        assert_eq!(noise.prompts_sampled, 24);
        let together = extraction.run(&model.decoder, &prompts, &mut |_| ()).unwrap();
        for (tap, floor) in noise.floors {
            let floor = floor.unwrap();
            for (number, prompt) in prompts.iter().enumerate() {
                let expected = alone(&model, prompt, tap);
                let expected = &expected[expected.len() - 32..];
                let row = together[&tap].row(number);
                let square: f64 =
                    row.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
                assert!(square.sqrt() <= floor, "{tap}: {} > {floor}", square.sqrt());
            }
        }
    }
}

fn spec(model: &Model, extraction: &Extraction) -> StoreSpec {
    StoreSpec {
        model_id: "fixture".to_owned(),
        revision: None,
        weight_hash: model.weight_hash().unwrap(),
        tokenizer_hash: None,
        taps: extraction.taps().to_vec(),
        dtype: StateDtype::F32,
        bos: "no".to_owned(),
        bos_added: false,
        positions: extraction.positions(),
        d_model: model.decoder.config().d_model,
    }
}

#[test]
fn a_store_holds_what_extraction_in_memory_gives() {
    let model = model("gemma3", &inject_testing::compiled()[0]);
    let prompts = prompts(50);
    let extraction = Extraction::new(Tap::all(7), Positions::All).unwrap().with_memory_budget(1 << 17);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("states");
    let store =
        extract_to_store(&extraction, &model.decoder, &prompts, &dir, spec(&model, &extraction), &mut |_| ())
            .unwrap();
    let in_memory = extraction.run(&model.decoder, &prompts, &mut |_| ()).unwrap();
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

#[test]
fn a_bad_prompt_is_named_by_its_own_number_before_anything_is_written() {
    let model = model("gpt2", &inject_testing::compiled()[0]);
    let extraction = Extraction::new(vec![Tap::Block(1)], Positions::Last).unwrap();
    let mut bad = prompts(20);
    bad[13] = vec![1, 97];
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("states");
    let run = |prompts: &[Vec<u32>]| {
        extract_to_store(&extraction, &model.decoder, prompts, &dir, spec(&model, &extraction), &mut |_| ())
    };
    assert!(matches!(
        run(&bad),
        Err(ExtractError::Model(ModelError::TokenId { prompt: 13, position: 1, found: 97, vocab_size: 97 }))
    ));
    bad[13] = vec![];
    assert!(matches!(run(&bad), Err(ExtractError::Model(ModelError::EmptyPrompt { prompt: 13 }))));
    assert!(!dir.exists());
    let in_memory = extraction.run(&model.decoder, &bad, &mut |_| ());
    assert!(matches!(in_memory, Err(ExtractError::Model(ModelError::EmptyPrompt { prompt: 13 }))));
}
