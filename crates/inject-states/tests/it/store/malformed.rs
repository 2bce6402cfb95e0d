//! One test for each way in which a finished store can be malformed.

mod file;
mod ids;
mod manifest;

use serde_json::Value;

use super::*;

const TAP: &str = "tap-block-1.safetensors";

/// Returns the error of opening a good store after `change`.
fn broken(change: impl FnOnce(&mut Files)) -> StoreError {
    let mut there = Job::new(Positions::All, FloatFormat::F32).uninterrupted();
    change(&mut there);
    let error = Store::open(folder(&there).path()).unwrap_err();
    assert!(!error.to_string().is_empty());
    error
}

fn with_manifest(change: impl FnOnce(&mut Value)) -> StoreError {
    broken(|files| {
        let bytes = files.get_mut("manifest.json").unwrap();
        let mut manifest = serde_json::from_str(&without_checksum(bytes)).unwrap();
        change(&mut manifest);
        *bytes = serde_json::to_vec(&manifest).unwrap();
    })
}

fn with_file(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> StoreError {
    broken(|files| change(files.get_mut(name).unwrap()))
}

fn with_header(name: &str, change: impl FnOnce(&mut Value)) -> StoreError {
    with_file(name, |bytes| {
        let begin = data(bytes);
        let mut header = serde_json::from_slice(&bytes[8..begin]).unwrap();
        change(&mut header);
        let mut header = serde_json::to_vec(&header).unwrap();
        header.resize(header.len().next_multiple_of(8), b' ');
        *bytes = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &bytes[begin..]].concat();
    })
}

/// Sets the element at a byte offset of the data.
fn with_data(name: &str, offset: usize, element: &[u8]) -> StoreError {
    with_file(name, |bytes| {
        let begin = data(bytes) + offset;
        bytes[begin..begin + element.len()].copy_from_slice(element);
    })
}

/// Returns the offset of the data of a safetensors file.
fn data(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// Like `assert!(matches!(..))`, and prints the error if it is another.
macro_rules! assert_error {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {
        let error = $error;
        assert!(matches!(&error, $pattern $(if $guard)?), "{error}: {error:?}");
    };
}

use assert_error;

#[test]
fn nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    assert_error!(Store::open(dir.path()).unwrap_err(), StoreError::NotAStore { .. });
    let missing = dir.path().join("missing");
    assert_error!(Store::open(&missing).unwrap_err(), StoreError::Io { path, .. } if *path == missing);
}

#[test]
fn manifest_is_missing() {
    assert_error!(broken(|files| drop(files.remove("manifest.json"))), StoreError::NotAStore { .. });
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_and_not_waited_for() {
    let there = Job::new(Positions::All, FloatFormat::F32).uninterrupted();
    for name in ["manifest.json", "checksums.jsonl", "prompts.safetensors", "rows.safetensors", TAP] {
        for pipe in [true, false] {
            let dir = folder(&there);
            let path = dir.path().join(name);
            fs::remove_file(&path).unwrap();
            if pipe {
                assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            } else {
                std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            }
            let (send, receive) = std::sync::mpsc::channel();
            // Its reader would wait for ever, and the thread with it.
            std::thread::spawn(move || send.send(Store::open(dir.path()).map(drop)));
            let opened = receive.recv_timeout(std::time::Duration::from_secs(60)).expect("an error");
            let error = opened.unwrap_err();
            assert!(matches!(error, StoreError::Io { .. } | StoreError::Checksums(_)), "{name}: {error}");
        }
    }
}

#[test]
fn a_manifest_that_is_longer_than_any_is_refused_unread() {
    let there = Job::new(Positions::All, FloatFormat::F32).uninterrupted();
    let dir = folder(&there);
    // Zeros that take no space on the disk.
    let path = dir.path().join("manifest.json");
    fs::File::options().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert_error!(error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::FileTooLarge);
}

#[test]
fn a_file_is_missing() {
    for name in [TAP, "rows.safetensors", "prompts.safetensors"] {
        let error = broken(|files| drop(files.remove(name)));
        assert_error!(error, StoreError::Io { path, .. } if path.ends_with(name));
    }
}
