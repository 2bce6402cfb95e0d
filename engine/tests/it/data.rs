//! Stores of random states.

use std::path::Path;

use inject_collisions::{
    models::Tap,
    states::store::{Block, Opened, Positions, Store, StoreSpec, StoreWriter},
};

pub(crate) const TAPS: [Tap; 2] = [Tap::Block(1), Tap::FinalNorm];

/// Writes a store of random states of so many prompts. Every seventh prompt repeats the tokens of the one before it.
pub(crate) fn write(folder: &Path, prompts: usize, d_model: usize) -> Store {
    let ids: Vec<Vec<u32>> = (0..prompts as u32).map(|i| vec![if i % 7 == 6 { i - 1 } else { i }]).collect();
    let spec = StoreSpec::new("none", "0", TAPS.to_vec(), Positions::Last, d_model);
    let Opened::Writing(mut writer) = StoreWriter::open(folder, spec, &ids).unwrap() else { panic!() };
    let mut seed = 5_u64;
    // The mean of two uniform numbers.
    let mut draw = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 40) as f32 + ((seed >> 16) & 0xff_ffff) as f32) / (1 << 24) as f32 - 1.0
    };
    for block in ids.chunks(500) {
        let states: Vec<f32> = (0..block.len() * d_model).map(|_| draw()).collect();
        let halved: Vec<f32> = states.iter().map(|value| value / 2.0).collect();
        let taps = [(TAPS[0], &states[..]), (TAPS[1], &halved[..])];
        writer.append(&Block::new(block.len(), &taps)).unwrap();
    }
    writer.finish(None).unwrap()
}
