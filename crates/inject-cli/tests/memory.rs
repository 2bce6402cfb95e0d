//! The memory that extractions, inversions and searches take, against their budgets.
//!
//! This is a program of its own with one test, because its allocator counts the bytes of the whole process.

use std::path::Path;

use inject_sipit::{
    Inverter, Policy, Settings, TargetStates,
    burn::tensor::Device,
    collisions::{CollisionError, Pairs, Search, SearchOptions, StateRows, answers::Coverage},
    models::{FloatFormat, Model, Origin, Tap, silent},
    ndarray::Array2,
    states::{Extraction, random::SplitMix, store::Positions},
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// Runs `work`. Returns the most bytes that it held at once, less those of its result.
fn bytes_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = work();
    let kept = ALLOCATOR.current_usage().saturating_sub(before);
    (ALLOCATOR.peak_usage() - before - kept, result)
}

#[test]
fn work_stays_within_its_memory_budget() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/model"));
    let model = Model::load(Origin::of_folder(folder), FloatFormat::F32, &Device::flex()).unwrap();
    extractions(&model);
    inversions(&model);
    searches();
}

fn extractions(model: &Model) {
    let prompts: Vec<Vec<u32>> =
        (0..400).map(|prompt| (0..60).map(|at| (7 * prompt + 13 * at) % 2048).collect()).collect();
    let mut taken = Vec::new();
    for budget in [4 * MIB, 16 * MIB, 64 * MIB] {
        let extraction = Extraction::new(vec![Tap::Block(3)], Positions::All).unwrap();
        let extraction = extraction.with_memory_budget(budget);
        let (bytes, _) = bytes_of(|| extraction.run(&model.decoder, &prompts, &mut silent).unwrap());
        eprintln!("extraction: {bytes} of {budget}");
        taken.push((budget, bytes));
    }
}

fn inversions(model: &Model) {
    let prompt: Vec<u32> = (0..20).map(|at| 13 * at % 2048).collect();
    let target = TargetStates::of_prompt(&model.decoder, Tap::Block(3), &prompt).unwrap();
    for budget in [MIB, 8 * MIB, 64 * MIB] {
        let settings = Settings::default().with_memory_budget(budget);
        let inverter = Inverter::new(&model.decoder, Tap::Block(3), settings).unwrap();
        let policy = Policy::new();
        let (bytes, inversion) =
            bytes_of(|| inverter.invert(&target, &mut inverter.searcher(&policy), &mut silent).unwrap());
        assert_eq!(inversion.token_ids(), prompt);
        eprintln!("inversion: {bytes} of {budget}");
    }
}

fn searches() {
    let (rows, columns) = (6_000, 96);
    let mut numbers = SplitMix::seeded(5);
    let states = Array2::from_shape_simple_fn((rows, columns), || numbers.below(1 << 20) as f32);
    let states = StateRows::new(states.view()).unwrap();
    let device = Device::flex();
    let search = |budget| {
        Search::new(&states, &Pairs::All, SearchOptions::default().with_memory_budget(budget), &device)
    };
    let Err(CollisionError::BudgetTooSmall { needed, .. }) = search(0) else { panic!("no budget is enough") };
    for budget in [needed, 2 * needed, 8 * needed] {
        let search = search(budget).unwrap();
        let (closest, _) = bytes_of(|| search.closest_pairs(10, &mut silent).unwrap());
        let (nearest, _) = bytes_of(|| search.nearest_neighbours(&mut silent).unwrap());
        let (all, _) = bytes_of(|| search.distribution(Coverage::Exact, &mut silent).map(drop));
        eprintln!("search: {closest}, {nearest}, {all} of {budget}");
    }
}
