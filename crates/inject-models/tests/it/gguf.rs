//! GGUF files against the checkpoints that they were made from: the same settings, weights, states and tokens.

use std::{collections::BTreeMap, fs};

use inject_models::{
    Bos, FloatFormat, Model, ModelError, ModelSource, Origin, checkpoint::Instead, config::Span,
};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::{fixture, malformed::Checkpoint, parity, quantised};

/// Each file, the fixture that it was made from, and the golden files of that.
pub(crate) const FILES: [(&str, &str, &[&str]); 11] = [
    ("llama", "llama-bf16-shards", &["golden"]),
    ("llama-linear", "llama-linear", &["golden"]),
    ("llama3-scaling", "llama3-scaling", &["golden"]),
    ("gpt2", "gpt2-hub-names", &["golden"]),
    ("phi3", "phi3", &["golden"]),
    ("phi4", "phi4", &["golden", "golden-long"]),
    ("qwen3", "qwen3", &["golden"]),
    ("gpt-neox", "gpt-neox", &["golden"]),
    ("gpt-neox-sequential", "gpt-neox-sequential", &["golden"]),
    ("olmo2", "olmo2", &["golden"]),
    ("smollm3", "smollm3", &["golden"]),
];

pub(crate) fn path(file: &str) -> std::path::PathBuf {
    fixture::folder("gguf").join(file).with_extension("gguf")
}

fn load(file: &str) -> Model {
    let origin = Origin::of_folder(&path(file));
    Model::load(origin, FloatFormat::F32, &inject_testing::any_device())
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The parameters in F32, by name.
fn parameters(model: &Model) -> BTreeMap<String, Vec<f32>> {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    model.decoder.save_weights(model.family(), FloatFormat::F32, &path).unwrap();
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
    file.iter().map(|(name, view)| (name.to_owned(), values(view.data()))).collect()
}

#[test]
fn the_weights_of_a_file_are_those_of_its_checkpoint() {
    for (file, case, _) in FILES {
        let found = parameters(&load(file));
        let expected = parameters(&fixture::load(case, FloatFormat::F32, &inject_testing::any_device()));
        assert!(found == expected, "{file}");
    }
}

#[test]
fn the_states_of_a_file_equal_the_reference() {
    for device in inject_testing::compiled() {
        for (file, case, goldens) in FILES {
            let model = Model::load(Origin::of_folder(&path(file)), FloatFormat::F32, &device).unwrap();
            for golden in goldens {
                let worst = parity::check_decoder(case, golden, FloatFormat::F32, &device, &model.decoder);
                println!("{file}.gguf on {device:?}: worst distance {worst:.2} of the tolerance");
            }
        }
    }
}

/// A GGUF file has no key for Gemma's `query_pre_attn_scalar`: it is the width of a head in all models but the largest. Nor
/// does it hold the weights of norms, but their sums with 1, rounded to 24 bits.
#[test]
fn a_gemma_file_equals_its_checkpoint_with_the_usual_scale_of_scores() {
    for case in ["gemma3", "gemma2"] {
        let found = load(case);
        let checkpoint = Checkpoint::copy_of(case)
            .with_key("query_pre_attn_scalar", 8)
            .with_key("rms_norm_eps", f64::from(1e-3_f32));
        let expected = checkpoint.load().unwrap();
        assert_eq!(found.decoder.config(), expected.decoder.config(), "{case}");
        let (found, expected) = (parameters(&found), parameters(&expected));
        assert_eq!(found.len(), expected.len(), "{case}");
        for (name, expected) in &expected {
            // Half the distance of two numbers between 1 and 2, and none for what is not a norm.
            let most = if name.ends_with("norm.weight") { f32::EPSILON / 2.0 } else { 0.0 };
            for (a, b) in found[name].iter().zip(expected) {
                assert!((a - b).abs() <= most, "{case}: {name}: {a} and {b}");
            }
        }
    }
}

#[test]
fn the_soft_caps_of_a_file_bend_its_scores_and_logits() {
    let bytes = fs::read(path("gemma2")).unwrap();
    let with = |key: &str, cap: f32| {
        let mut bytes = bytes.clone();
        let begin = bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap();
        // The number of its type stands between the key and the value.
        let begin = begin + key.len() + 4;
        assert!(bytes[begin..begin + 4] != cap.to_le_bytes());
        bytes[begin..begin + 4].copy_from_slice(&cap.to_le_bytes());
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("gemma2.gguf");
        fs::write(&path, bytes).unwrap();
        Model::load(Origin::of_folder(&path), FloatFormat::F32, &inject_testing::any_device()).unwrap()
    };
    let found = quantised::computed(&load("gemma2"));
    for key in ["gemma2.attn_logit_softcapping", "gemma2.final_logit_softcapping"] {
        let other = quantised::computed(&with(key, 1e9));
        let furthest = found.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest > 1e-3, "{key}: {furthest}");
    }
}

