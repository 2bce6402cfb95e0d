//! GGUF files against the checkpoints that they were made from: the same settings, weights, states and tokens.

use std::{collections::BTreeMap, fs, path::Path};

use inject_models::{
    Bos, FloatFormat, Model, ModelError, ModelSource, Origin, checkpoint::Instead, config::Span,
};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::{
    fixture,
    malformed::{
        Checkpoint,
        gguf::{FLOAT32, I32, LIST, TEXT, U32, after, hide, list_of_i32, set, text, with_key},
    },
    parity, quantised,
};

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
    let with = |key: &str, cap: f32| edited("gemma2", |bytes| set(bytes, key, &cap.to_le_bytes()));
    let found = quantised::computed(&load("gemma2"));
    for key in ["gemma2.attn_logit_softcapping", "gemma2.final_logit_softcapping"] {
        let other = quantised::computed(&with(key, 1e9));
        let furthest = found.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest > 1e-3, "{key}: {furthest}");
    }
}

/// The model of a file whose bytes are edited.
fn edited(file: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Model {
    let mut bytes = fs::read(path(file)).unwrap();
    edit(&mut bytes);
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("edited.gguf");
    fs::write(&path, bytes).unwrap();
    Model::load(Origin::of_folder(&path), FloatFormat::F32, &inject_testing::any_device())
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Gives a key another type and value.
fn replace(bytes: &mut Vec<u8>, key: &str, kind: u32, value: &[u8]) {
    hide(bytes, key);
    with_key(bytes, key, kind, value);
}

/// As llama.cpp reads it (`llama_hparams::set_swa_pattern`).
#[test]
fn a_period_of_zero_gives_every_layer_a_window_and_one_of_one_gives_none() {
    let windows = |period: u32| -> Vec<bool> {
        let model = edited("gemma3", |bytes| {
            with_key(bytes, "gemma3.attention.sliding_window_pattern", U32, &period.to_le_bytes());
        });
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
        edited("gemma3", |bytes| {
            caps.iter().for_each(|(key, cap)| with_key(bytes, key, FLOAT32, &cap.to_le_bytes()));
        })
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

/// A name of cuts alone decides it where no key does. As in llama.cpp (`llama_vocab::impl::load`).
#[test]
fn the_name_of_the_cuts_says_whether_texts_begin_with_bos_and_whole_tokens_stay() {
    // A token that no merge makes, of letters that are tokens.
    let whole = "qqqqqqqqqq";
    let place = |bytes: &[u8]| after(bytes, "[unused10]") - whole.len();
    let id = load("gpt2").tokenizer().unwrap().encode("q", Bos::No).unwrap()[0];
    for (name, plain) in [
        ("llama-bpe", false),
        ("llama3", false),
        ("llama-v3", false),
        ("falcon3", false),
        ("tekken", false),
        ("smaug-bpe", true),
        ("dbrx", true),
        ("qwen2", true),
        ("gpt-4o", true),
        ("gpt-2", true),
        ("smollm", true),
    ] {
        let model = edited("gpt2", |bytes| {
            let begin = place(bytes);
            bytes[begin..begin + whole.len()].copy_from_slice(whole.as_bytes());
            replace(bytes, "tokenizer.ggml.pre", TEXT, &text(name));
        });
        let found = model.tokenizer().unwrap().encode(whole, Bos::Auto).unwrap();
        if plain {
            assert_eq!(found, vec![id; whole.len()], "{name}");
        } else {
            assert_eq!((found[0], found.len()), (0, 2), "{name}");
        }
    }
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

/// llama.cpp takes a list for a size of the layers (`llama_model_loader::get_key_or_arr`), and the package `gguf` stores whole
/// numbers of Python in lists as signed.
#[test]
fn a_number_of_heads_counts_in_every_form_in_which_it_is_stored() {
    let mut tested = 0;
    for (file, architecture) in
        [("llama", "llama"), ("smollm3", "smollm3"), ("gpt-neox", "gptneox"), ("qwen3", "qwen3")]
    {
        let plain = load(file);
        let expected = parameters(&plain);
        let config = plain.decoder.config();
        let attention = &config.blocks[0].attention;
        for (key, heads) in [("head_count", attention.n_heads), ("head_count_kv", attention.n_kv_heads)] {
            let key = format!("{architecture}.attention.{key}");
            if key == "gptneox.attention.head_count_kv" {
                continue;
            }
            let heads = i32::try_from(heads).unwrap();
            let list = list_of_i32(&vec![heads; config.blocks.len()]);
            for (kind, value) in [(I32, heads.to_le_bytes().to_vec()), (LIST, list)] {
                let found = edited(file, |bytes| replace(bytes, &key, kind, &value));
                assert_eq!(found.decoder.config(), config, "{key} of type {kind}");
                assert!(parameters(&found) == expected, "{key} of type {kind}");
                tested += 1;
            }
        }
    }
    assert_eq!(tested, 14);
}

#[test]
fn numbers_count_whatever_their_type() {
    let plain = load("llama");
    let found = edited("llama", |bytes| {
        for key in ["llama.rope.dimension_count", "llama.block_count", "tokenizer.ggml.bos_token_id"] {
            // The number of the type stands after the key.
            let kind = after(bytes, key);
            assert_eq!(bytes[kind], U32 as u8);
            bytes[kind] = I32 as u8;
        }
        with_key(bytes, "llama.expert_count", I32, &0_i32.to_le_bytes());
        with_key(bytes, "split.count", I32, &1_i32.to_le_bytes());
        with_key(bytes, "llama.rope.freq_base", U32, &10_000_u32.to_le_bytes());
    });
    assert_eq!(found.decoder.config(), plain.decoder.config());
    let first = |model: &Model| model.tokenizer().unwrap().first_token(Bos::Auto).unwrap();
    assert_eq!((first(&found), first(&plain)), (Some(1), Some(1)));
}

/// Converters write the factor. Without it, it is the one of transformers.
#[test]
fn a_longrope_without_its_factor_for_scores_is_that_of_the_checkpoint() {
    let model = edited("phi4", |bytes| hide(bytes, "phi3.rope.scaling.attn_factor"));
    for golden in ["golden", "golden-long"] {
        let device = inject_testing::any_device();
        parity::check_decoder("phi4", golden, FloatFormat::F32, &device, &model.decoder);
    }
}

/// Adds a tensor of 8 numbers at the end of a file.
fn with_tensor(bytes: &mut Vec<u8>, name: &str) {
    let last = bytes.windows(7).rposition(|window| window == b".weight").unwrap() + 7;
    let dimensions = u32::from_le_bytes(bytes[last..last + 4].try_into().unwrap()) as usize;
    let end = last + 4 + 8 * dimensions + 4 + 8;
    let data = end.next_multiple_of(32);
    let mut stored = bytes.split_off(data);
    stored.resize(stored.len().next_multiple_of(32), 0);
    bytes.truncate(end);
    let f32_format = 0_u32;
    bytes.extend(text(name));
    bytes.extend([&1_u32.to_le_bytes()[..], &8_u64.to_le_bytes(), &f32_format.to_le_bytes()].concat());
    bytes.extend((stored.len() as u64).to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(stored);
    bytes.resize(bytes.len() + 32, 0);
    let count = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) + 1;
    bytes[8..16].copy_from_slice(&count.to_le_bytes());
}

/// Ollama has names of its own for some settings, and keeps the part that sees images in the same file.
#[test]
fn a_file_of_ollama_is_read_as_any_other() {
    let plain = load("gemma3");
    let found = edited("gemma3", |bytes| {
        with_tensor(bytes, "v.patch_embedding.weight");
        with_tensor(bytes, "mm.mm_input_projection.weight");
        for key in ["gemma3.rope.freq_base_swa", "gemma3.rope.freq_base"] {
            hide(bytes, key);
        }
        with_key(bytes, "gemma3.rope.global.freq_base", FLOAT32, &20_000_f32.to_le_bytes());
        with_key(bytes, "gemma3.rope.local.freq_base", FLOAT32, &500_f32.to_le_bytes());
        with_key(bytes, "gemma3.mm.tokens_per_image", U32, &256_u32.to_le_bytes());
        with_key(bytes, "gemma3.vision.attention.head_count", U32, &16_u32.to_le_bytes());
    });
    assert_eq!(found.decoder.config(), plain.decoder.config());
    assert!(parameters(&found) == parameters(&plain));
    for hidden in [false, true] {
        let found = edited("qwen3", |bytes| {
            if hidden {
                hide(bytes, "qwen3.attention.key_length");
            }
            with_key(bytes, "qwen3.attention.head_dim", U32, &12_u32.to_le_bytes());
            with_key(bytes, "qwen3.attention.layer_norm_epsilon", FLOAT32, &1e-3_f32.to_le_bytes());
        });
        assert_eq!(found.decoder.config(), load("qwen3").decoder.config());
    }
}

/// Ollama's store names files by their hash. The files in a folder are known by their ending alone: none is opened.
#[test]
fn a_file_without_its_ending_is_known_by_its_first_bytes() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("sha256-0123abcd");
    fs::copy(path("llama"), &file).unwrap();
    assert_eq!(file.display().to_string().parse::<ModelSource>().unwrap(), ModelSource::Folder(file.clone()));
    let device = inject_testing::any_device();
    let model = Model::load(Origin::of_folder(&file), FloatFormat::F32, &device).unwrap();
    assert_eq!(model.weight_hash().unwrap(), load("llama").weight_hash().unwrap());
    let hash = |model: &Model| model.tokenizer().unwrap().hash().to_owned();
    assert_eq!(hash(&model), hash(&load("llama")));

    let loaded = |folder: &Path| Model::load(Origin::of_folder(folder), FloatFormat::F32, &device);
    assert!(loaded(folder.path()).is_err());
    fs::rename(&file, folder.path().join("model.GGUF")).unwrap();
    assert!(loaded(folder.path()).is_ok());
}
