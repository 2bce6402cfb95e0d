//! A run that stops at any of its steps goes on and leaves no trace. See `killed` for the real signal.

use super::*;

/// Fills the rows after those of the journal with garbage, as a torn write would.
fn vandalise(dir: &Path) {
    let journal: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("progress.json")).unwrap()).unwrap();
    let rows = journal["rows_done"].as_u64().unwrap() as usize;
    let spec: StoreSpec = serde_json::from_value(journal["job"]["spec"].clone()).unwrap();
    for tap in &spec.taps {
        let path = dir.join(format!("tap-{tap}.safetensors.partial"));
        let mut bytes = fs::read(&path).unwrap();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[header + rows * spec.d_model * spec.dtype.bytes()..].fill(0xa5);
        fs::write(&path, bytes).unwrap();
    }
    fs::write(dir.join("progress.json.partial"), "{\"job\": {\"format_ver").unwrap();
}

#[test]
fn stopping_after_every_block_leaves_no_trace() {
    for (positions, dtype) in [(Positions::Last, FloatFormat::Bf16), (Positions::All, FloatFormat::F32)] {
        let job = Job::new(positions, dtype);
        let dir = tempfile::tempdir().unwrap();
        for (block, step) in [1, 2, 1, 3].into_iter().enumerate() {
            let mut writer = job.writer(dir.path()).unwrap();
            assert_eq!(writer.next_prompt(), [0, 1, 3, 4][block]);
            job.append(&mut writer, step).unwrap();
            drop(writer);
            vandalise(dir.path());
            assert!(matches!(
                Store::open(dir.path()),
                Err(StoreError::Unfinished { prompts: 7, prompts_done, .. }) if prompts_done == [1, 3, 4, 7][block]
            ));
        }
        assert_same(&job.completed(dir.path(), 1), &job.uninterrupted());
    }
}

#[test]
fn damaged_prompts_are_named_before_the_store_goes_on() {
    let (job, dir, _) = begun(Positions::All, FloatFormat::F32, 3);
    let path = dir.path().join("prompts.safetensors.partial");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&path, bad).unwrap();
    let error = job.writer(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Field { path: found, .. } if *found == path), "{error}");
    fs::write(&path, good).unwrap();
    assert_same(&job.completed(dir.path(), 2), &job.uninterrupted());
}

#[test]
fn a_block_whose_journal_was_not_written_is_written_again() {
    let (job, dir, mut writer) = begun(Positions::All, FloatFormat::F32, 3);
    let journal = fs::read(dir.path().join("progress.json")).unwrap();
    job.append(&mut writer, 2).unwrap();
    drop(writer);
    fs::write(dir.path().join("progress.json"), journal).unwrap();
    assert_eq!(job.writer(dir.path()).unwrap().next_prompt(), 3);
    assert_same(&job.completed(dir.path(), 3), &job.uninterrupted());
}

#[test]
fn stopping_at_every_step_of_the_beginning_leaves_no_trace() {
    let job = Job::new(Positions::All, FloatFormat::F16);
    let expected = job.uninterrupted();
    let dir = tempfile::tempdir().unwrap();
    drop(job.writer(dir.path()).unwrap());
    let mut begun = files(dir.path());
    begun.insert("progress.json.partial".to_owned(), begun["progress.json"].clone());
    let steps = [
        "writer.lock",
        "progress.json.partial",
        "progress.json",
        "prompts.safetensors.partial",
        "rows.safetensors.partial",
        "tap-embedding.safetensors.partial",
        "tap-block-1.safetensors.partial",
        "tap-final-norm.safetensors.partial",
    ];
    assert_eq!(begun.len(), steps.len());
    for last in 0..steps.len() {
        for torn in [true, false] {
            // The journal appears by a rename, so it is never torn, and takes its temporary file away.
            if torn && steps[last] == "progress.json" {
                continue;
            }
            let mut there: Files =
                steps[..=last].iter().map(|&name| (name.to_owned(), begun[name].clone())).collect();
            if there.contains_key("progress.json") {
                there.remove("progress.json.partial");
            }
            if torn {
                let bytes = there.get_mut(steps[last]).unwrap();
                bytes.truncate(bytes.len() / 2);
            }
            let dir = folder(&there);
            assert_eq!(job.writer(dir.path()).unwrap().next_prompt(), 0, "{} {torn}", steps[last]);
            assert_same(&job.completed(dir.path(), 4), &expected);
        }
    }
}

#[test]
fn stopping_at_every_step_of_the_end_leaves_no_trace() {
    let job = Job::new(Positions::Last, FloatFormat::F32);
    let expected = job.uninterrupted();
    let dir = tempfile::tempdir().unwrap();
    let mut writer = job.writer(dir.path()).unwrap();
    job.append(&mut writer, 7).unwrap();
    drop(writer);
    let mut there = files(dir.path());
    let partial: Vec<_> =
        there.keys().filter(|name| name.ends_with(".safetensors.partial")).cloned().collect();
    assert_eq!(partial.len(), 5);
    for name in std::iter::once(None).chain(partial.iter().map(Some)) {
        if let Some(name) = name {
            let bytes = there.remove(name).unwrap();
            there.insert(name.trim_end_matches(".partial").to_owned(), bytes);
        }
        let dir = folder(&there);
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Unfinished { prompts_done: 7, prompts: 7, .. }), "{error}");
        assert_same(&job.completed(dir.path(), 1), &expected);
    }
    there.insert("manifest.json.partial".to_owned(), b"{".to_vec());
    let dir = folder(&there);
    assert_same(&job.completed(dir.path(), 1), &expected);
}

#[test]
fn an_end_that_finds_damage_makes_no_store_of_it() {
    let (job, dir, writer) = begun(Positions::Last, FloatFormat::F32, 7);
    let rows = dir.path().join("rows.safetensors.partial");
    let good = fs::read(&rows).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&rows, bad).unwrap();
    assert!(matches!(writer.finish(Some(noise())), Err(StoreError::Value { tensor: "token_id", .. })));
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Unfinished { prompts_done: 7, .. })));

    fs::write(dir.path().join("rows.safetensors"), good).unwrap();
    assert_same(&job.completed(dir.path(), 1), &job.uninterrupted());
}

#[test]
fn what_an_interrupted_end_forgot_is_cleared_away() {
    let job = Job::new(Positions::Last, FloatFormat::F32);
    let expected = job.uninterrupted();
    let dir = tempfile::tempdir().unwrap();
    drop(job.writer(dir.path()).unwrap());
    let journal = files(dir.path());
    for left in [&["progress.json", "writer.lock"][..], &["writer.lock"]] {
        let mut there = expected.clone();
        there.extend(left.iter().map(|&name| (name.to_owned(), journal[name].clone())));
        let dir = folder(&there);
        Store::open(dir.path()).unwrap();
        let opened = StoreWriter::open(dir.path(), job.spec.clone(), &job.prompts).unwrap();
        assert!(matches!(opened, Opened::Complete(_)));
        assert_same(&files(dir.path()), &expected);
    }
}

#[test]
fn running_a_finished_job_again_does_nothing() {
    let job = Job::new(Positions::All, FloatFormat::F32);
    let expected = job.uninterrupted();
    let dir = folder(&expected);
    let Opened::Complete(store) = StoreWriter::open(dir.path(), job.spec.clone(), &job.prompts).unwrap()
    else {
        panic!("the store is complete");
    };
    assert_eq!(store.manifest().noise, Some(noise()));
    assert_same(&files(dir.path()), &expected);
}
