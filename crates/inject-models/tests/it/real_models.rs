//! The same parity on two trained models, where they are at hand: `INJECT_REAL_MODELS` names a folder with
//! `smollm2-135m/` and `gemma-3-270m/`, each an ordinary checkpoint with its `golden.safetensors` beside it or in the
//! folder that `INJECT_REAL_GOLDEN` names.

use std::path::{Path, PathBuf};

use inject_models::{Bos, Logits, Model, Origin, Precision, Tap, TokenBatch};
use safetensors::SafeTensors;

use crate::fixture::{self, distance, golden, norm, values};

const MODELS: [&str; 2] = ["smollm2-135m", "gemma-3-270m"];

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("INJECT_REAL_MODELS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: INJECT_REAL_MODELS does not name a folder of real models");
    }
    folder
}

fn golden_path(models: &Path, name: &str) -> PathBuf {
    let beside = models.join(name).join("golden.safetensors");
    match std::env::var_os("INJECT_REAL_GOLDEN") {
        Some(other) if !beside.is_file() => Path::new(&other).join(name).join("golden.safetensors"),
        _ => beside,
    }
}

#[test]
fn real_models_equal_the_reference_at_every_tap() {
    let Some(models) = folder() else { return };
    for device in inject_testing::compiled() {
        for name in MODELS {
            let origin = Origin::of_folder(&models.join(name));
            let model = Model::load(origin, Precision::F32, &device).unwrap();
            let bytes = std::fs::read(golden_path(&models, name)).unwrap();
            let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let texts: Vec<String> =
                serde_json::from_str(&metadata.metadata().as_ref().unwrap()["prompts"]).unwrap();
            let noise = noise_per_tap(&file, texts.len());
            for (i, text) in texts.iter().enumerate() {
                let ids = fixture::ids(&golden(&file, &format!("prompt{i}.token_ids"))).remove(0);
                assert_eq!(
                    model.tokenizer().unwrap().encode(text, Bos::Auto).unwrap(),
                    ids,
                    "{name}: {text}"
                );
                let worst = check_prompt(&model, &file, i, &ids, &noise);
                println!("{name}, prompt {i} on {device:?}: worst distance {worst:.2} of the tolerance");
            }
        }
    }
}

/// transformers' own float32 error at each tap: the largest over all prompts and positions.
fn noise_per_tap(file: &SafeTensors<'_>, prompts: usize) -> Vec<f64> {
    let per_prompt = (0..prompts).map(|prompt| {
        let noise = golden(file, &format!("prompt{prompt}.f32_noise"));
        let largest = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
        noise.values.chunks(noise.shape[1]).map(largest).collect::<Vec<f64>>()
    });
    per_prompt.reduce(|a, b| a.iter().zip(b).map(|(a, b)| a.max(b)).collect()).unwrap()
}

fn check_prompt(model: &Model, file: &SafeTensors<'_>, prompt: usize, ids: &[u32], noise: &[f64]) -> f64 {
    let expected = golden(file, &format!("prompt{prompt}.states"));
    let next = golden(file, &format!("prompt{prompt}.next_token"));
    let taps = Tap::all(model.decoder.config().n_layers());
    let batch = TokenBatch::new(&[ids]).unwrap();
    let forward = model.decoder.forward(&batch, &taps, Logits::All).unwrap();
    let (len, d_model) = (ids.len(), expected.shape[2]);
    let mut worst: f64 = 0.0;
    for (index, tap) in taps.into_iter().enumerate() {
        let found = values(forward.states[&tap].clone());
        for position in 0..len {
            let expected = &expected.values[(index * len + position) * d_model..][..d_model];
            let distance = distance(&found[position * d_model..][..d_model], expected);
            let tolerance = 4.0 * noise[index].max(2e-7 * norm(expected));
            assert!(distance <= tolerance, "{tap}, position {position}: {distance:e} > {tolerance:e}");
            worst = worst.max(distance / tolerance);
        }
    }
    let logits = values(forward.logits.unwrap());
    let vocab_size = model.decoder.config().vocab_size;
    for (position, row) in logits.chunks(vocab_size).enumerate() {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!(best, next.values[position] as usize, "next token at position {position}");
    }
    worst
}
