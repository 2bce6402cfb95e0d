use std::cell::Cell;

use super::*;

const BLOB: &str = "6b584e8ece562ebffc15d38808cd6b98fc3d97ea"; // printf content | git hash-object --stdin

fn commit(digit: &str) -> Commit {
    Commit::parse(&digit.repeat(40)).unwrap()
}

fn cache(folder: &tempfile::TempDir) -> RepoCache {
    RepoCache::new(folder.path(), &"gpt2".parse().unwrap())
}

/// Puts `content` into the cache as the blob of that name.
fn put(cache: &RepoCache, name: &str, content: &str) -> PathBuf {
    let blob = cache.name.join("blobs").join(name);
    cache.below.write(&blob, content).unwrap();
    cache.below.join(&blob)
}

#[test]
fn a_branch_stands_for_the_commit_it_was_pointed_at() {
    let folder = tempfile::tempdir().unwrap();
    let repo: HubRepo = "owner/name@refs/pr/1".parse().unwrap();
    let cache = RepoCache::new(folder.path(), &repo);
    assert_eq!(cache.commit_of(&repo).unwrap(), None);
    cache.point(&repo, &commit("c")).unwrap();
    assert_eq!(cache.commit_of(&repo).unwrap(), Some(commit("c")));
    assert!(folder.path().join("models--owner--name/refs/refs/pr/1").is_file());
}

#[test]
fn a_ref_that_leads_out_of_the_snapshots_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let repo: HubRepo = "gpt2".parse().unwrap();
    let cache = cache(&folder);
    for text in ["../..", "", "/etc", "a/b", &"c".repeat(100), "c0ffee"] {
        cache.below.write(&cache.reference(&repo), text).unwrap();
        assert_eq!(cache.commit_of(&repo).unwrap(), None, "{text}");
    }
}

#[test]
fn a_linked_blob_is_read_through_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, commit, identity) = (cache(&folder), commit("c"), Identity::of(BLOB));
    put(&cache, BLOB, "content");
    for file in ["a.json", "sub/folder/b.json"] {
        assert_eq!(cache.file(&commit, file).unwrap(), Cached::Absent);
        assert_eq!(cache.blob_length(&identity).unwrap(), Some(7));
        let path = cache.link(BLOB, &commit, file).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "content");
        assert_eq!(cache.file(&commit, file).unwrap(), Cached::Whole(path));
    }
}

#[test]
fn a_blob_of_another_length_or_content_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, identity) = (cache(&folder), Identity::of(BLOB));
    for content in ["contenu", "content and more"] {
        let blob = put(&cache, BLOB, content);
        assert_eq!(cache.blob_length(&identity).unwrap(), None);
        assert!(!blob.exists());
    }
}

#[test]
fn a_place_below_a_file_or_of_a_folder_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, commit) = (cache(&folder), commit("c"));
    put(&cache, BLOB, "content");
    for file in ["a.json", "sub/b.json"] {
        cache.link(BLOB, &commit, file).unwrap();
    }
    for (file, is_taken) in [
        ("a.json", false),
        ("sub/c.json", false),
        ("new/a.json", false),
        ("sub", true),
        ("a.json/x", true),
        ("sub/b.json/x/y", true),
    ] {
        assert_eq!(cache.is_taken(&commit, file), is_taken, "{file}");
    }
}

#[test]
fn a_damaged_file_is_seen_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, commit) = (cache(&folder), commit("c"));
    put(&cache, BLOB, "content");
    cache.link(BLOB, &commit, "a.json").unwrap();
    put(&cache, BLOB, "contenu");
    assert!(
        matches!(cache.file(&commit, "a.json").unwrap(), Cached::Damaged { expected, .. } if expected == BLOB)
    );
    cache.forget(&commit, "a.json").unwrap();
    assert_eq!(cache.file(&commit, "a.json").unwrap(), Cached::Absent);
}

#[test]
fn a_lock_is_waited_for_while_the_download_of_its_holder_grows() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, patience) = (cache(&folder), 2 * PAUSE);
    let held = cache.turn(BLOB, patience).unwrap();
    let (begin, passed) = (Instant::now(), Cell::new(Duration::ZERO));
    let now = || begin + passed.get();
    // A download that grows at every look but one in two, ten times, and then stops.
    let mut looks = 0;
    let mut grow = |pause: Duration| {
        passed.set(passed.get() + pause);
        looks += 1;
        if looks % 2 == 0 && looks <= 20 {
            put(&cache, &format!("{BLOB}.incomplete"), &" ".repeat(looks));
        }
    };
    let Err(Trouble::Busy { waited, .. }) = cache.turn_by(&now, &mut grow, BLOB, patience) else {
        panic!("the lock is held")
    };
    assert_eq!((waited, passed.get()), (patience, 20 * PAUSE + patience));

    let mut held = Some(held);
    let mut release = |_: Duration| drop(held.take());
    cache.turn_by(&now, &mut release, BLOB, patience).unwrap();
}
