//! States of a decoder that computes in a narrow format, inverted by one that computes in f32.

use crate::small::{FAMILIES, invert, random};
use inject_sipit::{
    Acceptance, NoiseOrigin, Policy, Settings, TargetStates, Verdict,
    models::{FloatFormat, Tap},
    settings::ComputedIn,
};

const PROMPT: [u32; 10] = [5, 96, 5, 0, 41, 7, 7, 63, 12, 30];

#[test]
fn states_computed_in_16_bits_need_no_option() {
    let (mut positions, mut verified) = (0, 0);
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = random(case, 31, &device);
            for format in [FloatFormat::Bf16, FloatFormat::F16] {
                let producer = decoder.clone().computing_in(format);
                for tap in [Tap::Block(1), Tap::Block(decoder.config().n_layers()), Tap::FinalNorm] {
                    let target = TargetStates::of_prompt(&producer, tap, &PROMPT).unwrap();
                    let inversion = invert(&decoder, &target, &Policy::new(), Settings::new()).unwrap();
                    for (position, truth) in inversion.positions.iter().zip(PROMPT) {
                        let right = position.token_id() == Some(truth);
                        assert!(
                            right || !position.verdict.is_verified(),
                            "{case}, {format}, {tap}: {position:?}"
                        );
                        verified += usize::from(position.verdict.is_verified());
                        positions += 1;
                    }
                    assert!(inversion.positions.iter().any(|p| p.noise() == Some(NoiseOrigin::Producer)));
                    // What is estimated is not estimated against the user's word.
                    let exact = Settings::new().with_computed_in(ComputedIn::Format(FloatFormat::F32.into()));
                    let stated = Settings::new().with_acceptance(Acceptance::NoiseFloor { added: 1e-9 });
                    for settings in [exact, stated] {
                        let inversion = invert(&decoder, &target, &Policy::new(), settings).unwrap();
                        assert_eq!(
                            inversion.positions[0].verdict,
                            Verdict::Failed,
                            "{case}, {format}, {tap}"
                        );
                    }
                }
            }
        }
    }
    // Models with random weights hold some tokens closer together than 16 bits tell apart.
    assert!(100 * verified >= 95 * positions, "{verified} of {positions}");
}
