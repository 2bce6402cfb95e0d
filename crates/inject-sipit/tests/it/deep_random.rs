//! Deep models of random weights, whose states follow embeddings by chance alone.

use std::fs::File;

use inject_sipit::{
    TargetStates,
    models::{FloatFormat, Model, Origin, Precision, RandomCheckpoint, Tap, silent},
    recover,
};
use serde_json::{Value, json};

/// A model of Phi-4-mini's kind.
fn config() -> Value {
    json!({
        "model_type": "phi3", "hidden_act": "silu", "vocab_size": 8192, "hidden_size": 192,
        "num_hidden_layers": 32, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 512,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "initializer_range": 0.08,
        "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 4096,
            "short_factor": vec![1.0; 12], "long_factor": (0..12).map(|i| 1.0 + f64::from(i)).collect::<Vec<_>>(),
        },
    })
}

fn model(config: &Value) -> Model {
    let folder = tempfile::tempdir().unwrap();
    for file in RandomCheckpoint::of_config(&config.to_string(), FloatFormat::Bf16, 1).unwrap().files() {
        file.write_to(&mut File::create(folder.path().join(file.name())).unwrap(), &mut silent).unwrap();
    }
    let mut model =
        Model::load(Origin::of_folder(folder.path()), Precision::default(), &inject_testing::any_device())
            .unwrap();
    model.decoder = model.decoder.with_lanes(2.try_into().unwrap());
    model
}

#[test]
fn experiment() {
    let mut config = config();
    if let Ok(text) = std::env::var("DEEP") {
        let more: Value = serde_json::from_str(&text).unwrap();
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
    }
    let tap = std::env::var("TAP").map_or(16, |tap| tap.parse().unwrap());
    let positions: u32 = std::env::var("LEN").map_or(6, |tap| tap.parse().unwrap());
    let model = model(&config);
    let vocab = model.decoder.config().vocab_size as u32;
    let prompt: Vec<u32> = (0..positions).map(|i| (i * 7919 + 3001) % vocab).collect();
    let tap = Tap::Block(tap);
    let target = TargetStates::of_prompt(&model.decoder, tap, &prompt).unwrap();
    let begin = std::time::Instant::now();
    let inversion = recover(&model, &target, &mut silent).unwrap();
    let tested: Vec<(usize, Option<&str>)> = inversion
        .positions
        .iter()
        .map(|position| (position.candidates_tested, position.found_by()))
        .collect();
    println!("{:.1} s {tested:?}", begin.elapsed().as_secs_f64());
    for (name, stage) in inversion.cost.stages() {
        println!("{name} {stage:?}");
    }
    assert_eq!(inversion.token_ids(), prompt);
}
