//! The stores of shares, put together, are the store of an undivided extraction.

use std::panic::{AssertUnwindSafe, catch_unwind};

use inject_states::{
    ExtractError, Extraction, Share, SharePrompts, extract_share_to_store, extract_to_store,
    models::{Instructions, Model, WeightsHeldAs, silent},
    random::SplitMix,
    store,
};
use inject_testing::models::model;

use super::*;

/// An extraction whose memory budget makes some twenty blocks of the prompts.
struct Work {
    model: Model,
    extraction: Extraction,
    spec: StoreSpec,
    prompts: Vec<Vec<u32>>,
}

impl Work {
    fn new(positions: Positions, dtype: FloatFormat) -> Self {
        let model = model("llama", &inject_testing::any_device());
        let extraction = Extraction::new(vec![Tap::Block(1), Tap::FinalNorm], positions).unwrap();
        let row = 4 * 2 * model.decoder.config().d_model;
        let rows = if positions == Positions::Last { 3 } else { 40 };
        let extraction = extraction.with_memory_budget(rows * row);
        let spec = StoreSpec::of(&model, &extraction).unwrap().with_dtype(dtype);
        let prompts =
            (0..60).map(|i| (0..1 + i * 7 % 23).map(|t| (i * 31 + t * 17) % 97).collect()).collect();
        Work { model, extraction, spec, prompts }
    }

    fn whole(&self, dir: &Path) -> Store {
        let Work { model, extraction, spec, prompts } = self;
        extract_to_store(extraction, &model.decoder, prompts, dir, spec.clone(), &mut silent).unwrap()
    }

    fn share(&self, share: Share, dir: &Path) -> Option<Store> {
        let Work { model, extraction, spec, prompts } = self;
        extract_share_to_store(share, extraction, &model.decoder, prompts, dir, spec.clone(), &mut silent)
            .unwrap()
    }

    /// As [`Self::share`], ended after a number of reports as a signal ends the program.
    fn killed(&self, share: Share, dir: &Path, reports: usize) {
        let Work { model, extraction, spec, prompts } = self;
        let mut left = reports;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut progress = |_: inject_states::models::Progress<'_>| {
                left = left.checked_sub(1).unwrap_or_else(|| std::panic::resume_unwind(Box::new(())));
            };
            extract_share_to_store(
                share,
                extraction,
                &model.decoder,
                prompts,
                dir,
                spec.clone(),
                &mut progress,
            )
        }));
        assert!(was_killed(ended));
    }
}

/// Whether a run ended by the unwinding that stands for a kill.
fn was_killed<T>(ended: std::thread::Result<T>) -> bool {
    ended.is_err_and(|payload| payload.is::<()>())
}

fn share(number: usize, of: usize) -> Share {
    Share::new(number, of).unwrap()
}

fn shuffled<T>(mut things: Vec<T>, numbers: &mut SplitMix) -> Vec<T> {
    for last in (1..things.len()).rev() {
        things.swap(last, numbers.below(last as u64 + 1) as usize);
    }
    things
}

#[test]
fn any_division_in_any_order_gives_the_bytes_of_one_run() {
    let mut numbers = SplitMix::seeded(23);
    for (positions, dtype) in [
        (Positions::All, FloatFormat::F32),
        (Positions::Last, FloatFormat::F16),
        (Positions::All, FloatFormat::Bf16),
    ] {
        let work = Work::new(positions, dtype);
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        work.whole(&at("whole"));
        let expected = files(&at("whole"));
        for of in [1, 2, 7, 1 + numbers.below(12) as usize] {
            let shares = shuffled((0..of).collect(), &mut numbers);
            let place = |number: usize| at(&format!("{of}-{number}"));
            // The first one is killed and goes on, and the last one runs twice.
            work.killed(share(shares[0], of), &place(shares[0]), 1);
            let again = shares.iter().chain(shares.last());
            for &number in again {
                let store = work.share(share(number, of), &place(number)).unwrap();
                assert_eq!(store.manifest().spec.share.as_ref().unwrap().share, share(number, of));
            }
            let stores: Vec<Store> = shuffled(shares, &mut numbers)
                .into_iter()
                .map(|number| Store::open(place(number)).unwrap())
                .collect();
            let merged = at(&format!("merged-{of}"));
            for _ in 0..2 {
                store::merge(&stores, &merged, &mut silent).unwrap();
                assert_same(&files(&merged), &expected);
            }
        }
    }
}

