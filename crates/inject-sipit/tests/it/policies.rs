//! Whatever proposes, the prompt is the same; what differs is the cost.

use inject_sipit::{Policy, Prior, RandomOrder, Settings, Tap};

use crate::small::{FAMILIES, invert, model, target};

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
