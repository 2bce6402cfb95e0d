//! The writer refuses wrong jobs and blocks, and changes nothing then.

use super::*;

#[test]
fn a_folder_that_holds_something_else_is_refused_and_left_alone() {
    let alien = Files::from([("thesis.tex".to_owned(), b"years of work".to_vec())]);
    let dir = folder(&alien);
    let error = Job::new(Positions::Last, FloatFormat::F32).writer(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::AlienFolder { found, .. } if found == "thesis.tex"), "{error}");
    assert_same(&files(dir.path()), &alien);
}

#[test]
fn a_manifest_or_journal_of_something_else_is_refused_and_left_alone() {
    for name in ["manifest.json", "progress.json"] {
        for text in ["{\"name\": \"a browser extension\"}", "not JSON"] {
            let alien = Files::from([(name.to_owned(), text.as_bytes().to_vec())]);
            let dir = folder(&alien);
            let error = Job::new(Positions::Last, FloatFormat::F32).writer(dir.path()).unwrap_err();
            assert!(matches!(error, StoreError::FormatVersion { .. } | StoreError::Json { .. }), "{error}");
            assert_same(&files(dir.path()), &alien);
        }
    }
}

/// Jobs that differ in one field, and the name of the field.
fn other_jobs(job: &Job) -> Vec<(&'static str, Job)> {
    let with = |change: fn(&mut Job)| {
        let mut other = job.clone();
        change(&mut other);
        other
    };
    vec![
        ("model_id", with(|job| job.spec.model_id.push('2'))),
        ("revision", with(|job| job.spec.revision = None)),
        ("weight_hash", with(|job| job.spec.weight_hash.clear())),
        ("tokenizer_hash", with(|job| job.spec.tokenizer_hash = None)),
        ("taps", with(|job| job.spec.taps.truncate(2))),
        ("dtype", with(|job| job.spec.dtype = FloatFormat::F16)),
        ("bos", with(|job| job.spec.bos = Bos::Yes.into())),
        ("bos_added", with(|job| job.spec.bos_added = true)),
        ("d_model", with(|job| job.spec.d_model += 1)),
        ("prompt_count", with(|job| drop(job.prompts.pop()))),
        ("prompts_sha256", with(|job| job.prompts[3][0] += 1)),
        // The same tokens, divided differently.
        (
            "prompts_sha256",
            with(|job| {
                let token = job.prompts[1].pop().unwrap();
                job.prompts[2].insert(0, token);
            }),
        ),
    ]
}

#[test]
fn another_job_is_refused_by_the_field_that_differs() {
    let job = Job::new(Positions::Last, FloatFormat::F32);
    let begun = tempfile::tempdir().unwrap();
    job.append(&mut job.writer(begun.path()).unwrap(), 2).unwrap();
    let finished = folder(&job.uninterrupted());
    for dir in [begun.path(), finished.path()] {
        let before = files(dir);
        for (expected, other) in other_jobs(&job) {
            let error = other.writer(dir).unwrap_err();
            assert!(
                matches!(&error, StoreError::DifferentJob { field, .. } if field == expected),
                "{expected}: {error}"
            );
        }
        let mut other = job.clone();
        other.spec.positions = Positions::All;
        assert!(matches!(other.writer(dir), Err(StoreError::DifferentJob { .. })));
        assert_same(&files(dir), &before);
    }
}

