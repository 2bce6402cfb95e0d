//! Noise floors.

use std::num::NonZeroUsize;

use inject_collisions::{Metric, Resolution, measure_noise_floors, states::models::Tap};
use inject_testing::models::model;

#[test]
fn the_noise_of_batches_is_absent_where_every_prompt_is_alone() {
    for decoder in inject_testing::on_each(|device| model("llama", device).decoder) {
        let tap = Tap::Block(2);
        let of = |prompts: &[Vec<u32>]| {
            measure_noise_floors(Metric::L2, &decoder, None, &[tap], prompts, NonZeroUsize::MAX).unwrap()
                [&tap]
        };
        let alone = of(&[vec![3, 1, 4]]);
        assert_eq!(alone.batched, None);
        assert_eq!(alone.largest(), alone.cached);
        // A batch of prompts of one length may be computed as each of them is.
        assert_ne!(of(&[vec![3, 1, 4], vec![1, 5, 9]]).batched, Some(0.0));
        assert!(of(&[(1..13).collect(), vec![3, 1, 4], (5..10).collect()]).batched.is_some());
        // Nothing was measured, so no distance is resolved.
        assert_eq!(Resolution::of(1.0, of(&[]).largest()), Resolution::NoiseUnknown);
    }
}

#[test]
fn a_floor_of_equal_computations_is_absent() {
    let taps = [Tap::Embedding, Tap::Block(1), Tap::FinalNorm];
    for device in inject_testing::compiled() {
        let decoder = model("llama", &device).decoder;
        for metric in [Metric::L2, Metric::Cosine] {
            let of = |prompts: &[Vec<u32>]| {
                measure_noise_floors(metric, &decoder, Some(&decoder), &taps, prompts, NonZeroUsize::MAX)
                    .unwrap()
            };
            // Without anything to attend to, a batch, a cache and the same device may all compute a token alike.
            let single = of(&[vec![3], vec![1], vec![4]]);
            assert_eq!(single[&Tap::Embedding].largest(), Some(0.0));
            for tap in &taps[1..] {
                let floor = single[tap];
                let all = [floor.batched, floor.cached, floor.other_device];
                assert!(all.into_iter().flatten().all(|floor| floor > 0.0), "{tap}: {floor:?}");
                assert_eq!(floor.other_device, None);
            }
            // One longer prompt is enough.
            let mixed = of(&[vec![3], vec![1, 5, 9, 2, 6, 5, 3, 5]]);
            assert!(mixed[&Tap::FinalNorm].largest().is_some_and(|floor| floor > 0.0));
        }
    }
}
