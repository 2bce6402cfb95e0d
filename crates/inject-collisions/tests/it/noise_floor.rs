//! Noise floors.

use std::num::NonZeroUsize;

use inject_collisions::{Metric, Resolution, measure_noise_floors, states::models::Tap};
use inject_testing::models::model;

#[test]
fn the_noise_of_batches_is_absent_where_every_prompt_is_alone() {
    for device in inject_testing::compiled() {
        let decoder = model("llama", &device).decoder;
        let tap = Tap::Block(2);
        let of = |prompts: &[Vec<u32>]| {
            measure_noise_floors(Metric::L2, &decoder, None, &[tap], prompts, NonZeroUsize::MAX).unwrap()
                [&tap]
        };
        let alone = of(&[vec![3, 1, 4]]);
        assert_eq!(alone.batched, None);
        assert_eq!(alone.largest(), alone.cached);
        assert!(of(&[vec![3, 1, 4], vec![1, 5, 9]]).batched.is_some());
        // Nothing was measured, so no distance is resolved.
        assert_eq!(Resolution::of(1.0, of(&[]).largest()), Resolution::NoiseUnknown);
    }
}
