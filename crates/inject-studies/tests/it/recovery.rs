//! Whole prompts from states that are not those computed.

use inject_sipit::{
    Policy, TargetStates,
    models::{Decoder, FloatFormat, NumberFormat, Tap},
    sources::Prior,
    states::Disturbance,
};
use inject_studies::{Condition, RecoveryOptions, RecoveryStudy, Run, StudyError, recovery};
use ndarray::Array2;

use inject_testing::models::{FAMILIES, model, random};

const TAPS: [Tap; 2] = [Tap::Block(1), Tap::FinalNorm];

fn options(conditions: Vec<Condition>) -> RecoveryOptions {
    RecoveryOptions::new(TAPS.to_vec(), conditions, 16, 97).with_seed(3)
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![3, 9, 14, 15, 92, 65], vec![35, 89, 79, 32]]
}

fn study(decoder: &Decoder, options: &RecoveryOptions, run: Run<'_>) -> Result<RecoveryStudy, StudyError> {
    let mut policy = |_: &Decoder, _: Tap| Ok(Policy::new().then_up_to(32, Prior::new()));
    recovery(decoder, "small", &prompts(), options, &mut policy, run)
}

#[test]
fn what_the_theorem_promises_comes_back_in_every_family() {
    let known = [NumberFormat::Int8, NumberFormat::Nf4].map(|weights| Condition::KnownWeights { weights });
    let rounded = [FloatFormat::F16, FloatFormat::Bf16]
        .map(|format| Condition::States { disturbance: Disturbance::Rounded(format.into()) });
    let conditions = [Condition::Exact, Condition::Noise { share_of_margin: 0.45 }];
    let asked = options(conditions.into_iter().chain(known).chain(rounded).collect());
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = random(case, 11, &device);
            let found = study(&decoder, &asked, Run::silent()).unwrap();
            assert_eq!(found.recovered.len(), 2 * asked.conditions.len());
            for at in &found.recovered {
                let whole = (at.prompts, at.tokens);
                assert_eq!((at.exact, at.right), whole, "{case}, {}, {}", at.condition, at.tap);
                assert_eq!((at.gone, at.not_found, at.failed), (0, 0, 0));
            }
        }
    }
}

#[test]
fn a_lost_prompt_is_said_to_be_gone_only_where_another_token_is_nearer() {
    let device = inject_testing::compiled().remove(0);
    let conditions = ["dropout:0.9", "noise:1000", "int4-tensor"]
        .map(|word| Condition::States { disturbance: word.parse().unwrap() });
    let found = study(&random("gpt2", 2, &device), &options(conditions.to_vec()), Run::silent());
    let found = found.unwrap().recovered;
    assert!(found.iter().any(|at| at.exact < at.prompts), "nothing was disturbed enough");
    for at in found {
        assert_eq!(at.exact + at.gone + at.not_found, at.prompts);
        // The vocabulary behind each of eight hypotheses, and once more for the certificate.
        assert!(at.largest_error > 0.0 && at.candidates_per_token <= 9.0 * 97.0);
    }
}

#[test]
fn the_same_seed_gives_the_same() {
    let device = inject_testing::compiled().remove(0);
    let decoder = random("llama", 4, &device);
    let asked = options(vec![
        Condition::Noise { share_of_margin: 2.0 },
        Condition::UnknownWeights { weights: NumberFormat::Fp4 },
    ]);
    let once = study(&decoder, &asked, Run::silent()).unwrap();
    assert_eq!(study(&decoder, &asked, Run::silent()).unwrap(), once);
}

#[test]
fn no_prompts_and_half_steps_that_do_not_match_are_refused() {
    let device = inject_testing::compiled().remove(0);
    let decoder = model("gpt2", &device).decoder;
    let mut policy = |_: &Decoder, _: Tap| Ok(Policy::new());
    let asked = options(vec![Condition::Exact]);
    let error = recovery(&decoder, "small", &[], &asked, &mut policy, Run::silent()).unwrap_err();
    assert!(matches!(error, StudyError::TooFewPrompts { .. }), "{error}");
    let target = TargetStates::new(Array2::zeros((2, 32)), Tap::Block(1), FloatFormat::F64).unwrap();
    let error = target.clone().rounded_by(vec![0.1]).unwrap_err();
    assert!(matches!(error, inject_sipit::InvertError::HalfSteps { found: 1, expected: 2 }), "{error}");
    let error = target.rounded_by(vec![0.1, f64::NAN]).unwrap_err();
    assert!(matches!(error, inject_sipit::InvertError::Tolerance { .. }), "{error}");
}
