//! Whatever proposes, the prompt is the same; what differs is the cost.

use inject_sipit::{Inversion, Policy, Prior, RandomOrder, Secant, Settings, Tap};

use crate::small::{FAMILIES, invert, model, of_vocabulary, target};

#[test]
fn every_policy_recovers_the_same_prompt() {
    let prompt = [5, 96, 5, 0, 41, 41, 7];
    for device in inject_devices::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            for tap in Tap::all(decoder.config().n_layers()) {
                let target = target(&decoder, &prompt, tap);
                for mut policy in [
                    Policy::new(),
                    Policy::new().then(Prior::up_to(20)),
                    Policy::new().then(RandomOrder::seeded(3).in_batches(8)),
                    Policy::new().then(Prior::up_to(4)).then(RandomOrder::seeded(3)),
                ] {
                    let inversion = invert(&decoder, &target, &mut policy, Settings::default()).unwrap();
                    assert_eq!(inversion.token_ids(), prompt, "{case}, {tap}, {policy}");
                    assert!(inversion.is_verified(), "{case}, {tap}, {policy}");
                }
            }
        }
    }
}

#[test]
fn a_survey_of_the_vocabulary_drafts_the_positions_behind_it() {
    const VOCAB: u32 = 8192;
    const SURVEY: usize = 512;
    let prompt: Vec<u32> = (0..24).map(|i| (i * i * 331 + 7 * i + 4000) % VOCAB).collect();
    let drafted = |inversion: &Inversion| {
        inversion.positions[2..].iter().filter(|position| position.found_by == "draft").count()
    };
    for device in inject_devices::compiled() {
        let decoder = of_vocabulary("llama", VOCAB as usize, 5, &device);
        let target = target(&decoder, &prompt, Tap::Block(1));
        let mut plain = Policy::new().then(Secant::up_to(1024));
        let plain = invert(&decoder, &target, &mut plain, Settings::default()).unwrap();
        let mut policy = Policy::new().then(Secant::up_to(1024).surveying(SURVEY));
        for round in 0..2 {
            let inversion = invert(&decoder, &target, &mut policy, Settings::default()).unwrap();
            assert_eq!(inversion.token_ids(), prompt);
            // Made once, at the second position; a model known already is not surveyed again.
            let at = |position: usize| inversion.positions[position].candidates_tested;
            assert_eq!(at(1) >= SURVEY, round == 0, "{} candidates", at(1));
            assert!(drafted(&inversion) > drafted(&plain), "{} positions", drafted(&inversion));
        }
        // A sixteenth of a small vocabulary would make no map.
        let small = of_vocabulary("llama", 1024, 5, &device);
        let prompt: Vec<u32> = prompt.iter().map(|id| id % 1024).collect();
        let target = crate::small::target(&small, &prompt, Tap::Block(1));
        let mut policy = Policy::new().then(Secant::up_to(256).surveying(SURVEY));
        let inversion = invert(&small, &target, &mut policy, Settings::default()).unwrap();
        assert_eq!(inversion.token_ids(), prompt);
    }
}