/// A number of four bytes, as the metadata of a file has it.
#[derive(Clone, Copy)]
enum Number {
    U32(u32),
    F32(f32),
}

impl Number {
    /// The number that stands for its type, and its bytes.
    fn stored(self) -> [u8; 8] {
        let (kind, value) = match self {
            Number::U32(value) => (4_u32, value.to_le_bytes()),
            Number::F32(value) => (6_u32, value.to_le_bytes()),
        };
        [kind.to_le_bytes(), value].concat().try_into().unwrap()
    }
}

/// Adds keys with numbers to a file, and one more so that the tensors stay aligned to 32 bytes.
fn with_keys(bytes: &[u8], keys: &[(&str, Number)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let numbers = keys.iter().map(|(key, value)| [text(key), value.stored().to_vec()].concat());
    let mut added: Vec<u8> = numbers.flatten().collect();
    let begin = [text("filler"), 8_u32.to_le_bytes().to_vec()].concat();
    let filler = (added.len() + begin.len() + 8).next_multiple_of(32) - (added.len() + begin.len() + 8);
    added.extend([begin, text(&"x".repeat(filler))].concat());
    let mut bytes = bytes.to_vec();
    let count = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) + keys.len() as u64 + 1;
    bytes[16..24].copy_from_slice(&count.to_le_bytes());
    bytes.splice(24..24, added);
    bytes
}

/// The model of the Gemma 3 file with further keys.
fn gemma3_with(keys: &[(&str, Number)]) -> Model {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("gemma3.gguf");
    fs::write(&path, with_keys(&fs::read(self::path("gemma3")).unwrap(), keys)).unwrap();
    Model::load(Origin::of_folder(&path), FloatFormat::F32, &inject_testing::any_device()).unwrap()
}

/// As llama.cpp reads it (`llama_hparams::set_swa_pattern`).
#[test]
fn a_period_of_zero_gives_every_layer_a_window_and_one_of_one_gives_none() {
    let windows = |period: u32| -> Vec<bool> {
        let model = gemma3_with(&[("gemma3.attention.sliding_window_pattern", Number::U32(period))]);
        let blocks = &model.decoder.config().blocks;
        blocks.iter().map(|block| matches!(block.attention.span, Span::Window(_))).collect()
    };
    assert!(windows(0).iter().all(|windowed| *windowed));
    assert!(windows(1).iter().all(|windowed| !windowed));
    assert_eq!(windows(2).first(), Some(&true));
}

/// As in config.json: transformers' attention of Gemma 3 never caps a score, and its head caps the logits.
#[test]
fn of_the_soft_caps_of_a_gemma3_file_that_of_the_logits_counts() {
    let with = |caps: &[(&str, f32)]| {
        let keys: Vec<_> = caps.iter().map(|&(key, cap)| (key, Number::F32(cap))).collect();
        gemma3_with(&keys)
    };
    let plain = quantised::computed(&load("gemma3"));
    let (scores, logits) = ("gemma3.attn_logit_softcapping", "gemma3.final_logit_softcapping");
    assert!(quantised::computed(&with(&[(scores, 0.5), (logits, 0.0)])) == plain);
    let capped = with(&[(scores, 50.0), (logits, 0.5)]);
    assert_eq!(capped.decoder.config().logit_cap, Some(0.5));
    assert!(capped.decoder.config().blocks.iter().all(|block| block.attention.score_cap.is_none()));
    assert!(quantised::computed(&capped) != plain);
}

