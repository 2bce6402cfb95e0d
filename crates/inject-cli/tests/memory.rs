//! The memory that extractions, inversions and searches take, against their budgets.
//!
//! This is a program of its own with one test, because its allocator counts the bytes of the whole process.

use std::{error::Error, path::Path};

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

/// Checks the most bytes that `work` holds at once, less those of its result.
fn check<T>(
    budget: usize,
    case: &str,
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = work()?;
    let kept = ALLOCATOR.current_usage().saturating_sub(before);
    let taken = ALLOCATOR.peak_usage() - before - kept;
    assert!(taken > 0, "{case}: nothing was counted");
    assert!(taken <= budget, "{case}: {taken} bytes of {budget}");
    Ok(result)
}

#[test]
fn work_stays_within_its_memory_budget() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/model"));
    let model = Model::load(Origin::of_folder(folder), FloatFormat::F32, &Device::flex())?;
    extractions(&model)?;
    inversions(&model)?;
    searches()
}

fn extractions(model: &Model) -> Result<(), Box<dyn Error>> {
    let prompts: Vec<Vec<u32>> =
        (0..400).map(|prompt| (0..60).map(|at| (7 * prompt + 13 * at) % 2048).collect()).collect();
    for budget in [4 * MIB, 16 * MIB, 64 * MIB] {
        let extraction = Extraction::new(vec![Tap::Block(3)], Positions::All)?.with_memory_budget(budget);
        check(budget, "extraction", || Ok(extraction.run(&model.decoder, &prompts, &mut silent)?))?;
    }
    Ok(())
}

fn inversions(model: &Model) -> Result<(), Box<dyn Error>> {
    let prompt: Vec<u32> = (0..20).map(|at| 13 * at % 2048).collect();
    let target = TargetStates::of_prompt(&model.decoder, Tap::Block(3), &prompt)?;
    for budget in [MIB, 8 * MIB] {
        let inverter =
            Inverter::new(&model.decoder, Tap::Block(3), Settings::default().with_memory_budget(budget))?;
        let policy = Policy::new();
        let inversion = check(budget, "inversion", || {
            Ok(inverter.invert(&target, &mut inverter.searcher(&policy), &mut silent)?)
        })?;
        assert_eq!(inversion.token_ids(), prompt);
    }
    Ok(())
}

/// Rows without any structure, so that the bounds exclude few pairs.
fn searches() -> Result<(), Box<dyn Error>> {
    let mut numbers = SplitMix::seeded(5);
    let states = Array2::from_shape_simple_fn((6_000, 96), || numbers.below(1 << 20) as f32);
    let (states, device) = (StateRows::new(states.view())?, Device::flex());
    let search = |budget| {
        Search::new(&states, &Pairs::All, SearchOptions::default().with_memory_budget(budget), &device)
    };
    let Err(CollisionError::BudgetTooSmall { needed, .. }) = search(0) else {
        return Err("a search needs memory".into());
    };
    for budget in [needed, 4 * needed] {
        let search = search(budget)?;
        check(budget, "closest pairs", || Ok(search.closest_pairs(10, &mut silent)?))?;
        check(budget, "nearest neighbours", || Ok(search.nearest_neighbours(&mut silent)?))?;
    }
    check(
        4 * needed,
        "distribution",
        || Ok(search(4 * needed)?.distribution(Coverage::Exact, &mut silent)?),
    )?;
    Ok(())
}
