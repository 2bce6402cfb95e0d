//! States that changed on disk after they were written.

use super::*;

/// A job whose states fill three blocks of checksums at each tap, the last of them in part.
fn job() -> Job {
    let mut job = Job::new(Positions::Last, FloatFormat::F32);
    // 1 MiB is 64 rows.
    job.spec.d_model = 4096;
    job.prompts = prompts(150);
    job
}

/// Flips one bit of a row at one tap.
fn flip(path: &Path, row: usize) {
    let mut bytes = fs::read(path).unwrap();
    let begin = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[begin + row * 4096 * 4 + 77] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_found_named_and_computed_again() {
    let job = job();
    let expected = job.uninterrupted();
    for (row, first, last) in [(0, 0, 63), (127, 64, 127), (149, 128, 149)] {
        let dir = folder(&expected);
        let path = dir.path().join("tap-block-1.safetensors");
        flip(&path, row);
        let store = Store::open(dir.path()).unwrap();
        assert!(store.tap(Tap::Embedding).is_ok());
        for error in [store.tap(Tap::Block(1)).unwrap_err(), store.verify().unwrap_err()] {
            match error {
                StoreError::DamagedBlock { path: found, tap: Tap::Block(1), first_row, last_row } => {
                    assert_eq!((found, first_row, last_row), (path.clone(), first, last));
                }
                other => panic!("{other}"),
            }
        }
        assert!(Store::open_unverified(dir.path()).unwrap().tap(Tap::Block(1)).is_ok());
        drop(store);
        assert_eq!(job.writer(dir.path()).unwrap().next_prompt(), first);
        assert_same(&job.completed(dir.path(), 40), &expected);
    }
}

#[test]
fn damage_of_an_unfinished_store_is_computed_again() {
    let job = job();
    let dir = tempfile::tempdir().unwrap();
    job.append(&mut job.writer(dir.path()).unwrap(), 140).unwrap();
    flip(&dir.path().join("tap-final-norm.safetensors.partial"), 70);
    assert_eq!(job.writer(dir.path()).unwrap().next_prompt(), 64);
    assert_same(&job.completed(dir.path(), 11), &job.uninterrupted());
}

#[test]
fn the_first_of_several_damaged_blocks_counts_whichever_tap_has_it() {
    let job = job();
    let expected = job.uninterrupted();
    let damages = [[("block-1", 127), ("final-norm", 10)], [("embedding", 20), ("block-1", 100)]];
    for damage in damages {
        let dir = folder(&expected);
        for (tap, row) in damage {
            flip(&dir.path().join(format!("tap-{tap}.safetensors")), row);
        }
        let error = Store::open(dir.path()).unwrap().verify().unwrap_err();
        assert!(matches!(error, StoreError::DamagedBlock { first_row: 0, .. }), "{error}");
        assert_eq!(job.writer(dir.path()).unwrap().next_prompt(), 0);
        assert_same(&job.completed(dir.path(), 40), &expected);

        let dir = tempfile::tempdir().unwrap();
        job.append(&mut job.writer(dir.path()).unwrap(), 140).unwrap();
        for (tap, row) in damage {
            flip(&dir.path().join(format!("tap-{tap}.safetensors.partial")), row);
        }
        assert_eq!(job.writer(dir.path()).unwrap().next_prompt(), 0);
        assert_same(&job.completed(dir.path(), 40), &expected);
    }
}

#[test]
fn a_finished_store_is_not_taken_back_twice() {
    // As if the process had been killed between the steps of taking a damaged store back.
    let job = job();
    let expected = job.uninterrupted();
    let dir = folder(&expected);
    flip(&dir.path().join("tap-block-1.safetensors"), 100);
    drop(job.writer(dir.path()).unwrap());
    let there = files(dir.path());
    let partial: Vec<_> =
        there.keys().filter(|name| name.ends_with(".safetensors.partial")).cloned().collect();
    assert_eq!(partial.len(), 5);
    for renamed in 0..=partial.len() {
        let mut there = there.clone();
        for name in &partial[renamed..] {
            let bytes = there.remove(name).unwrap();
            there.insert(name.trim_end_matches(".partial").to_owned(), bytes);
        }
        let dir = folder(&there);
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Unfinished { prompts_done: 64, .. })));
        assert_same(&job.completed(dir.path(), 50), &expected);
    }
}

#[test]
fn no_flipped_bit_of_a_manifest_changes_a_noise_floor() {
    let there = Job::new(Positions::Last, FloatFormat::F32).uninterrupted();
    let expected = Store::open(folder(&there).path()).unwrap().manifest().clone();
    let dir = folder(&there);
    let path = dir.path().join("manifest.json");
    let manifest = &there["manifest.json"];
    let mut by_checksum = 0;
    for (place, bit) in (0..manifest.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        let mut damaged = manifest.clone();
        damaged[place] ^= 1 << bit;
        fs::write(&path, damaged).unwrap();
        match Store::open(dir.path()) {
            Err(StoreError::Checksum { path: found }) => {
                assert_eq!(found, path);
                by_checksum += 1;
            }
            Err(_) => {}
            Ok(store) => assert_eq!(*store.manifest(), expected, "bit {bit} of byte {place} was not noticed"),
        }
    }
    // A quarter of the file is numbers and names, most changes of which are still a manifest.
    assert!(by_checksum > manifest.len(), "{by_checksum}");
}

