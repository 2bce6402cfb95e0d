//! Files that are in the cache already: those of Python, damaged ones, and links that lead out.

#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use inject_models::hub::{HubError, HubOptions, Snapshot};
use tempfile::TempDir;

use super::{
    SINGLE, fetch_text, files_in, options,
    server::{COMMIT, REPO, Server, git_blob, sha256},
};

const FOLDER: &str = "models--owner--tiny";

/// A cache folder `inside` and a folder `outside` beside it, which holds one file.
fn with_outside() -> (TempDir, PathBuf, PathBuf) {
    let outer = TempDir::new().unwrap();
    let [inside, outside] = ["inside", "outside"].map(|name| outer.path().join(name));
    [&inside, &outside].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    fs::write(outside.join("canary"), "untouched").unwrap();
    (outer, inside, outside)
}

fn options_at(server: &Server, cache: &Path) -> HubOptions {
    HubOptions::new(cache).with_endpoint(&server.endpoint()).unwrap()
}

fn link(target: &Path, link: PathBuf) {
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(target, link).unwrap();
}

#[test]
fn a_folder_of_the_cache_that_leads_out_is_refused() {
    let below =
        ["blobs", "snapshots", "refs", &format!("snapshots/{COMMIT}")].map(|name| format!("{FOLDER}/{name}"));
    for folder in below.iter().map(String::as_str).chain([FOLDER, ".locks"]) {
        let server = Server::start(SINGLE);
        let (_outer, inside, outside) = with_outside();
        link(&outside, inside.join(folder));
        let error = fetch_text(REPO, &options_at(&server, &inside)).unwrap_err();
        assert!(matches!(&error, HubError::LeadsOut { .. }), "{folder}: {error:?}");
        assert_eq!(
            files_in(&outside).into_iter().collect::<Vec<_>>(),
            [("canary".into(), "untouched".into())]
        );
    }
}

#[test]
fn a_file_of_the_cache_that_leads_out_is_neither_written_nor_read() {
    let (config, weights) = (git_blob(b"{}"), sha256(b"all the weights"));
    for (file, is_replaced) in [
        ("refs/main".to_owned(), false),
        (format!("blobs/{config}"), false),
        (format!("snapshots/{COMMIT}/config.json"), false),
        (format!("blobs/{config}.incomplete"), true),
        (format!("blobs/{weights}.incomplete"), true),
        (format!("../.locks/{FOLDER}/{config}.lock"), true),
        (format!(".verified/{config}"), true),
        (format!(".absent/{COMMIT}"), true),
    ] {
        let server = Server::start(SINGLE);
        let (_outer, inside, outside) = with_outside();
        fs::create_dir_all(inside.join(FOLDER)).unwrap();
        link(&outside.join("canary"), inside.join(FOLDER).join(&file));
        let outcome = fetch_text(REPO, &options_at(&server, &inside));
        match outcome {
            Err(HubError::LeadsOut { .. }) if !is_replaced => {}
            Ok(_) if is_replaced => {}
            other => panic!("{file}: {other:?}"),
        }
        assert_eq!(
            files_in(&outside).into_iter().collect::<Vec<_>>(),
            [("canary".into(), "untouched".into())]
        );
    }
}

#[test]
fn a_file_that_is_not_asked_for_does_not_lead_out_either() {
    for file in ["special_tokens_map.json", "added_tokens.json", "adapter_config.json", "sub"] {
        let server = Server::start(SINGLE);
        let (_outer, inside, outside) = with_outside();
        let options = options_at(&server, &inside);
        let snapshot = fetch_text(REPO, &options).unwrap();
        // A link within the cache is none that leads out, and neither is one that leads nowhere.
        link(Path::new("config.json"), snapshot.folder.join("inside.json"));
        link(Path::new("nowhere"), snapshot.folder.join("nowhere.json"));
        assert_eq!(fetch_text(REPO, &options).unwrap(), snapshot);
        let (target, path) = (outside.join("canary"), snapshot.folder.join(file));
        link(if file == "sub" { &outside } else { &target }, path.clone());
        for offline in [false, true] {
            let error = fetch_text(REPO, &options.clone().with_offline(offline)).unwrap_err();
            assert!(matches!(&error, HubError::LeadsOut { path: found, .. } if *found == path), "{error:?}");
        }
    }
}

#[test]
fn a_pipe_in_the_cache_keeps_nobody_waiting() {
    for file in
        ["refs/main", &format!("snapshots/{COMMIT}/config.json"), &format!("blobs/{}", git_blob(b"{}"))]
    {
        let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
        let pipe = cache.path().join(FOLDER).join(file);
        fs::create_dir_all(pipe.parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let snapshot = fetch_text(REPO, &options(&server, &cache)).unwrap();
        assert_eq!(files_in(&snapshot.folder)["config.json"], "{}", "{file}");
    }
}

/// Damages the blob that a file of the snapshot is a link to.
fn damage(snapshot: &Snapshot, file: &str, content: &str) {
    let blob = fs::canonicalize(snapshot.folder.join(file)).unwrap();
    fs::write(blob, content).unwrap();
}

#[test]
fn a_damaged_file_is_fetched_again_and_offline_is_an_error() {
    for (file, content) in
        [("config.json", "{]"), ("config.json", ""), ("model.safetensors", "all the weighty")]
    {
        let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
        let options = options(&server, &cache);
        let snapshot = fetch_text(REPO, &options).unwrap();
        damage(&snapshot, file, content);
        let error = fetch_text(REPO, &options.clone().with_offline(true)).unwrap_err();
        assert!(matches!(&error, HubError::Damaged { at, .. } if at.file == file), "{error:?}");

        server.take_requests();
        assert_eq!(fetch_text(REPO, &options).unwrap(), snapshot);
        assert_eq!(server.take_contents(), [file]);
        let files = files_in(&snapshot.folder);
        assert!(SINGLE.iter().all(|(name, text)| files[*name] == *text), "{files:?}");
    }
}

#[test]
fn an_old_blob_is_linked_only_if_it_is_right() {
    for (content, is_right) in [
        ("all the weights", true),
        ("all the weighty", false),
        ("short", false),
        ("much too long for it", false),
    ] {
        let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
        let blobs = cache.path().join(FOLDER).join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(sha256(b"all the weights")), content).unwrap();
        let snapshot = fetch_text(REPO, &options(&server, &cache)).unwrap();
        assert_eq!(files_in(&snapshot.folder)["model.safetensors"], "all the weights");
        assert_eq!(server.take_contents().contains(&"model.safetensors".to_owned()), !is_right, "{content}");
    }
}

