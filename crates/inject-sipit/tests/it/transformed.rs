//! States that their producer multiplied or centred.

use std::path::Path;

use crate::small::{invert, model, of_vocabulary, random, random_decoders, target};
use inject_sipit::{
    InvertError, Inverter, Policy, Producer, Settings, TargetStates, Transformation, Verdict,
    models::{FloatFormat, Tap, config::NormConfig, silent},
    states::foreign::{ColumnChoice, StatesFile},
};

const PROMPT: [u32; 6] = [5, 41, 7, 63, 12, 30];

#[test]
fn a_factor_of_all_states_is_found_where_nothing_fits_the_first() {
    for (case, decoder) in random_decoders(31) {
        let last = decoder.config().n_layers();
        for (tap, factor) in [(Tap::Block(1), 0.25), (Tap::Block(last), 3.7), (Tap::FinalNorm, 1.1)] {
            // The product is rounded to f32, as a program that multiplies would write it.
            let states = target(&decoder, &PROMPT, tap).states().mapv(|v| f64::from((v * factor) as f32));
            let scaled = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
            let found = invert(&decoder, &scaled, &Policy::new(), Settings::new()).unwrap();
            assert_eq!(found.token_ids(), PROMPT, "{case} {tap}: {found:?}");
            assert!(found.is_verified(), "{case} {tap}");
            let Transformation::Scaled { by, within } = found.transformation else {
                panic!("{case} {tap}: {:?}", found.transformation)
            };
            assert!((by / factor - 1.0).abs() <= within, "{case} {tap}: {by}, within {within}");
            assert!(found.cost.stages().contains_key("factor"));
        }
    }
}

#[test]
fn states_that_were_each_divided_by_their_length_are_compared_by_direction() {
    for (case, decoder) in random_decoders(31) {
        let last = decoder.config().n_layers();
        for tap in [Tap::Block(1), Tap::Block(last), Tap::FinalNorm] {
            let mut states = target(&decoder, &PROMPT, tap).states().to_owned();
            for mut state in states.outer_iter_mut() {
                let length = state.iter().map(|value| value * value).sum::<f64>().sqrt();
                state.mapv_inplace(|value| f64::from((value / length) as f32));
            }
            let unit = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
            let found = invert(&decoder, &unit, &Policy::new(), Settings::new()).unwrap();
            assert_eq!(found.token_ids(), PROMPT, "{case} {tap}: {found:?}");
            assert!(found.is_verified(), "{case} {tap}");
            assert_eq!(found.transformation, Transformation::Direction);
        }
    }
}

#[test]
fn states_computed_in_16_bits_and_multiplied_need_no_option() {
    // So many tokens that the search for a factor does not test all.
    let vocab_size = 16_384;
    for device in inject_testing::compiled() {
        let decoder = of_vocabulary("llama", vocab_size, 31, &device);
        for format in [FloatFormat::Bf16, FloatFormat::F16] {
            let producer = decoder.clone().computing_in(format);
            for tap in [Tap::Block(1), Tap::FinalNorm] {
                let mut states = target(&producer, &PROMPT, tap).states().to_owned();
                states.mapv_inplace(|value| f64::from((0.37 * value) as f32));
                let scaled = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
                let found = invert(&decoder, &scaled, &Policy::new(), Settings::new()).unwrap();
                assert_eq!(found.token_ids(), PROMPT, "{format} {tap}: {found:?}");
                assert!(found.is_verified(), "{format} {tap}: {found:?}");
                let Transformation::Scaled { by, within } = found.transformation else {
                    panic!("{format} {tap}: {:?}", found.transformation)
                };
                assert!((by / 0.37 - 1.0).abs() <= within, "{format} {tap}: {by}, within {within}");
                assert!(within < 1e-6, "{format} {tap}: {within}");
                assert_eq!(found.producer, Some(Producer::Noise(format.into())), "{format} {tap}");
            }
        }
    }
}

#[test]
fn many_scaled_prompts_are_inverted_together() {
    for decoder in inject_testing::on_each(|device| random("llama", 31, device)) {
        let tap = Tap::Block(2);
        let prompts = [&PROMPT[..], &PROMPT[2..], &PROMPT[..3]];
        let scaled = |prompt: &&[u32]| {
            let states = target(&decoder, prompt, tap).states().mapv(|v| 8.0 * v);
            TargetStates::new(states, tap, FloatFormat::F32).unwrap()
        };
        let targets: Vec<TargetStates> = prompts.iter().map(scaled).collect();
        let inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
        let policy = Policy::new();
        let found = inverter.invert_many(&targets, &mut inverter.searcher(&policy), &mut silent).unwrap();
        for (found, prompt) in found.iter().zip(prompts) {
            assert_eq!(found.token_ids(), prompt);
            assert!(matches!(found.transformation, Transformation::Scaled { .. }));
        }
    }
}

