//! The same parity on two trained models.
//!
//! The test is ignored unless it is asked for, because the models are not part of the repository:
//!
//! ```text
//! INJECT_REAL_MODELS=FOLDER cargo test --release --test it -- --ignored real_models
//! ```
//!
//! The folder holds `smollm2-135m/` and `gemma-3-270m/`, each an ordinary checkpoint with its `golden.safetensors` beside it
//! or in the folder that `INJECT_REAL_GOLDEN` names. The folder that `INJECT_REAL_GGUF` names holds `smollm2-135m.gguf` and
//! `gemma-3-270m.gguf`, from which the checkpoints were made by rounding what the blocks hold to F16 and BF16.

use std::path::{Path, PathBuf};

use inject_models::{Bos, FloatFormat, Hold, Logits, Model, Origin, Precision, Tap, TokenBatch};
use safetensors::SafeTensors;

use crate::fixture::{self, distance, golden, values};

const MODELS: [&str; 2] = ["smollm2-135m", "gemma-3-270m"];

/// The formats of the folders' weights.
const STORED: [FloatFormat; 2] = [FloatFormat::F16, FloatFormat::Bf16];

/// Texts in which tokenizers differ: scripts, numbers, spaces, code, special tokens and what is none.
const TEXTS: [&str; 24] = [
    "",
    " ",
    "Hello world",
    " Hello  world ",
    "The quick brown fox jumps over the lazy dog.",
    "I'm sure they'll say it's what we'd've done; DON'T THEY'RE",
    "In 1984, 3.14159 * 2 = 6.28318, and 1,000,000 is 10^6.",
    "x0 = [1, 22, 333, 4444]\n\tfor i in x0:\n\t\tprint(i)\n\n\nreturn x0",
    "def f(a,b):\n    return {\"k\": a[0]==b}  # comment\n",
    "a   b    c     d",
    "trailing spaces   ",
    "\n",
    "\n\n\n\n",
    "\r\nDOS\r\nlines\r\n",
    "\t\t\tdeep",
    "\u{e9}t\u{e9}, na\u{ef}ve, fa\u{e7}ade, \u{fc}ber, cafe\u{301}",
    "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}, \u{43c}\u{438}\u{440}! \u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}\u{3002} \u{3053}\u{3093}\u{306b}\u{3061}\u{306f}",
    "\u{645}\u{631}\u{62d}\u{628}\u{627} \u{628}\u{627}\u{644}\u{639}\u{627}\u{644}\u{645} \u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}",
    "\u{1f600}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} ok \u{2603}\u{fe0f}",
    "zero\u{200b}width\u{a0}nbsp\u{3000}ideographic",
    "<|im_start|>user\nhi<|im_end|> <start_of_turn>model<end_of_turn><bos> <table><tr></tr>",
    "\u{2581}sign\u{2581}\u{2581}of space",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb ---------------- ================",
    "\u{0}\u{1}\u{7f}\u{fffd}",
];

fn folder() -> PathBuf {
    let folder = std::env::var_os("INJECT_REAL_MODELS").map(PathBuf::from);
    folder.expect("INJECT_REAL_MODELS names the folder of the real models")
}

fn golden_path(models: &Path, name: &str) -> PathBuf {
    let beside = models.join(name).join("golden.safetensors");
    match std::env::var_os("INJECT_REAL_GOLDEN") {
        Some(other) if !beside.is_file() => Path::new(&other).join(name).join("golden.safetensors"),
        _ => beside,
    }
}

#[test]
#[ignore = "needs real checkpoints: set INJECT_REAL_MODELS and run with `--ignored`"]
fn real_models_equal_the_reference_at_every_tap() {
    let models = folder();
    for device in inject_testing::compiled() {
        for name in MODELS {
            let origin = Origin::of_folder(&models.join(name));
            let model = Model::load(origin, FloatFormat::F32, &device).unwrap();
            let worst = check_golden(&model, name);
            println!("{name} on {device:?}: worst distance {worst:.2} of the tolerance");
        }
    }
}

fn gguf_origin(name: &str) -> Origin {
    let folder = std::env::var_os("INJECT_REAL_GGUF").map(PathBuf::from);
    let folder = folder.expect("INJECT_REAL_GGUF names the folder of the GGUF files");
    Origin::of_folder(&folder.join(name).with_extension("gguf"))
}

fn gguf(name: &str) -> Model {
    Model::load(gguf_origin(name), FloatFormat::F32, &inject_testing::any_device()).unwrap()
}

fn of_folder(name: &str) -> Model {
    Model::load(Origin::of_folder(&folder().join(name)), FloatFormat::F32, &inject_testing::any_device())
        .unwrap()
}

#[test]
#[ignore = "needs real checkpoints: set INJECT_REAL_MODELS and INJECT_REAL_GGUF and run with `--ignored`"]
fn gguf_files_hold_the_weights_of_the_folders_bit_for_bit() {
    for (name, stored) in MODELS.into_iter().zip(STORED) {
        let saved = |model: &Model| {
            let folder = tempfile::TempDir::new().unwrap();
            let path = folder.path().join("model.safetensors");
            model.decoder.save_weights(model.family(), stored, &path).unwrap();
            std::fs::read(path).unwrap()
        };
        let (from_file, from_folder) = (gguf(name), of_folder(name));
        assert_eq!(from_file.decoder.config(), from_folder.decoder.config(), "{name}");
        assert!(saved(&from_file) == saved(&from_folder), "{name}");
    }
}