#[test]
fn no_flipped_bit_of_a_journal_changes_the_number_of_durable_prompts() {
    let (job, dir, _) = begun(Positions::All, FloatFormat::F32, 2);
    let path = dir.path().join("progress.json");
    let journal = fs::read(&path).unwrap();
    for place in 0..journal.len() {
        let mut damaged = journal.clone();
        damaged[place] ^= 1;
        fs::write(&path, damaged).unwrap();
        if let Ok(writer) = job.writer(dir.path()) {
            assert_eq!(writer.next_prompt(), 2, "byte {place} was not noticed");
        }
    }
}

#[test]
fn a_manifest_of_an_older_version_has_no_checksum_and_is_read() {
    let mut there = Job::new(Positions::Last, FloatFormat::F32).uninterrupted();
    let expected = Store::open(folder(&there).path()).unwrap().manifest().clone();
    let manifest = there.get_mut("manifest.json").unwrap();
    *manifest = without_checksum(manifest).into_bytes();
    assert_eq!(*Store::open(folder(&there).path()).unwrap().manifest(), expected);
}

#[test]
fn a_store_that_has_lost_its_checksums_opens_only_unverified() {
    let job = job();
    let mut there = job.uninterrupted();
    there.remove("checksums.jsonl").unwrap();
    let dir = folder(&there);
    let is_named = |error: &StoreError| matches!(error, StoreError::Io { path, .. } if path.ends_with("checksums.jsonl"));
    assert!(is_named(&Store::open(dir.path()).unwrap_err()));
    assert!(is_named(&StoreWriter::open(dir.path(), job.spec.clone(), &job.prompts).unwrap_err()));
    assert!(Store::open_unverified(dir.path()).unwrap().tap(Tap::Block(1)).is_ok());
}

#[test]
fn an_unfinished_store_without_checksums_goes_on() {
    let job = job();
    let dir = tempfile::tempdir().unwrap();
    job.append(&mut job.writer(dir.path()).unwrap(), 130).unwrap();
    fs::remove_file(dir.path().join("checksums.progress.jsonl")).unwrap();
    assert_eq!(job.writer(dir.path()).unwrap().next_prompt(), 130);
    assert_same(&job.completed(dir.path(), 20), &job.uninterrupted());
}

#[test]
fn damaged_checksums_are_refused_and_those_of_an_unfinished_store_are_not_trusted() {
    let job = job();
    let mut there = job.uninterrupted();
    let sums = there.get_mut("checksums.jsonl").unwrap();
    let place = sums.iter().rposition(|&byte| byte == b'{').unwrap();
    sums[place + 20] ^= 1;
    let error = Store::open(folder(&there).path()).unwrap_err();
    assert!(matches!(error, StoreError::Checksums(_)), "{error}");

    let dir = tempfile::tempdir().unwrap();
    job.append(&mut job.writer(dir.path()).unwrap(), 140).unwrap();
    let path = dir.path().join("checksums.progress.jsonl");
    let mut sums = fs::read(&path).unwrap();
    let place = sums.iter().rposition(|&byte| byte == b'{').unwrap();
    sums[place + 20] ^= 1;
    fs::write(path, sums).unwrap();
    assert_same(&job.completed(dir.path(), 11), &job.uninterrupted());
}

#[test]
fn checksums_of_another_store_are_refused() {
    let job = job();
    let there = job.uninterrupted();
    let [mut weights, mut prompts, mut fewer] = [(); 3].map(|()| job.clone());
    weights.spec.weight_hash = "another".to_owned();
    prompts.prompts[3][0] += 1;
    fewer.prompts.pop();
    for other in [weights, prompts, fewer] {
        let mut mixed = there.clone();
        mixed.insert("checksums.jsonl".to_owned(), other.uninterrupted()["checksums.jsonl"].clone());
        let error = Store::open(folder(&mixed).path()).unwrap_err();
        assert!(matches!(error, StoreError::Checksums(_)), "{error}");
    }
}

#[test]
fn checksums_of_blocks_that_are_missing_exchanged_or_repeated_are_refused() {
    let there = job().uninterrupted();
    let text = String::from_utf8(there["checksums.jsonl"].clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "a header and three blocks");
    for order in [[0, 1, 2].as_slice(), &[0], &[0, 2, 1, 3], &[0, 1, 2, 3, 3]] {
        let mut changed = there.clone();
        let text: String = order.iter().map(|&line| format!("{}\n", lines[line])).collect();
        changed.insert("checksums.jsonl".to_owned(), text.into_bytes());
        let error = Store::open(folder(&changed).path()).unwrap_err();
        assert!(matches!(error, StoreError::Checksums(_) | StoreError::Field { .. }), "{order:?}: {error}");
    }
}

#[test]
fn a_finished_store_opens_where_nothing_can_be_removed() {
    let job = job();
    let dir = folder(&job.uninterrupted());
    // A folder cannot be removed as a file, as nothing can on a read-only medium.
    for left in ["progress.json.partial", "writer.lock"] {
        fs::create_dir(dir.path().join(left)).unwrap();
    }
    Store::open(dir.path()).unwrap().verify().unwrap();
    let opened = StoreWriter::open(dir.path(), job.spec.clone(), &job.prompts).unwrap();
    assert!(matches!(opened, Opened::Complete(_)));
}
