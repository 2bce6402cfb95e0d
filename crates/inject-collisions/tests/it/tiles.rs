//! The tiles of the triangle of pairs, in any order and any number, give the closest pairs of one search.

use burn::tensor::Device;
use inject_collisions::{
    ClosestPairs, PairTile, Pairs, Search, SearchOptions, StateRows,
    models::{Tap, silent},
};
use ndarray::Array2;
use proptest::prelude::*;

use super::data::hard_cases;

fn check(name: &str, states: &Array2<f32>, identities: Option<Vec<u32>>, bands: usize, turned: usize) {
    let mut rows = StateRows::new(states.view()).unwrap();
    if let Some(identities) = identities {
        rows = rows.with_identities(identities).unwrap();
    }
    let (options, device) = (SearchOptions::default(), Device::flex());
    let whole =
        Search::new(&rows, &Pairs::All, options, &device).unwrap().closest_pairs(7, &mut silent).unwrap();
    let mut tiles = PairTile::triangle(Tap::Block(1), bands);
    assert_eq!(tiles.len(), bands * (bands + 1) / 2);
    let turned = turned % tiles.len();
    tiles.rotate_left(turned);
    let parts: Vec<ClosestPairs> = tiles
        .into_iter()
        .map(|tile| {
            // As another process would get it and send its answer back.
            let tile: PairTile = serde_json::from_str(&serde_json::to_string(&tile).unwrap()).unwrap();
            let part = tile.among(&rows, 7, options, &device, &mut silent).unwrap();
            let again = tile.among(&rows, 7, options, &device, &mut silent).unwrap();
            assert_eq!(part, again, "{name}: a tile is answered alike");
            serde_json::from_str(&serde_json::to_string(&part).unwrap()).unwrap()
        })
        .collect();
    let merged = |parts: &mut dyn Iterator<Item = &ClosestPairs>| {
        let mut merged = ClosestPairs::keeping(7);
        parts.for_each(|part| merged.merge(part));
        merged
    };
    let found = merged(&mut parts.iter());
    assert_eq!((&found.pairs, found.decided), (&whole.pairs, whole.decided), "{name}, {bands} bands");
    assert_eq!(merged(&mut parts.iter().rev()), found, "{name}: the order does not matter");
}

#[test]
fn tiles_of_hard_cases_merge_into_the_answer_of_one_search() {
    for (name, states) in hard_cases() {
        for (bands, turned) in [(1, 0), (2, 1), (7, 11)] {
            check(name, &states, None, bands, turned);
        }
    }
}

proptest! {
    #[test]
    fn tiles_of_any_small_states_merge_into_the_answer_of_one_search(
        values in prop::collection::vec(0_u8..4, 2 * 3..70 * 3), bands in 1_usize..9, turned in 0_usize..50, repeats in any::<bool>(),
    ) {
        let count = values.len() / 3;
        let states = Array2::from_shape_fn((count, 3), |(row, column)| f32::from(values[3 * row + column]));
        let identities = repeats.then(|| (0..count as u32).map(|row| row % 11).collect());
        check("small", &states, identities, bands, turned);
    }
}