#[test]
#[ignore = "needs real checkpoints: set INJECT_REAL_MODELS and INJECT_REAL_GGUF and run with `--ignored`"]
fn gguf_files_rounded_as_the_folders_are_equal_the_reference() {
    for (name, stored) in MODELS.into_iter().zip(STORED) {
        let mut model = gguf(name);
        model.decoder = model.decoder.with_weights_in(stored).unwrap();
        let worst = check_golden(&model, name);
        println!("{name}.gguf: worst distance {worst:.2} of the tolerance");
    }
}

/// The codes are restored where they are multiplied, so the sums have another order than those of a file that is restored at load.
#[test]
#[ignore = "needs real checkpoints: set INJECT_REAL_GGUF and run with `--ignored`"]
fn gguf_files_give_the_same_states_where_they_are() {
    for name in MODELS {
        let origin = gguf_origin(name);
        let load = |precision: Precision| {
            Model::load(origin.clone(), precision, &inject_testing::any_device()).unwrap()
        };
        let in_file = load(Precision::new(Hold::Stored, FloatFormat::F32));
        let taps = Tap::all(in_file.decoder.config().n_layers());
        let ids = in_file.tokenizer().unwrap().encode(TEXTS[4], Bos::Auto).unwrap();
        let batch = TokenBatch::new(&[ids]).unwrap();
        let mut worst: f64 = 0.0;
        let states = |model: &Model| model.decoder.forward(&batch, &taps, Logits::None).unwrap().states;
        let (found, restored) = (states(&in_file), states(&load(FloatFormat::F32.into())));
        let oracle = states(&load(FloatFormat::F64.into()));
        let d_model = in_file.decoder.config().d_model;
        for tap in &taps {
            let [found, restored, oracle] =
                [&found, &restored, &oracle].map(|states| values(states[tap].clone()));
            let rows = restored.chunks(d_model).zip(oracle.chunks(d_model));
            let noise = rows.map(|(restored, oracle)| distance(restored, oracle)).fold(0.0, f64::max);
            for (found, oracle) in found.chunks(d_model).zip(oracle.chunks(d_model)) {
                let tolerance = fixture::tolerance(FloatFormat::F32, noise, oracle);
                let apart = distance(found, oracle);
                assert!(apart <= tolerance, "{name} {tap}: {apart:e} > {tolerance:e}");
                worst = worst.max(apart / tolerance);
            }
        }
        println!("{name}.gguf in its file: worst distance {worst:.2} of the tolerance");
    }
}

#[test]
#[ignore = "needs real checkpoints: set INJECT_REAL_MODELS and INJECT_REAL_GGUF and run with `--ignored`"]
fn gguf_files_tokenize_as_the_folders_do() {
    for name in MODELS {
        let (from_file, from_folder) = (gguf(name), of_folder(name));
        assert_eq!(from_file.bos_token_id(), from_folder.bos_token_id());
        let (from_file, from_folder) = (from_file.tokenizer().unwrap(), from_folder.tokenizer().unwrap());
        assert_eq!(from_file.vocab_size(), from_folder.vocab_size());
        for text in TEXTS {
            for bos in [Bos::Auto, Bos::Yes, Bos::No] {
                let found = from_file.encode(text, bos).unwrap();
                let expected = from_folder.encode(text, bos).unwrap();
                assert_eq!(found, expected, "{name}, {bos}: {text:?}");
                assert_eq!(from_file.decode(&found).unwrap(), from_folder.decode(&found).unwrap());
            }
        }
        for id in (0..from_file.vocab_size() as u32).step_by(17) {
            assert_eq!(from_file.token(id), from_folder.token(id), "{name}");
            assert_eq!(from_file.decode(&[id]).unwrap(), from_folder.decode(&[id]).unwrap(), "{name}");
        }
    }
}

/// Compares a model with its golden states, and returns the largest distance as a share of the tolerance.
fn check_golden(model: &Model, name: &str) -> f64 {
    let bytes = std::fs::read(golden_path(&folder(), name)).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let texts: Vec<String> = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["prompts"]).unwrap();
    let noise = noise_per_tap(&file, texts.len());
    let of_prompt = |(i, text): (usize, &String)| {
        let ids = fixture::ids(&golden(&file, &format!("prompt{i}.token_ids"))).remove(0);
        assert_eq!(model.tokenizer().unwrap().encode(text, Bos::Auto).unwrap(), ids, "{name}: {text}");
        check_prompt(model, &file, i, &ids, &noise)
    };
    texts.iter().enumerate().map(of_prompt).fold(0.0, f64::max)
}

/// The float32 error of transformers at each tap: the largest over all prompts and positions.
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
            let tolerance = fixture::tolerance(FloatFormat::F32, noise[index], expected);
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