#[test]
fn a_spoilt_part_of_an_earlier_download_costs_a_second_try_and_no_more() {
    for part in ["ALL THE", "ALL THE WEIGHTS", "far more than there is to come"] {
        let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
        let blobs = cache.path().join(FOLDER).join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", sha256(b"all the weights"))), part).unwrap();
        let snapshot = fetch_text(REPO, &options(&server, &cache)).unwrap();
        assert_eq!(files_in(&snapshot.folder)["model.safetensors"], "all the weights", "{part}");
    }
}

/// The cache as huggingface_hub 2.4 leaves it, with the weights in its store of shared blobs.
#[test]
fn a_cache_of_python_is_read_offline() {
    let cache = TempDir::new().unwrap();
    let root = cache.path().join(FOLDER);
    let (config, weights) = (git_blob(b"{}"), sha256(b"all the weights"));
    for folder in ["blobs", "refs", &format!("snapshots/{COMMIT}"), "../blobs/ab"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("refs/main"), COMMIT).unwrap();
    fs::write(root.join("blobs").join(&config), "{}").unwrap();
    fs::write(root.join("../blobs/ab/abcd"), "all the weights").unwrap();
    symlink("../../blobs/ab/abcd", root.join("blobs").join(&weights)).unwrap();
    for (file, blob) in [("config.json", &config), ("model.safetensors", &weights)] {
        let link = root.join("snapshots").join(COMMIT).join(file);
        symlink(format!("../../blobs/{blob}"), link).unwrap();
    }
    let options = HubOptions::new(cache.path()).with_offline(true);
    let snapshot = fetch_text(REPO, &options).unwrap();
    assert_eq!(files_in(&snapshot.folder)["model.safetensors"], "all the weights");

    damage(&snapshot, "model.safetensors", "all the weighty");
    assert!(matches!(fetch_text(REPO, &options), Err(HubError::Damaged { .. })));
}

/// The layout that Python's `huggingface_hub` looks for: relative links to blobs that are named by their etag.
#[test]
fn the_cache_is_laid_out_for_python() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let snapshot = fetch_text(REPO, &options(&server, &cache)).unwrap();
    let root = cache.path().join(FOLDER);
    assert_eq!(snapshot.folder, root.join("snapshots").join(COMMIT));
    for (file, etag) in [("config.json", git_blob(b"{}")), ("model.safetensors", sha256(b"all the weights"))]
    {
        assert_eq!(fs::read_link(snapshot.folder.join(file)).unwrap(), Path::new("../../blobs").join(etag));
    }
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    assert!(cache.path().join(".locks").join(FOLDER).is_dir());
}

/// A note that another program left, or that a Hub once was wrong about.
#[test]
fn a_file_that_a_model_needs_is_asked_for_whatever_is_noted() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let notes = cache.path().join(FOLDER).join(".no_exist").join(COMMIT);
    fs::create_dir_all(&notes).unwrap();
    SINGLE.iter().for_each(|(file, _)| fs::write(notes.join(file), "").unwrap());
    fetch_text(REPO, &options(&server, &cache)).unwrap();
}

#[test]
fn a_hard_link_in_the_place_of_an_unfinished_download_is_not_written_through() {
    let server = Server::start(SINGLE);
    let (_outer, inside, outside) = with_outside();
    let blobs = inside.join(FOLDER).join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    for content in [b"{}".as_slice(), b"all the weights"] {
        for name in [git_blob(content), sha256(content)] {
            fs::hard_link(outside.join("canary"), blobs.join(format!("{name}.incomplete"))).unwrap();
        }
    }
    fetch_text(REPO, &options_at(&server, &inside)).unwrap();
    assert_eq!(files_in(&outside).into_iter().collect::<Vec<_>>(), [("canary".into(), "untouched".into())]);
}

#[test]
fn a_lock_that_another_process_never_gives_back_is_named() {
    let (server, cache) = (Server::start(SINGLE), TempDir::new().unwrap());
    let path = cache.path().join(".locks").join(FOLDER).join(format!("{}.lock", git_blob(b"{}")));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lock = fs::File::create(&path).unwrap();
    lock.lock().unwrap();
    let short = Duration::from_millis(200);
    let options = options(&server, &cache).with_timeouts(Duration::from_secs(10), short).unwrap();
    let error = fetch_text(REPO, &options).unwrap_err();
    assert!(matches!(&error, HubError::Busy { path: found, .. } if *found == path), "{error:?}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}
