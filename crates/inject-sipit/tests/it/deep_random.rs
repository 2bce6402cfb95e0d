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

/// Two unrelated tokens of such a model have nearly unrelated states: a state depends linearly on its embedding for a few hundredths of
/// its variance. So tested candidates point to the token only if thousands of them are added up. Gradients show it at once.
#[test]
fn a_token_that_no_neighbour_points_to_is_found_by_gradients() {
    let prompt = [3001, 2728, 2455, 2182];
    let model = model(&config());
    let target = TargetStates::of_prompt(&model.decoder, Tap::Block(16), &prompt).unwrap();
    let inversion = recover(&model, &target, &mut silent).unwrap();
    assert_eq!(inversion.token_ids(), prompt);
    assert!(inversion.is_verified());
    let tested: Vec<usize> = inversion.positions.iter().map(|position| position.candidates_tested).collect();
    // By the nearest states alone: 2,655, 1,333, 908 and 1,291. At so small a width a gradient holds little, and yet twice as much.
    #[cfg(feature = "gradient")]
    assert!(tested.iter().sum::<usize>() < 4000, "{tested:?}");
    println!("{tested:?} candidates");
}
