//! Shares of the passes over the vocabulary, put together, are the lenses of one run.

use std::{fs, path::Path};

use inject_sipit::{lens::LensShare, states::Share};
use inject_testing::any_device;

use super::*;

/// Five batches of tokens, the last one short.
const VOCAB_SIZE: usize = 4 * 512 + 100;

/// The bytes of the files of lenses, by their names.
fn files(lenses: &[Lens], folder: &Path) -> Vec<(String, Vec<u8>)> {
    let file = |lens: &Lens| {
        let path = lens.save(folder).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
    };
    lenses.iter().map(file).collect()
}

fn shuffled<T>(mut things: Vec<T>, numbers: &mut Numbers) -> Vec<T> {
    for last in (1..things.len()).rev() {
        things.swap(last, numbers.below(last + 1));
    }
    things
}

#[test]
fn any_division_of_the_vocabulary_in_any_order_gives_the_bytes_of_one_run() {
    let decoder = of_vocabulary("llama", VOCAB_SIZE, 5, &any_device());
    let mut numbers = Numbers(23);
    for first in [FirstPosition::Any, FirstPosition::Bos(3)] {
        let builder = builder(vec![Tap::Block(2), Tap::Block(1)]).with_first(first);
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let whole = files(&build(&decoder, &builder).unwrap(), folder);
        assert_eq!(whole.len(), 2);
        // The last number is above that of the batches, so some shares are empty.
        for of in [1, 2, 2 + numbers.below(3), 7] {
            let make = |number: usize| {
                let share = Share::new(number, of).unwrap();
                builder.build_share(share, &decoder, HASH, &mut silent).unwrap().save(folder).unwrap()
            };
            let order = shuffled((0..of).collect(), &mut numbers);
            let paths: Vec<_> = order.iter().map(|&number| make(number)).collect();
            // One of them runs twice, as one that was killed before it wrote its file does.
            let again = numbers.below(of);
            let before = fs::read(&paths[again]).unwrap();
            make(order[again]);
            assert!(fs::read(&paths[again]).unwrap() == before, "share {again} of {of} differs");
            let shares: Vec<_> =
                shuffled(paths, &mut numbers).iter().map(|path| LensShare::load(path).unwrap()).collect();
            let merged = builder.build_from(&shares, &decoder, HASH, &mut silent).unwrap();
            assert!(files(&merged, folder) == whole, "{of} shares, {first:?}");
        }
    }
}