#[test]
fn states_of_the_model_have_no_factor() {
    for device in inject_testing::compiled() {
        let decoder = random("gpt2", 31, &device);
        let own = target(&decoder, &PROMPT, Tap::Block(2));
        let found = invert(&decoder, &own, &Policy::new(), Settings::new()).unwrap();
        assert_eq!(found.transformation, Transformation::None);
        // Those of another model have none either, and fail.
        let other = target(&random("gpt2", 32, &device), &PROMPT, Tap::Block(2));
        let found = invert(&decoder, &other, &Policy::new(), Settings::new()).unwrap();
        assert_eq!(found.transformation, Transformation::None);
        assert_eq!(found.positions[0].verdict, Verdict::Failed);
    }
}

#[test]
fn a_factor_that_explains_the_first_state_alone_is_dropped() {
    for decoder in inject_testing::on_each(|device| random("llama", 31, device)) {
        let tap = Tap::Block(decoder.config().n_layers());
        let producer = decoder.clone().computing_in(FloatFormat::Bf16);
        let mut states = target(&producer, &PROMPT, tap).states().to_owned();
        states.row_mut(0).mapv_inplace(|value| 8.0 * value);
        let first = TargetStates::new(states.clone(), tap, FloatFormat::Bf16).unwrap();
        let found = invert(&decoder, &first, &Policy::new(), Settings::new()).unwrap();
        assert!(found.cost.stages().contains_key("factor"), "{found:?}");
        assert_eq!(found.transformation, Transformation::None, "{found:?}");
        // Noise may explain all states then.
        let mut verified =
            found.positions.iter().zip(PROMPT).filter(|(found, _)| found.verdict.is_verified());
        assert!(verified.all(|(found, token)| found.token_id() == Some(token)), "{found:?}");
        // It is kept if it explains the second state too, whatever the third.
        states.row_mut(1).mapv_inplace(|value| 8.0 * value);
        let both = TargetStates::new(states, tap, FloatFormat::Bf16).unwrap();
        let found = invert(&decoder, &both, &Policy::new(), Settings::new()).unwrap();
        assert!(matches!(found.transformation, Transformation::Scaled { .. }), "{found:?}");
        assert_eq!(found.token_ids()[..2], PROMPT[..2], "{found:?}");
    }
}

#[test]
fn centred_states_are_recognised_in_models_that_are_blind_to_the_mean() {
    for (case, decoder) in random_decoders(31) {
        let is_blind = matches!(decoder.config().final_norm, NormConfig::Layer { .. });
        for tap in [Tap::Embedding, Tap::Block(1), Tap::Block(2)] {
            let mut states = target(&decoder, &PROMPT, tap).states().to_owned();
            for mut row in states.outer_iter_mut() {
                let mean = row.mean().unwrap();
                row.mapv_inplace(|value| f64::from((value - mean) as f32));
            }
            let centred = TargetStates::new(states, tap, FloatFormat::F32).unwrap();
            let found = invert(&decoder, &centred, &Policy::new(), Settings::new()).unwrap();
            if is_blind {
                assert_eq!(found.transformation, Transformation::Centred, "{case} {tap}");
                assert_eq!(found.token_ids(), PROMPT, "{case} {tap}");
                assert!(found.is_verified(), "{case} {tap}");
            } else {
                assert_eq!(found.transformation, Transformation::None, "{case} {tap}");
            }
        }
    }
}

#[test]
fn states_of_processed_weights_give_the_prompt() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/centred/states.safetensors");
    let prompt = [31, 41, 59, 26, 53, 58, 9, 79];
    for decoder in inject_testing::on_each(|device| model("gpt2", device).decoder) {
        let mut file = StatesFile::open(&path).unwrap();
        for tap in file.taps().unwrap().to_vec() {
            let states = file.column(ColumnChoice::Tap(tap)).unwrap().into_array();
            let target = TargetStates::new(states, tap, file.dtype()).unwrap();
            let found = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
            assert_eq!(found.transformation, Transformation::Centred, "{tap}");
            assert!(found.is_verified() && found.token_ids() == prompt, "{tap}: {found:?}");
        }
    }
}

#[test]
fn a_factor_that_is_no_number_is_refused() {
    let target = || TargetStates::new(ndarray::array![[1.0, 2.0]], Tap::Block(1), FloatFormat::F32).unwrap();
    for by in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = target().scaled(by, 0.0).unwrap_err();
        assert!(matches!(error, InvertError::Scale { found } if found.total_cmp(&by).is_eq()), "{error:?}");
    }
}