#[test]
fn a_merge_that_is_killed_goes_on() {
    let work = Work::new(Positions::All, FloatFormat::F32);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    work.whole(&at("whole"));
    let stores: Vec<Store> = (0..3).filter_map(|n| work.share(share(n, 3), &at(&n.to_string()))).collect();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut reports = 0;
        store::merge(&stores, &at("merged"), &mut |_| {
            reports += 1;
            if reports == 3 {
                std::panic::resume_unwind(Box::new(()));
            }
        })
    }));
    assert!(was_killed(ended));
    assert!(matches!(Store::open(at("merged")), Err(StoreError::Unfinished { .. })));
    store::merge(&stores, &at("merged"), &mut silent).unwrap();
    assert_same(&files(&at("merged")), &files(&at("whole")));
}

#[test]
fn more_shares_than_blocks_leave_some_empty_and_none_missing() {
    let mut work = Work::new(Positions::All, FloatFormat::F32);
    work.prompts.truncate(5);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    work.whole(&at("whole"));
    let shares: Vec<Option<Store>> = (0..9).map(|n| work.share(share(n, 9), &at(&n.to_string()))).collect();
    assert!(shares.iter().any(Option::is_none));
    let stores: Vec<Store> = shares.into_iter().flatten().collect();
    store::merge(&stores, &at("merged"), &mut silent).unwrap();
    assert_same(&files(&at("merged")), &files(&at("whole")));
}

#[test]
fn prompts_that_change_between_two_readings_are_refused() {
    let work = Work::new(Positions::All, FloatFormat::F32);
    let read = |second: &[Vec<u32>]| {
        let mut readings = [&work.prompts[..], second].into_iter();
        let prompts = || Ok::<_, ExtractError>(readings.next().unwrap().iter().cloned().map(Ok));
        SharePrompts::read(share(1, 3), &work.extraction, &work.model.decoder, usize::MAX, prompts)
    };
    let own = read(&work.prompts).unwrap().unwrap();
    let begin = own.about().first_prompt;
    assert_eq!(own.ids(), &work.prompts[begin..begin + own.ids().len()]);
    let mut longer = work.prompts.clone();
    longer[59].push(1);
    for (second, count) in [(&longer[..], 60), (&work.prompts[..59], 59), (&work.prompts[..0], 0)] {
        let error = read(second).unwrap_err();
        assert!(
            matches!(error, ExtractError::PromptsChanged { found, expected: 60 } if found == count),
            "{error}"
        );
    }
    let most = 64 * own.ids().len();
    let prompts = || Ok(work.prompts.iter().cloned().map(Ok));
    let error: ExtractError =
        SharePrompts::read(share(1, 3), &work.extraction, &work.model.decoder, most, prompts).unwrap_err();
    assert!(matches!(error, ExtractError::TooManyIds(_)), "{error}");
}

