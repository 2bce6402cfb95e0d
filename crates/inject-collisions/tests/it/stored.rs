//! Rows read in place from a store.

use std::path::Path;

use inject_collisions::{
    CollisionError, Pairs, Search, SearchOptions, StateRows,
    models::{FloatFormat, Tap, silent},
    states::store::{Block, Opened, Positions, Store, StoreError, StoreSpec, StoreWriter},
};

use crate::data::Draw;

const D_MODEL: usize = 12;

/// Writes a store with the states of all positions of these prompts.
fn write(dir: &Path, dtype: FloatFormat, prompts: &[Vec<u32>]) -> Store {
    let spec = StoreSpec::new("none", "0", vec![Tap::Block(1)], Positions::All, D_MODEL).with_dtype(dtype);
    let mut draw = Draw(5);
    let Opened::Writing(mut writer) = StoreWriter::open(dir, spec, prompts).unwrap() else { panic!() };
    for prompt in prompts {
        let states: Vec<f32> = (0..prompt.len() * D_MODEL).map(|_| draw.normal() as f32).collect();
        writer.append(&Block::new(1, &[(Tap::Block(1), &states)])).unwrap();
    }
    writer.finish(None).unwrap();
    Store::open(dir).unwrap()
}

#[test]
fn rows_of_a_store_give_the_answers_of_their_copies_in_memory() {
    let prompts: Vec<Vec<u32>> = (0..40).map(|prompt| (0..5).map(|i| prompt * 31 + i).collect()).collect();
    for dtype in [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16] {
        let folder = tempfile::tempdir().unwrap();
        let store = write(folder.path(), dtype, &prompts);
        let states = store.tap(Tap::Block(1)).unwrap().to_array();
        let (mapped, copied) =
            (StateRows::of_store(&store, Tap::Block(1)).unwrap(), StateRows::new(states.view()).unwrap());
        let device = inject_testing::any_device();
        let search = |rows| Search::new(rows, &Pairs::All, SearchOptions::default(), &device).unwrap();
        let (mapped, copied) = (search(&mapped), search(&copied));
        let neighbours = |search: &Search<'_>| search.nearest_neighbours(&mut silent).unwrap();
        assert_eq!(neighbours(&mapped), neighbours(&copied));
        let closest = |search: &Search<'_>| search.closest_pairs(9, &mut silent).unwrap();
        assert_eq!(closest(&mapped), closest(&copied));
    }
}

#[test]
fn positions_with_the_same_tokens_so_far_have_one_identity() {
    let folder = tempfile::tempdir().unwrap();
    let prompts = [vec![1, 2, 3], vec![1, 2, 4], vec![2]];
    let store = write(folder.path(), FloatFormat::F32, &prompts);
    let rows = StateRows::of_store(&store, Tap::Block(1)).unwrap();
    assert_eq!(rows.repeated(), [[0, 3], [1, 4]]);
}

#[test]
fn a_tap_that_the_store_lacks_and_a_truncated_store_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = write(folder.path(), FloatFormat::F32, &[vec![1, 2], vec![3]]);
    let error = StateRows::of_store(&store, Tap::FinalNorm).unwrap_err();
    assert!(matches!(error, CollisionError::Store(StoreError::NoSuchTap { .. })), "{error}");
    drop(store);

    let path = folder.path().join("tap-block-1.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(
        matches!(&error, StoreError::FileSize { found, expected, .. } if *found + 4 == *expected),
        "{error:?}"
    );
}
