//! One state in the middle of a prompt that no token has: the run stops there, or goes on from the nearest.

use crate::{
    numbers::Numbers,
    small::{exhaustive, invert, random_decoders, target},
    sources::{SimplePolicy, Told},
};
use inject_sipit::{
    Inversion, Policy, Settings, TargetStates, Verdict,
    collisions::distance,
    models::{Decoder, FloatFormat, Tap},
    settings::OnFailure,
    sources::Prior,
};

/// Longer than the windows of the small models.
const PROMPT: [u32; 9] = [5, 96, 41, 0, 5, 63, 12, 30, 7];

const VOCAB: u32 = 97;

/// The position whose state is forged.
const AT: usize = 3;

/// The prompt's states, that of [`AT`] moved so far into some direction.
fn forged(honest: &TargetStates, length: f64) -> TargetStates {
    let mut states = honest.states().to_owned();
    let away = Numbers(6).direction(honest.d_model(), length);
    states.row_mut(AT).iter_mut().zip(away).for_each(|(value, away)| *value += away);
    TargetStates::new(states, honest.tap(), FloatFormat::F32).unwrap()
}

/// The token whose state is nearest to the forged one, after the true prefix.
fn nearest(decoder: &Decoder, forged: &TargetStates) -> u32 {
    let apart = |id: u32| {
        let mut prompt = PROMPT;
        prompt[AT] = id;
        let states = target(decoder, &prompt, forged.tap()).states().row(AT).to_vec();
        distance(&states, &forged.states().row(AT).to_vec())
    };
    (0..VOCAB).min_by(|&a, &b| apart(a).total_cmp(&apart(b))).unwrap()
}

/// Runs by the scan, by a search and by drafts of the true prompt.
fn each_way(
    decoder: &Decoder,
    forged: &TargetStates,
    on_failure: OnFailure,
    check: impl Fn(&Inversion, &str),
) {
    let told = Policy::new().simple(Told::one(forged, &PROMPT));
    for policy in [Policy::new(), Policy::new().then_up_to(16, Prior::new()), told] {
        let settings = Settings::new().with_on_failure(on_failure);
        let inversion = invert(decoder, forged, &policy, settings).unwrap();
        let (before, there) = (&inversion.positions[..AT], &inversion.positions[AT]);
        assert_eq!(inversion.positions.len(), PROMPT.len());
        assert!(
            before.iter().all(|position| position.verdict == Verdict::Verified),
            "{policy}: {inversion:?}"
        );
        assert_eq!(inversion.token_ids()[..AT], PROMPT[..AT], "{policy}");
        assert_eq!((&there.verdict, there.candidates_tested), (&Verdict::Failed, VOCAB as usize), "{policy}");
        assert_eq!(there.token_id(), Some(nearest(decoder, forged)), "{policy}");
        assert!(there.distance() > there.noise_floor(), "{policy}");
        check(&inversion, &policy.to_string());
    }
}

/// Models with states forged by less than half their margin, so that the truth is still the nearest; and beyond all margins.
fn for_every_family(test: impl Fn(&Decoder, &TargetStates, bool, &str)) {
    for (case, decoder) in random_decoders(4) {
        for tap in [Tap::Embedding, Tap::Block(2)] {
            let honest = target(&decoder, &PROMPT, tap);
            let margin = exhaustive(&decoder, &honest).unwrap().positions[AT].margin().unwrap();
            for (share, near) in [(0.4, true), (40.0, false)] {
                test(&decoder, &forged(&honest, share * margin), near, &format!("{case}, {tap}, {share}"));
            }
        }
    }
}

#[test]
fn the_run_goes_on_from_the_nearest() {
    for_every_family(|decoder, forged, near, case| {
        each_way(decoder, forged, OnFailure::GoOn, |inversion, policy| {
            for position in &inversion.positions[AT + 1..] {
                let found = position.verdict == Verdict::Verified
                    && position.token_id() == Some(PROMPT[position.position]);
                // After the true token the others are found; at the embedding they are found after any token. Elsewhere a wrong
                // prefix leaves nothing that fits, which is known only once everything is tested.
                let sought = match near || forged.tap() == Tap::Embedding {
                    true => found,
                    false => {
                        !position.verdict.is_open() && (found || position.candidates_tested == VOCAB as usize)
                    }
                };
                assert!(sought, "{case}, {policy}: {position:?}");
                assert!(
                    position.distance().is_some_and(f64::is_finite) && position.candidates_tested > 0,
                    "{case}, {policy}"
                );
            }
            assert!(!inversion.is_verified(), "{case}, {policy}");
        });
    });
}

#[test]
fn without_going_on_the_rest_is_open() {
    for_every_family(|decoder, forged, _, case| {
        each_way(decoder, forged, OnFailure::Stop, |inversion, policy| {
            for position in &inversion.positions[AT + 1..] {
                // The only guess is the draft's.
                let guess = policy.starts_with("told").then_some(PROMPT[position.position]);
                let verdict = Verdict::Open { guess };
                assert_eq!(
                    (&position.verdict, position.candidates_tested),
                    (&verdict, 0),
                    "{case}, {policy}"
                );
                assert_eq!(position.kept, None, "{case}, {policy}");
            }
            assert_eq!(inversion.first_failure().map(|position| position.position), Some(AT), "{case}");
            assert!(inversion.candidates_tested() <= (AT + 1) * VOCAB as usize, "{case}, {policy}");
        });
    });
}