#[test]
fn what_are_not_all_shares_of_one_job_is_refused_by_name() {
    let work = Work::new(Positions::All, FloatFormat::F32);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let whole = work.whole(&at("whole"));
    for n in 0..3 {
        work.share(share(n, 3), &at(&n.to_string())).unwrap();
    }
    let other = |name: &str, share: Share, change: &dyn Fn(&mut Work)| {
        let mut other = Work::new(Positions::All, FloatFormat::F32);
        change(&mut other);
        other.share(share, &at(name)).unwrap();
    };
    other("of 4", share(1, 4), &|_| ());
    other("f16", share(1, 3), &|work| work.spec.dtype = FloatFormat::F16);
    other("lanes", share(1, 3), &|work| work.spec.circumstances.lanes = Some(9));
    other("held", share(1, 3), &|work| work.spec.circumstances.weights_held_as = Some(WeightsHeldAs::Stored));
    other("processor", share(1, 3), &|work| work.spec.circumstances.instructions = Some(Instructions::Other));
    other("old", share(1, 3), &|work| work.spec.circumstances.weights_held_as = None);
    other("weights", share(1, 3), &|work| work.spec.weight_hash = "other".to_owned());
    other("prompts", share(1, 3), &|work| work.prompts[59][0] = 5);
    other("batches", share(2, 3), &|work| {
        work.extraction = work.extraction.clone().with_memory_budget(1 << 20)
    });
    let message = |names: &[&str]| {
        let stores: Vec<Store> = names.iter().map(|name| Store::open(at(name)).unwrap()).collect();
        let error = store::merge(&stores, &at("merged"), &mut silent).unwrap_err().to_string();
        assert!(!at("merged").exists(), "{error}");
        error
    };
    let has = |names: &[&str], parts: &[&str]| {
        let error = message(names);
        parts.iter().for_each(|part| assert!(error.contains(part), "{names:?}: {error}"));
    };
    has(&[], &["no shares"]);
    has(&["0", "whole"], &["whole", "not a share"]);
    has(&["0", "2"], &["expected share 2/3", "prompts"]);
    has(&["1", "2"], &["expected share 1/3", "prompts 0 to"]);
    has(&["1", "0"], &["expected share 3/3", "to 59 of 60"]);
    has(&["0"], &["expected share 2/3 to 3/3"]);
    has(&["0", "1", "2", "1"], &["share 2/3 is there twice"]);
    has(&["0", "of 4", "2"], &["of 4", "share 2/4", "share 1/3"]);
    has(&["0", "f16", "2"], &["dtype", "\"f16\"", "\"f32\""]);
    has(&["0", "lanes", "2"], &["lanes is 9"]);
    has(&["0", "held", "2"], &["weights_held_as is \"stored\"", "\"f32\""]);
    has(&["0", "processor", "2"], &["instructions is \"other\""]);
    has(&["0", "old", "2"], &["weights_held_as is nothing"]);
    has(&["0", "weights", "2"], &["weight_hash is \"other\""]);
    has(&["0", "prompts", "2"], &["prompts_sha256"]);
    has(&["0", "batches", "1"], &["batch_bytes"]);
    drop(whole);

    // Damage in a share is found before it gets into the whole.
    let path = at("1").join("tap-block-1.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let stores: Vec<Store> = ["0", "1", "2"].iter().map(|name| Store::open(at(name)).unwrap()).collect();
    let error = store::merge(&stores, &at("merged"), &mut silent).unwrap_err();
    assert!(matches!(error, StoreError::DamagedBlock { path: found, .. } if found == path));
}

#[test]
fn a_store_is_not_continued_with_weights_that_are_held_otherwise() {
    let mut work = Work::new(Positions::All, FloatFormat::F32);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    work.killed(share(0, 2), &at("0"), 3);
    let held = work.spec.circumstances.weights_held_as.replace(WeightsHeldAs::Stored);
    let Work { model, extraction, spec, prompts } = &work;
    let (share, decoder) = (share(0, 2), &model.decoder);
    let go_on = |spec: &StoreSpec| {
        extract_share_to_store(share, extraction, decoder, prompts, &at("0"), spec.clone(), &mut silent)
    };
    let error = go_on(spec).unwrap_err().to_string();
    assert!(
        error.contains("weights_held_as") && error.contains("stored") && error.contains("f32"),
        "{error}"
    );
    let mut as_begun = spec.clone();
    as_begun.circumstances.weights_held_as = held;
    go_on(&as_begun).unwrap();
    // One that does not know it, as older versions wrote it, is read and continued.
    let path = at("0").join("manifest.json");
    let mut manifest: serde_json::Value =
        serde_json::from_str(&without_checksum(&fs::read(&path).unwrap())).unwrap();
    for field in ["weights_held_as", "instructions"] {
        assert!(manifest["spec"].as_object_mut().unwrap().remove(field).is_some(), "{field}");
    }
    std::fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(go_on(spec).unwrap().unwrap().manifest().spec.circumstances.weights_held_as, None);
}