/// A GGUF file has no key for Qwen's windows, which no published model switches on.
#[test]
fn a_qwen2_file_equals_its_checkpoint_without_windows() {
    let found = load("qwen2");
    let checkpoint = Checkpoint::copy_of("qwen2")
        .with_key("use_sliding_window", false)
        .with_key("rms_norm_eps", f64::from(1e-3_f32));
    let expected = checkpoint.load().unwrap();
    assert_eq!(found.decoder.config(), expected.decoder.config());
    assert!(parameters(&found) == parameters(&expected));
}

#[test]
fn the_settings_of_a_file_are_those_of_its_checkpoint() {
    for (file, case, key) in [
        ("llama", "llama-bf16-shards", "rms_norm_eps"),
        ("llama-linear", "llama-linear", "rms_norm_eps"),
        ("gpt2", "gpt2-hub-names", "layer_norm_epsilon"),
        ("phi3", "phi3", "rms_norm_eps"),
        ("qwen3", "qwen3", "rms_norm_eps"),
        ("gpt-neox", "gpt-neox", "layer_norm_eps"),
        ("gpt-neox-sequential", "gpt-neox-sequential", "layer_norm_eps"),
        ("olmo2", "olmo2", "rms_norm_eps"),
        ("smollm3", "smollm3", "rms_norm_eps"),
    ] {
        let checkpoint = Checkpoint::copy_of(case).with_key(key, f64::from(1e-3_f32));
        assert_eq!(load(file).decoder.config(), checkpoint.load().unwrap().decoder.config(), "{file}");
    }
}

#[test]
fn the_tokenizer_of_a_file_gives_the_ids_of_the_library() {
    let tokens: Value =
        serde_json::from_slice(&fs::read(fixture::folder("gguf").join("tokens.json")).unwrap()).unwrap();
    for file in ["gpt2", "llama"] {
        let model = load(file);
        let tokenizer = model.tokenizer().unwrap();
        let texts = tokens["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        for (text, expected) in texts.zip(tokens[file].as_array().unwrap()) {
            let found = tokenizer.encode(text, Bos::Auto).unwrap();
            assert_eq!(&serde_json::to_value(&found).unwrap(), expected, "{file}: {text:?}");
            let whole = found.iter().all(|&id| tokenizer.token(id).as_deref() != Some("<unk>"));
            if whole && !text.contains(['<', '5']) {
                assert_eq!(tokenizer.decode(&found).unwrap(), text, "{file}");
            }
        }
    }
}

#[test]
fn the_begin_of_a_text_is_what_the_file_says() {
    let first = |file: &str, bos| load(file).tokenizer().unwrap().first_token(bos).unwrap();
    assert_eq!(
        (first("llama", Bos::Auto), first("llama", Bos::Yes), first("llama", Bos::No)),
        (Some(1), Some(1), None)
    );
    assert_eq!((first("gpt2", Bos::Auto), first("gpt2", Bos::Yes)), (None, Some(0)));
}

#[test]
fn a_file_is_named_by_itself_or_by_a_folder_with_nothing_else_to_load() {
    let file = path("llama");
    assert_eq!(file.display().to_string().parse::<ModelSource>().unwrap(), ModelSource::Folder(file.clone()));
    assert_eq!(Origin::of_folder(&file).id, "llama.gguf");
    let folder = tempfile::TempDir::new().unwrap();
    fs::copy(&file, folder.path().join("llama.gguf")).unwrap();
    let device = &inject_testing::any_device();
    let model = Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, device).unwrap();
    assert_eq!(model.weight_hash().unwrap(), load("llama").weight_hash().unwrap());
    fs::copy(&file, folder.path().join("other.gguf")).unwrap();
    let error = Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, device).unwrap_err();
    let ModelError::Instead { found: Instead::Gguf { files }, .. } = &error else { panic!("{error:?}") };
    assert_eq!(files[..], ["llama.gguf", "other.gguf"]);
}

#[test]
fn the_hash_of_a_tokenizer_is_that_of_its_metadata() {
    let hash = |file: &str| load(file).tokenizer().unwrap().hash().to_owned();
    assert_eq!(hash("llama"), hash("llama"));
    assert_ne!(hash("llama"), hash("gpt2"));
    let error = load("phi3").tokenizer().unwrap_err();
    assert!(matches!(error, ModelError::NoTokenizer { .. }), "{error:?}");
}
