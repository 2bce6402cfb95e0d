//! The recovery of whole prompts from disturbed states.

use inject_sipit::{
    Policy, TargetStates,
    collisions::distance,
    models::{Decoder, FloatFormat, NumberFormat, Tap, silent},
    sources::Prior,
    states::{Disturbance, Extraction, store::Positions},
};
use inject_studies::{
    Run, StudyError, recovery,
    recovery::{Condition, RecoveryOptions, RecoveryStudy},
};
use ndarray::Array2;

use inject_testing::models::{VOCAB_SIZE, model, random, random_decoders};

const TAPS: [Tap; 2] = [Tap::Block(1), Tap::FinalNorm];

fn options(conditions: Vec<Condition>) -> RecoveryOptions {
    RecoveryOptions::new(TAPS.to_vec(), conditions, 16, 97).with_seed(3)
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![3, 9, 14, 15, 92, 65], vec![35, 89, 79, 32]]
}

fn study(decoder: &Decoder, options: &RecoveryOptions, run: Run<'_>) -> Result<RecoveryStudy, StudyError> {
    study_of(decoder, &prompts(), options, run)
}

fn study_of(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    options: &RecoveryOptions,
    run: Run<'_>,
) -> Result<RecoveryStudy, StudyError> {
    let mut policy = |_: &Decoder, _: Tap| Ok(Policy::new().then_up_to(32, Prior::new()));
    recovery(decoder, "small", prompts, options, &mut policy, run)
}

/// The states of a prompt at a tap, and the states of every token at each position, after the true tokens before it:
/// `[position][token]`. They are computed by a plain loop over whole prompts.
type Alternatives = (Array2<f64>, Vec<Vec<Vec<f64>>>);

fn alternatives(decoder: &Decoder, tap: Tap, prompt: &[u32]) -> Alternatives {
    let states = |positions: Positions, prompts: &[Vec<u32>]| {
        let extraction = Extraction::new(vec![tap], positions).unwrap();
        extraction.run(decoder, prompts, &mut silent).unwrap().remove(&tap).unwrap().mapv(f64::from)
    };
    let own = states(Positions::All, &[prompt.to_vec()]);
    let at = |position: usize| {
        let with = |token: u32| [&prompt[..position], &[token]].concat();
        let prompts: Vec<Vec<u32>> = (0..VOCAB_SIZE).map(with).collect();
        states(Positions::Last, &prompts).outer_iter().map(|row| row.to_vec()).collect()
    };
    (own, (0..prompt.len()).map(at).collect())
}

/// Returns the smallest distance from a true token's state to that of another token, over the positions of a prompt.
fn naive_margin(prompt: &[u32], (_, others): &Alternatives) -> f64 {
    let at = |(position, of_tokens): (usize, &Vec<Vec<f64>>)| {
        let truth = prompt[position] as usize;
        let others = (0..of_tokens.len()).filter(|&token| token != truth);
        others.map(|token| distance(&of_tokens[token], &of_tokens[truth])).fold(f64::INFINITY, f64::min)
    };
    others.iter().enumerate().map(at).fold(f64::INFINITY, f64::min)
}

/// Theorem 3.2 of arXiv 2510.15511: a state that moved by less than half its margin is still nearest to the true token's.
#[test]
fn prompts_whose_states_moved_by_less_than_half_the_margin_are_recovered_in_every_family() {
    let known = [NumberFormat::Int8, NumberFormat::Nf4].map(|weights| Condition::KnownWeights { weights });
    let rounded = [FloatFormat::F16, FloatFormat::Bf16]
        .map(|format| Condition::States { disturbance: Disturbance::Rounded(format.into()) });
    let conditions = [Condition::Exact, Condition::Noise { share_of_margin: 0.45 }];
    let asked = options(conditions.into_iter().chain(known).chain(rounded).collect());
    for (case, decoder) in random_decoders(11) {
        // One prompt at a time, because noise is a share of the prompt's own margin.
        for prompt in prompts() {
            let found = study_of(&decoder, std::slice::from_ref(&prompt), &asked, Run::silent()).unwrap();
            assert_eq!(found.recovered.len(), 2 * asked.conditions.len());
            for at in &found.recovered {
                let inverting = match at.condition {
                    Condition::KnownWeights { weights } => decoder.clone().with_weights_in(weights).unwrap(),
                    _ => decoder.clone(),
                };
                let margin = naive_margin(&prompt, &alternatives(&inverting, at.tap, &prompt));
                let label = format!("{case}, {}, {}", at.condition, at.tap);
                // The premise of the theorem, and a check that the condition moves the states.
                let moved = !matches!(at.condition, Condition::Exact | Condition::KnownWeights { .. });
                assert_eq!(at.largest_error > 0.0, moved, "{label}");
                assert!(at.largest_error < margin / 2.0, "{label}: {} of {margin}", at.largest_error);
                // Its conclusion.
                assert_eq!((at.exact, at.right), (1, prompt.len()), "{label}");
                assert_eq!((at.gone, at.not_found, at.failed), (0, 0, 0), "{label}");
            }
        }
    }
}

#[test]
fn a_lost_prompt_is_reported_as_gone_only_if_another_token_is_nearer() {
    let device = inject_testing::any_device();
    let disturbances = ["dropout:0.9", "noise:1000", "noise:4", "noise:1", "noise:0.1", "int4-tensor"]
        .map(|word| word.parse::<Disturbance>().unwrap());
    let asked = options(disturbances.map(|disturbance| Condition::States { disturbance }).to_vec());
    let decoder = random("gpt2", 2, &device);
    let mut gone = Vec::new();
    // One prompt at a time, so that a count is a fact about that prompt.
    for prompt in prompts() {
        let prompt = [prompt];
        for at in study_of(&decoder, &prompt, &asked, Run::silent()).unwrap().recovered {
            let Condition::States { disturbance } = at.condition else { panic!("{:?}", at.condition) };
            let (mut given, others) = alternatives(&decoder, at.tap, &prompt[0]);
            disturbance.apply(&mut given, asked.seed);
            let another_is_nearer = others.iter().enumerate().any(|(position, of_tokens)| {
                let given = given.row(position).to_vec();
                let truth = distance(&of_tokens[prompt[0][position] as usize], &given);
                of_tokens.iter().any(|state| distance(state, &given) < truth)
            });
            let label = format!("{disturbance} at {}", at.tap);
            assert_eq!(at.exact + at.gone + at.not_found, 1, "{label}");
            assert!(at.gone == 0 || another_is_nearer, "{label}: reported as gone");
            // Every token is tested, so every decodable prompt is found.
            assert_eq!(at.exact == 1, !another_is_nearer, "{label}");
            // The vocabulary is tested after each of eight hypotheses, and once more for the certificate.
            assert!(at.largest_error > 0.0 && at.candidates_per_token <= 9.0 * f64::from(VOCAB_SIZE));
            gone.push(at.gone);
        }
    }
    assert!(gone.contains(&0) && gone.contains(&1), "both outcomes: {gone:?}");
}

#[test]
fn the_same_seed_gives_the_same() {
    let device = inject_testing::any_device();
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
    let device = inject_testing::any_device();
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
