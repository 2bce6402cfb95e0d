//! Tests of runs that take over the journals of other runs.

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::name::StudyName;

fn about(seed: u32) -> Description {
    let circumstances = json!({ "seed": seed, "weights_held_as": "f32", "instructions": "avx2" });
    Description::new(StudyName::Lengths, circumstances).within_memory(1 << 20)
}

/// Halves the numbers below 9, those of a share, in a journal at `path`.
fn halves(
    path: &Path,
    share: Share,
    others: &[&Path],
    about: &Description,
) -> Result<Vec<(u32, f64)>, StudyError> {
    divide(path, 9, share, others, about, 2.0)
}

/// Divides the numbers below `count`, those of a share, in a journal at `path`.
fn divide(
    path: &Path,
    count: u32,
    share: Share,
    others: &[&Path],
    about: &Description,
    by: f64,
) -> Result<Vec<(u32, f64)>, StudyError> {
    let others = others.iter().map(|&path| path.to_owned()).collect();
    let run = Run::silent().with_journal(path).with_share(share).with_other_journals(others);
    let finished = run.complete(about, (0..count).collect(), |&number, _| Ok(f64::from(number) / by));
    finished.map(|finished: Finished<u32, f64>| finished.results)
}

#[test]
fn a_merge_has_the_bytes_of_one_run_whatever_the_order_of_the_journals() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    halves(&at("whole"), Share::WHOLE, &[], &about(1)).unwrap();
    let shares = ["0", "1", "2"].map(at);
    for (number, path) in shares.iter().enumerate() {
        halves(path, Share::new(number, 3).unwrap(), &[], &about(1)).unwrap();
    }
    // The last one lacks the second share, which the merge computes.
    for (case, order) in [&[0, 1, 2][..], &[2, 1, 0], &[1, 2, 0, 1], &[2, 0]].into_iter().enumerate() {
        let others: Vec<&Path> = order.iter().map(|&number| shares[number].as_path()).collect();
        let merged = at(&format!("merged {case}"));
        halves(&merged, Share::WHOLE, &others, &about(1)).unwrap();
        assert_eq!(fs::read(&merged).unwrap(), fs::read(at("whole")).unwrap(), "{order:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A merge of shares in any order, of which one is run twice and one is killed and goes on, has the bytes of one run. The merge
    /// itself is killed too, and does what is missing.
    #[test]
    fn any_division_gives_the_bytes_of_one_run(
        count in 0_u32..20,
        (order, lost) in (1_usize..6)
            .prop_flat_map(|of| (Just((0..of).collect::<Vec<_>>()).prop_shuffle(), prop::option::of(0..of))),
        cuts in prop::array::uniform2(0.0_f64..1.0),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let cut = |path: &Path, part: f64| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..(part * bytes.len() as f64) as usize]).unwrap();
        };
        let run = |path: &Path, share: Share, others: &[&Path]| divide(path, count, share, others, &about(1), 3.0).unwrap();
        run(&at("whole"), Share::WHOLE, &[]);
        let shares: Vec<PathBuf> = order.iter().map(|number| at(&number.to_string())).collect();
        for (path, &number) in shares.iter().zip(&order) {
            let share = Share::new(number, order.len()).unwrap();
            run(path, share, &[]);
            cut(path, cuts[0]);
            run(path, share, &[]);
            run(path, share, &[]);
        }
        let mut others: Vec<&Path> = shares.iter().map(PathBuf::as_path).collect();
        others.push(&shares[0]);
        if let Some(lost) = lost {
            let lost = &shares[lost];
            others.retain(|path| path != lost);
        }
        let merged = at("merged");
        run(&merged, Share::WHOLE, &others);
        cut(&merged, cuts[1]);
        let results = run(&merged, Share::WHOLE, &others);
        prop_assert_eq!(results.len(), count as usize);
        prop_assert_eq!(fs::read_to_string(&merged).unwrap(), fs::read_to_string(at("whole")).unwrap());
    }
}

#[test]
fn units_that_are_computed_together_are_recorded_in_the_order_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    halves(&at("whole"), Share::WHOLE, &[], &about(1)).unwrap();
    halves(&at("share"), Share::new(1, 2).unwrap(), &[], &about(1)).unwrap();
    let run = Run::silent().with_journal(at("merged")).with_other_journals(vec![at("share")]);
    let halve = |units: &[u32]| {
        assert_eq!(units, [0, 2, 4, 6, 8]);
        Ok::<_, StudyError>(units.iter().map(|&unit| f64::from(unit) / 2.0).collect::<Vec<f64>>())
    };
    run.complete_together(&about(1), (0..9).collect(), halve).unwrap();
    assert_eq!(fs::read(at("merged")).unwrap(), fs::read(at("whole")).unwrap());
}

#[test]
fn a_merge_that_is_refused_begins_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    halves(&at("share"), Share::new(0, 2).unwrap(), &[], &about(1)).unwrap();
    let error = halves(&at("merged"), Share::WHOLE, &[&at("share")], &about(2)).unwrap_err();
    assert!(error.to_string().contains("seed"), "{error}");
    assert!(!at("merged").exists());
    // So the same folder takes the merge with the right options.
    halves(&at("merged"), Share::WHOLE, &[&at("share")], &about(1)).unwrap();
}

#[test]
fn a_journal_of_another_memory_budget_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    halves(&at("share"), Share::new(0, 2).unwrap(), &[], &about(1)).unwrap();
    let error = halves(&at("share"), Share::WHOLE, &[], &about(1).within_memory(1 << 21)).unwrap_err();
    assert!(error.to_string().contains("memory_budget = 1048576, now 2097152"), "{error}");
}

#[test]
fn a_journal_without_the_form_of_the_weights_is_continued_and_not_mixed_with_one_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let old = Description::new(StudyName::Lengths, json!({ "seed": 1 }));
    halves(&at("old"), Share::new(0, 2).unwrap(), &[], &old).unwrap();
    halves(&at("new"), Share::new(1, 2).unwrap(), &[], &about(1)).unwrap();
    let stored = json!({ "seed": 1, "weights_held_as": "stored", "instructions": "avx2" });
    let stored = Description::new(StudyName::Lengths, stored).within_memory(1 << 20);
    halves(&at("stored"), Share::new(1, 2).unwrap(), &[], &stored).unwrap();
    assert_eq!(halves(&at("old"), Share::new(0, 2).unwrap(), &[], &about(1)).unwrap().len(), 5);
    assert_eq!(halves(&at("merged"), Share::new(0, 2).unwrap(), &[&at("old")], &about(1)).unwrap().len(), 5);
    for (first, second, field) in [
        ("old", "new", "instructions"),
        ("new", "old", "instructions"),
        ("new", "stored", "weights_held_as"),
        ("stored", "new", "weights_held_as"),
    ] {
        let mixed = halves(&at("mixed"), Share::WHOLE, &[&at(first), &at(second)], &about(1));
        let error = mixed.unwrap_err().to_string();
        assert!(error.contains(field), "{first} and {second}: {error}");
        assert!(!at("mixed").exists());
    }
}