#[test]
fn an_unfinished_store_of_another_version_is_refused_but_a_finished_one_is_not() {
    let job = Job::new(Positions::Last, FloatFormat::F32);
    let begun = tempfile::tempdir().unwrap();
    drop(job.writer(begun.path()).unwrap());
    let journal = begun.path().join("progress.json");
    let ours = concat!("inject-states ", env!("CARGO_PKG_VERSION"));
    let text = without_checksum(&fs::read(&journal).unwrap()).replace(ours, "inject-states 0.0.1");
    fs::write(&journal, text).unwrap();
    let error = job.writer(begun.path()).unwrap_err();
    assert!(matches!(&error, StoreError::DifferentJob { field, .. } if field == "created_by"), "{error}");

    // "0.0.1" is as long as "0.1.0": the headers stay valid.
    let mut there = job.uninterrupted();
    let manifest = there.get_mut("manifest.json").unwrap();
    *manifest = without_checksum(manifest).into_bytes();
    // The checksums do not depend on the version.
    for (_, bytes) in there.iter_mut().filter(|(name, _)| *name != "checksums.jsonl") {
        let place = bytes.windows(ours.len()).position(|window| window == ours.as_bytes()).unwrap();
        bytes[place..][..ours.len()].copy_from_slice(b"inject-states 0.0.1");
    }
    let finished = folder(&there);
    let open = || StoreWriter::open(finished.path(), job.spec.clone(), &job.prompts);
    assert!(matches!(open().unwrap(), Opened::Complete(_)));

    // This version does not compute its damaged states again.
    let path = finished.path().join("tap-final-norm.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let before = files(finished.path());
    let error = open().unwrap_err();
    assert!(matches!(error, StoreError::DamagedBlock { .. }), "{error}");
    assert_same(&files(finished.path()), &before);
}

#[test]
fn a_second_writer_is_refused_while_the_first_is_open() {
    let job = Job::new(Positions::Last, FloatFormat::F32);
    let dir = tempfile::tempdir().unwrap();
    let first = job.writer(dir.path()).unwrap();
    assert!(matches!(job.writer(dir.path()), Err(StoreError::Busy { .. })));
    drop(first);
    job.writer(dir.path()).unwrap();
}

#[test]
fn states_that_are_not_finite_are_named_and_the_block_can_be_given_again() {
    let (job, dir, mut writer) = begun(Positions::All, FloatFormat::F32, 1);
    // Prompts 1 and 2 have 2 and 3 tokens: row 3 of the block is prompt 2, position 1.
    assert_eq!([job.prompts[1].len(), job.prompts[2].len()], [2, 3]);
    for bad in [f32::NAN, f32::NEG_INFINITY] {
        let mut states = TAPS.map(|tap| (tap, job.states(1..3, tap)));
        states[1].1[3 * 5 + 4] = bad;
        let states: Vec<_> = states.iter().map(|(tap, states)| (*tap, states.as_slice())).collect();
        let error = writer.append(&Block::new(2, &states)).unwrap_err();
        assert!(
            matches!(error, StoreError::NotFinite { prompt: 2, position: 1, tap: Tap::Block(1), .. }),
            "{error}"
        );
        assert_eq!(writer.next_prompt(), 1);
    }
    drop(writer);
    assert_same(&job.completed(dir.path(), 6), &job.uninterrupted());
}

#[test]
fn states_too_large_for_the_dtype_are_named() {
    let job = Job::new(Positions::Last, FloatFormat::F16);
    let dir = tempfile::tempdir().unwrap();
    let mut writer = job.writer(dir.path()).unwrap();
    let mut states = TAPS.map(|tap| (tap, job.states(0..7, tap)));
    states[2].1[6 * 5] = -7e4;
    let states: Vec<_> = states.iter().map(|(tap, states)| (*tap, states.as_slice())).collect();
    let error = writer.append(&Block::new(7, &states)).unwrap_err();
    let position = job.prompts[6].len() - 1;
    assert!(
        matches!(
            error,
            StoreError::Overflow { prompt: 6, position: found, tap: Tap::FinalNorm, dtype: FloatFormat::F16, .. }
                if found == position
        ),
        "{error}"
    );
    assert!(error.to_string().contains("-70000"), "{error}");
}

#[test]
fn a_value_deep_in_a_large_block_is_located() {
    let mut job = Job::new(Positions::Last, FloatFormat::F32);
    job.spec.taps = vec![Tap::Block(1)];
    job.spec.d_model = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let mut writer = job.writer(dir.path()).unwrap();
    let mut states = vec![0.5; 700_000];
    states[600_001] = f32::NAN;
    let error = writer.append(&Block::new(7, &[(Tap::Block(1), &states)])).unwrap_err();
    assert!(matches!(error, StoreError::NotFinite { prompt: 6, .. }), "{error}");
}

#[test]
fn more_prompts_than_are_missing_are_refused() {
    let (_, _dir, mut writer) = begun(Positions::Last, FloatFormat::F32, 5);
    let error = writer.append(&Block::new(3, &[])).unwrap_err();
    assert!(matches!(error, StoreError::BlockTooLong { found: 3, left: 2 }), "{error}");
}

#[test]
fn a_store_with_missing_prompts_cannot_be_finished() {
    let (job, dir, writer) = begun(Positions::Last, FloatFormat::F32, 5);
    let error = writer.finish(None).unwrap_err();
    assert!(error.to_string().contains("5 of 7 prompts"), "{error}");
    assert_same(&job.completed(dir.path(), 2), &job.uninterrupted());
}

#[test]
fn noise_floors_of_other_taps_are_refused_and_the_store_can_still_be_finished() {
    let (job, dir, writer) = begun(Positions::Last, FloatFormat::F32, 7);
    let other = NoiseFloors::new(1, [(Tap::Block(9), Some(0.0))].into());
    assert!(matches!(writer.finish(Some(other)), Err(StoreError::NoiseFloor { .. })));
    assert_same(&job.completed(dir.path(), 1), &job.uninterrupted());
}

#[test]
fn unfinished_files_that_were_tampered_with_are_refused() {
    let (job, dir, _) = begun(Positions::Last, FloatFormat::F32, 2);
    let begun = files(dir.path());
    let tap = "tap-block-1.safetensors.partial";
    for name in [tap, "rows.safetensors.partial", "prompts.safetensors.partial"] {
        let mut missing = begun.clone();
        missing.remove(name);
        let mut short = begun.clone();
        short.get_mut(name).unwrap().pop();
        for there in [missing, short] {
            let error = job.writer(folder(&there).path()).unwrap_err();
            assert!(matches!(&error, StoreError::FileSize { path, .. } if path.ends_with(name)), "{error}");
        }
    }
    let mut changed = begun.clone();
    changed.get_mut(tap).unwrap()[20] ^= 1;
    let error = job.writer(folder(&changed).path()).unwrap_err();
    assert!(matches!(&error, StoreError::Field { field, .. } if field == "header"), "{error}");
}

#[test]
fn a_journal_that_cannot_be_is_refused() {
    let (job, dir, _) = begun(Positions::All, FloatFormat::F32, 2);
    let journal = dir.path().join("progress.json");
    let text = without_checksum(&fs::read(&journal).unwrap());
    for (change, expected) in [
        (["\"prompts_done\": 2", "\"prompts_done\": 8"], "prompts_done"),
        (["\"rows_done\": 3", "\"rows_done\": 2"], "rows_done"),
    ] {
        assert!(text.contains(change[0]));
        fs::write(&journal, text.replace(change[0], change[1])).unwrap();
        let error = job.writer(dir.path()).unwrap_err();
        assert!(matches!(&error, StoreError::Field { field, .. } if field == expected), "{error}");
    }
}
